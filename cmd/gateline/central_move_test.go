package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gateline/internal/clustertest"
	"gateline/internal/linkkey"
)

// A centre is moved by the command; ops ask the one on the servers afterwards, and the
// old configuration starts no centre any more.
func TestCentralMove(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	var accounts result
	for _, args := range [][]string{{"init", link}, {"client", link, "centre", "ops"}, {"nats-conf", link}} {
		if accounts = gateline(t, environment{}, nil, append([]string{"link-key"}, args...)...); accounts.code != 0 {
			t.Fatal(args, accounts.err)
		}
	}
	authority, err := linkkey.ReadAuthority(filepath.Join(link, "authority.pem"))
	if err != nil {
		t.Fatal(err)
	}
	old := centralConfig(t)
	s, env := startCentral(t, old)
	dir := s.until(`msg="centre open" streams=(\S+)`)
	gateline(t, env, nil, "ops", "card", "bind", "--credential", "3104770012345678901", "--person", "p1").want(t, 0, "bound", "")
	cluster := clustertest.Start(t, "../../docs/examples/cluster", authority, []byte(accounts.out))
	config := writeFile(t, "central.toml", fmt.Sprintf("dir = %q\ntoken.key_file = %q\nfeed.key_file = %q\nstatus.listen = \"\"\nnats.link_file = %q\nnats.servers = [\"%s\"]\n",
		dir, writeFile(t, "token.key", testKey), feedKeyFile(t), filepath.Join(link, "client-centre.pem"), strings.Join(cluster.URLs(), `", "`)))
	move := func() result {
		return gateline(t, environment{}, nil, "central", "move", "--config", config, "--from", dir)
	}

	gateline(t, environment{}, nil, "central", "move", "--config", old, "--from", dir).want(t, 1, "", "names no servers to move to")
	move().want(t, 1, "", "stop it first")
	gateline(t, environment{}, nil, "central", "move", "--config", config, "--from", "/nonexistent").want(t, 1, "", "with --from")
	s.stop()
	r := move()
	r.want(t, 0, "moved and compared: "+cluster.URLs()[0], "Next: start the centre")
	for _, want := range []string{"\n  ledger   1 messages\n", "\n  feed     entries 1 to ", "\n  shards   ", "\n  reports  0 messages\n"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
	if !strings.Contains(r.err, "copy LEDGER 0/1 (0%)\n") || !strings.Contains(r.err, "compare LEDGER 1/1 (100%)\n") {
		t.Errorf("no progress:\n%s", r.err)
	}
	move().want(t, 1, "", "have been moved to servers of the operator's, "+cluster.URLs()[0])
	gateline(t, environment{}, nil, "central", "--config", old).want(t, 1, "", "have been moved to servers of the operator's")
	centre := start(t, environment{}, "central", "--config", config)
	centre.until(`msg="centre is up"`)
	gateline(t, environment{}, nil, "ops", "stats", "--server", strings.Join(cluster.URLs(), ","), "--link", filepath.Join(link, "client-ops.pem")).want(t, 0, "credentials  1 bound", "")
	gateline(t, environment{}, nil, "central", "move", "x").want(t, 2, "", "unknown command")
}

// Root would leave files in the directory that the service's user cannot write.
func TestCentralMoveNotAsRoot(t *testing.T) {
	dir := t.TempDir()
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, 1, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := checkCentreDir(dir, 0); err == nil || !strings.Contains(err.Error(), "not opened as root") {
		t.Errorf("as root: %v", err)
	}
	if err := checkCentreDir(dir, 1); err != nil {
		t.Errorf("as its user: %v", err)
	}
}
