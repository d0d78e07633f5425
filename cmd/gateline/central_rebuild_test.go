package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gateline/central"
)

// A centre whose streams are gone refuses to start, is given its ledger again by the
// command, and has what it had.
func TestCentralRebuild(t *testing.T) {
	config := centralConfig(t)
	rebuild := func(args ...string) result {
		return gateline(t, environment{}, nil, append([]string{"central", "rebuild", "--config", config}, args...)...)
	}
	rebuild().want(t, 1, "", "the ledger's copy")
	s, env := startCentral(t, config)
	dir := s.until(`msg="centre open" streams=(\S+)`)
	gateline(t, env, nil, "ops", "card", "bind", "--credential", "3104770012345678901", "--person", "p1").want(t, 0, "bound", "")
	rebuild("--yes", dir).want(t, 1, "", "stop that one first")
	s.stop()
	if err := os.RemoveAll(filepath.Join(dir, "streams")); err != nil {
		t.Fatal(err)
	}
	gateline(t, environment{}, nil, "central", "--config", config).want(t, 1, "", "there is no stream LEDGER")
	rebuild().want(t, 2, "", "There is no ledger. It is written anew from its copy, up to message 1")
	rebuild("--yes", "/else").want(t, 2, "", "nothing has changed")
	gateline(t, environment{}, nil, "central", "--config", config).want(t, 1, "", "gateline central rebuild")
	r := rebuild("--yes", dir)
	r.want(t, 0, "ledger   up to message 1, written anew from its copy and compared", "Next: start the centre")
	if !strings.Contains(r.err, "write LEDGER 1/1 (100%)\n") {
		t.Errorf("no progress:\n%s", r.err)
	}
	rebuild("--yes", dir).want(t, 0, "the same", "Next")
	s = start(t, environment{}, "central", "--config", config, "--verify")
	s.until(`msg="centre is up"`)
	gateline(t, environment{server: "nats://" + s.until(`clients=(\S+)`)}, nil, "ops", "stats").want(t, 0, "credentials  1 bound", "")
	s.stop()
	if err := os.RemoveAll(filepath.Join(dir, central.CopyFolder)); err != nil {
		t.Fatal(err)
	}
	rebuild("--yes", dir).want(t, 1, "", "the ledger's copy")
	gateline(t, environment{}, nil, "central", "rebuild", "x").want(t, 2, "", "unknown command")
}
