package central

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"gateline/gateway"
	"gateline/internal/keyfile"
)

// The example that ships is right, and what it says is a default is one.
func TestExampleConfig(t *testing.T) {
	const path = "../docs/examples/central.toml"
	c, err := LoadConfig(path, DefaultFileConfig())
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultFileConfig()
	want.Dir = "/var/lib/gateline-central"
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v, want %+v", c, want)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	spelled := strings.NewReplacer("#key_file", "key_file", "#listen", "listen", "#link_file", "link_file", "#stations_file", "stations_file", "#clients_file", "clients_file", "#keep", "keep", "#cycle", "cycle", "#rules_file", "rules_file").Replace(string(text))
	again, err := ParseConfig("spelled out", []byte(spelled), FileConfig{})
	want.Replicas = 0 // only beside servers
	if err != nil || !reflect.DeepEqual(again, want) {
		t.Errorf("spelled out: %+v, %v", again, err)
	}
}

// All faults of a file come at once, each with line and key.
func TestConfigFaults(t *testing.T) {
	const text = `dir = "central"
directory = "/var/lib"
[token]
key_file = 7
[ops]
listen = "4222"
[boxes]
listen = "127.0.0.1:leaf"
listens = 1
[shards]
cycle = "9m"
[registry]
rules_file = "rules.json"
`
	_, err := ParseConfig("central.toml", []byte(text), DefaultFileConfig())
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		`central.toml:1: dir: "central" is not an absolute path`,
		"central.toml:2: directory: unknown key",
		"central.toml:4: token.key_file: not a string in quotes",
		`central.toml:6: ops.listen: "4222" is not host:port`,
		`central.toml:8: boxes.listen: "127.0.0.1:leaf" is not host:port`,
		"central.toml:9: boxes.listens: unknown key",
		`central.toml:13: registry.rules_file: "rules.json" is not an absolute path`,
		"central.toml:11: shards.cycle: 9m0s is not between 10m0s and 168h0m0s",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing: %s", want)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 8 {
		t.Errorf("%d faults:\n%v", n, err)
	}
}

func TestConfigListeners(t *testing.T) {
	for text, fault := range map[string]string{
		"ops.listen = \"\"": "",
		"ops.listen = \"localhost:0\"\nboxes.listen = \"localhost:0\"":                "",
		"ops.listen = \"h:5\"\nboxes.listen = \"h:5\"":                                "central.toml:2: boxes.listen: ops.listen has the same address",
		"ops.listen = \"127.0.0.1:7422\"":                                             "boxes.listen: ops.listen has the same address",
		"boxes.listen = \"127.0.0.1:65536\"":                                          "is not host:port",
		"ops.listen = \"0.0.0.0:4222\"":                                               "central.toml:1: ops.clients_file: missing",
		"ops.listen = \"0.0.0.0:4222\"\nops.clients_file = \"clients\"":               "ops.clients_file: \"clients\" is not an absolute path",
		"ops.clients_file = \"/c\"":                                                   "ops.clients_file: clients come over TLS",
		"ops.listen = \":4222\"\nops.clients_file = \"/c\"\nboxes.link_file = \"/l\"": "",
		"boxes = 1": "central.toml:1: boxes: not a table",
		"boxes.listen = \"127.0.0.1:1\"\nboxes.listen = \"127.0.0.1:65536\"": "not TOML",
	} {
		_, err := ParseConfig("central.toml", []byte(text), DefaultFileConfig())
		if fault == "" && err != nil || fault != "" && (err == nil || !strings.Contains(err.Error(), fault)) {
			t.Errorf("%s\ngot %v, want %q", text, err, fault)
		}
	}
	if _, err := LoadConfig(filepath.Join(t.TempDir(), "none.toml"), DefaultFileConfig()); err == nil || !strings.Contains(err.Error(), "--config") {
		t.Errorf("no file: %v", err)
	}
}

// The feed is kept for a shard cycle and a cut, or for ever.
func TestConfigKeep(t *testing.T) {
	for text, fault := range map[string]string{
		"feed.keep = \"0s\"":                         "",
		"feed.keep = \"720h\"":                       "",
		"feed.keep = \"30h\"":                        "", // 6 h and 24 h
		"feed.keep = \"29h\"":                        "central.toml:1: feed.keep: 29h0m0s is below 30h0m0s",
		"feed.keep = \"30h\"\nshards.cycle = \"7h\"": "is below 31h0m0s",
		"feed.keep = \"26h\"\nshards.cycle = \"1h\"": "",
	} {
		c, err := ParseConfig("central.toml", []byte(text), DefaultFileConfig())
		if fault == "" && err != nil || fault != "" && (err == nil || !strings.Contains(err.Error(), fault)) {
			t.Errorf("%s\ngot %v, want %q", text, err, fault)
		}
		_, err = Config{Dir: "d", TokenKey: testKey(), FeedKeys: []gateway.FeedSecret{{1}}, FeedKeep: c.FeedKeep, ShardCycle: c.ShardCycle}.withDefaults()
		if (err == nil) != (fault == "") {
			t.Errorf("%s\nthe centre itself says %v", text, err)
		}
	}
	_, err := Config{Dir: "d", TokenKey: testKey(), FeedKeys: []gateway.FeedSecret{{1}}, FeedKeep: time.Hour, ShardCycle: time.Minute}.withDefaults()
	if err == nil || !strings.Contains(err.Error(), "shard cycle") || !strings.Contains(err.Error(), "keep of the feed") {
		t.Errorf("got %v", err)
	}
}

func TestConfigReadsKeys(t *testing.T) {
	f := DefaultFileConfig()
	dir := t.TempDir()
	f.TokenKeyFile, f.FeedKeyFile = filepath.Join(dir, "token.key"), filepath.Join(dir, "feed.key")
	_, err := f.Config()
	for _, want := range []string{f.TokenKeyFile, f.FeedKeyFile, "feed-key new"} { // both at once
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no keys: %q not in %v", want, err)
		}
	}
	if err := os.WriteFile(f.TokenKeyFile, []byte(strings.Repeat("0123456789abcdef", 4)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := keyfile.MakeFeedFile(f.FeedKeyFile, gateway.FeedSecret{7}); err != nil {
		t.Fatal(err)
	}
	c, err := f.Config()
	if err != nil || c.Dir != f.Dir || c.ClientListen != f.OpsListen || c.LeafListen != f.BoxesListen || c.StatusListen != f.StatusListen || c.TokenKey[0] != 0x01 ||
		len(c.FeedKeys) != 1 || c.FeedKeys[0] != (gateway.FeedSecret{7}) {
		t.Errorf("got %+v, %v", c, err)
	}
}
