package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A centre's ledger is compacted by the command, it goes on, and the receipt can be
// checked.
func TestCentralCompact(t *testing.T) {
	config := centralConfig(t)
	compact := func(args ...string) result {
		return gateline(t, environment{}, nil, append([]string{"central", "compact", "--config", config}, args...)...)
	}
	s, env := startCentral(t, config)
	dir := s.until(`msg="centre open" streams=(\S+)`)
	bind := words("ops card bind --credential 3104770012345678901 --person p1")
	gateline(t, env, nil, bind...).want(t, 0, "bound", "")
	gateline(t, env, nil, words("ops card unbind --credential 3104770012345678901 --person p1")...).want(t, 0, "unbound", "")
	gateline(t, env, nil, bind...).want(t, 0, "bound", "")
	compact("--yes", dir).want(t, 1, "", "stop that one first")
	s.stop()
	compact().want(t, 2, "", "The ledger, messages 1 to 3, is replaced by a snapshot of what is so: 1 credentials of 1 persons. All else in it is deleted for good")
	compact("--yes", "/else").want(t, 2, "", "nothing has changed")
	r := compact("--yes", dir)
	r.want(t, 0, "destroyed   ledger messages 1 to 3\nleft        messages 4 to 4: 1 credentials of 1 persons\nfeed        keeps what it has told of it for 192h0m0s\n", "Next: start the centre")
	if !strings.Contains(r.err, "prove the snapshot 1/1 (100%)\n") {
		t.Errorf("no progress:\n%s", r.err)
	}
	s, env = startCentral(t, config)
	gateline(t, env, nil, "ops", "stats").want(t, 0, "credentials  1 bound", "")
	s.stop()
	compact("--new-epoch").want(t, 2, "", "feed and shards begin anew under a new epoch")
	receipt := filepath.Join(dir, "receipts", "compact-3.json")
	gateline(t, environment{}, nil, "central", "receipt", receipt).want(t, 0, "destroyed   ledger messages 1 to 3", "")
	gateline(t, environment{}, nil, "central", "receipt", "--json", receipt).want(t, 0, `"destroyed":{"first":1,"last":3,`, "")
	gateline(t, environment{}, nil, "central", "receipt", filepath.Join(dir, "none")).want(t, 1, "", "give the file in the centre's folder")
	text, err := os.ReadFile(receipt)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(receipt, []byte(strings.Replace(string(text), `"last": 3`, `"last": 2`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	gateline(t, environment{}, nil, "central", "receipt", receipt).want(t, 1, "", "it was changed, or made up")
}
