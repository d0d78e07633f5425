package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"gateline/central"
	"gateline/central/rules"
	"gateline/internal/clustertest"
	"gateline/internal/linkkey"
)

// A centre on servers of the operator's, from the first key to the first command,
// with a box. Nothing printed or logged shows a secret.
func TestServersFromFirstKeyToFirstCommand(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "link")
	var printed strings.Builder
	call := func(args ...string) result {
		r := gateline(t, environment{}, nil, args...)
		printed.WriteString(r.out + r.err)
		return r
	}
	call("link-key", "init", dir).want(t, 0, "centre.pem", "Next:")
	call("link-key", "nats-conf", dir).want(t, 1, "", "gateline link-key client "+dir+" centre")
	call("link-key", "client", dir, "ops").want(t, 0, "ops  "+filepath.Join(dir, "client-ops.pem"), "nats-conf")
	call("link-key", "nats-conf", dir).want(t, 1, "", "gateline link-key client "+dir+" centre")
	call("link-key", "client", dir, "centre").want(t, 0, "centre  "+filepath.Join(dir, "client-centre.pem"), "nats-conf")
	call("link-key", "client", dir, "app").want(t, 0, "app  "+filepath.Join(dir, "client-app.pem"), "nats-conf")
	call("link-key", "client", dir, "ops").want(t, 1, "", "--replace")
	call("link-key", "client", "--replace", dir, "ops").want(t, 0, "ops  ", "nats-conf")
	call("link-key", "station", dir, "xidan").want(t, 0, "xidan  ", "/etc/gateline/link.pem")
	call("link-key", "server", dir, "a.centre.example").want(t, 0, "a.centre.example  "+filepath.Join(dir, "server-a.centre.example.pem"), "/etc/nats/link.pem")
	call("link-key", "server", dir, "10.1.2.3").want(t, 1, "", "not the DNS name of a server")
	call("link-key", "server", dir, "a.centre.example").want(t, 1, "", "is there already")
	accounts := call("link-key", "nats-conf", dir)
	accounts.want(t, 0, `"STATION-xidan"`, "")

	authority, err := linkkey.ReadAuthority(filepath.Join(dir, "authority.pem"))
	if err != nil {
		t.Fatal(err)
	}
	cluster := clustertest.Start(t, "../../docs/examples/cluster", authority, []byte(accounts.out))
	config := writeFile(t, "central.toml", fmt.Sprintf("dir = %q\ntoken.key_file = %q\nfeed.key_file = %q\nnats.link_file = %q\nnats.servers = [\"%s\"]\n",
		t.TempDir(), writeFile(t, "token.key", testKey), feedKeyFile(t), filepath.Join(dir, "client-centre.pem"), strings.Join(cluster.URLs(), `", "`)))
	centre := start(t, environment{}, "central", "--config", config)
	centre.until(`msg="centre is up"`)
	ask := func(link string, args ...string) result {
		return call(append([]string{"ops", "--server", strings.Join(cluster.URLs(), ","), "--link", filepath.Join(dir, link)}, args...)...)
	}
	ask("client-ops.pem", "card", "bind", "--credential", "3104770012345678901", "--person", "p1").want(t, 0, "bound", "")
	ask("client-ops.pem", "stats").want(t, 0, "credentials  1 bound", "")
	app := central.NewChannel(connect(t, strings.TrimPrefix(cluster.URLs()[1], "tls://"), filepath.Join(dir, "client-app.pem")), rules.ChannelApp)
	if own, err := app.Own(t.Context(), central.ByID("p1")); err != nil || len(own.Bindings) != 1 {
		t.Errorf("a channel is shown %+v, %v", own, err)
	}
	ask("xidan.pem", "stats").want(t, 1, "", "no centre answers")
	ask("server-a.centre.example.pem", "stats").want(t, 1, "", "gateline link-key client")

	_, terminal := newPTY(t)
	box := replaceIn(t, stationConfig(t, terminal.Name(), tokenKey(t)), `station = "xidan"`, fmt.Sprintf("station = \"xidan\"\ncentre.link_file = %q", filepath.Join(dir, "xidan.pem")))
	s := start(t, environment{}, "station", "--config", replaceIn(t, box, "nats-leaf://127.0.0.1:1", cluster.CentreURL()))
	s.until("the link to the centre is up")
	hangUp(t)
	centre.until("no list of stations to read")
	for _, r := range []*service{s, centre} {
		r.stop()
		printed.WriteString(r.log.String())
	}
	for _, file := range []string{"xidan.pem", "client-ops.pem", "client-app.pem", "client-centre.pem"} {
		for _, secret := range readSecrets(t, dir, file) {
			if strings.Contains(printed.String(), secret) {
				t.Errorf("a secret of %s is printed or logged", file)
			}
		}
	}
}
