package central

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"gateline/internal/linkkey"
)

// The example of a centre on three servers is right, and what it says is a default
// is one.
func TestExampleOfServers(t *testing.T) {
	const path = "../docs/examples/cluster/central.toml"
	c, err := LoadConfig(path, DefaultFileConfig())
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultFileConfig()
	want.OpsListen, want.BoxesListen, want.LinkFile = "", "", "/etc/gateline/link.pem"
	want.Servers = []string{"tls://a.centre.example:4222", "tls://b.centre.example:4222", "tls://c.centre.example:4222"}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v, want %+v", c, want)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	spelled := strings.ReplaceAll(string(text), "#replicas", "replicas")
	if again, err := ParseConfig("spelled out", []byte(spelled), DefaultFileConfig()); err != nil || !reflect.DeepEqual(again, want) {
		t.Errorf("spelled out: %+v, %v", again, err)
	}
}

func TestServersConfigFaults(t *testing.T) {
	const text = `dir = "/var/lib/central" # of the ledger's copy
[ops]
listen = ""
clients_file = "/etc/gateline/clients"
[boxes]
listen = "127.0.0.1:7422"
link_file = "/etc/gateline/link.pem"
stations_file = "/etc/gateline/stations"
[nats]
servers = ["tls://a:4222", "nats://ops:hunter2@b:4222"]
link_file = "link.pem"
replicas = 2
`
	for text, wants := range map[string][]string{
		text: {
			"central.toml:3: ops.listen: leave it out", "central.toml:4: ops.clients_file: leave it out", "central.toml:6: boxes.listen: leave it out",
			"central.toml:7: boxes.link_file: leave it out", "central.toml:8: boxes.stations_file: leave it out",
			"central.toml:10: nats.servers: an address is not of the form tls://host:port",
			`central.toml:11: nats.link_file: "link.pem" is not an absolute path`, "central.toml:12: nats.replicas: 2 servers agree no better than 1",
		},
		"nats.replicas = 3\n":                 {"nats.servers: missing"},
		"nats.servers = [\"tls://a:4222\"]\n": {"nats.link_file: \"\" is not an absolute path"},
	} {
		_, err := ParseConfig("central.toml", []byte(text), DefaultFileConfig())
		if err == nil {
			t.Fatalf("accepted:\n%s", text)
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("missing %q in\n%v", want, err)
			}
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("it shows a password: %v", err)
		}
	}
}

// A server's own link file lets nobody in as a client.
func TestServersNeedAKey(t *testing.T) {
	authority, err := linkkey.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	file, err := authority.Centre()
	if err != nil {
		t.Fatal(err)
	}
	c := DefaultFileConfig()
	c.Servers, c.LinkFile = []string{"tls://a:4222"}, filepath.Join(t.TempDir(), "link.pem")
	if _, err := c.ReadServers(); err == nil || !strings.Contains(err.Error(), "link-key") {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(c.LinkFile, file, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadServers(); err == nil || !strings.Contains(err.Error(), "gateline link-key client") {
		t.Errorf("a server's file: %v", err)
	}
}
