package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"go.uber.org/goleak"

	"gateline/internal/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what ought to happen at once.
const patience = 15 * time.Second

// result is what one call of the command led to.
type result struct {
	code     int
	out, err string
}

// gateline calls the command; in may be nil.
func gateline(t *testing.T, env environment, in io.Reader, args ...string) result {
	t.Helper()
	if in == nil {
		in = strings.NewReader("")
	}
	var out, errOut bytes.Buffer
	code := runWith(t.Context(), env, args, in, &out, &errOut)
	return result{code, out.String(), errOut.String()}
}

// want checks the exit code and that out and err hold a text each; an empty
// one means that nothing was printed there.
func (r result) want(t *testing.T, code int, out, err string) {
	t.Helper()
	if r.code != code || !strings.Contains(r.out, out) || !strings.Contains(r.err, err) || out == "" && r.out != "" || err == "" && r.err != "" {
		t.Errorf("exit code %d, want %d\nout: %s\nwant %q\nerr: %s\nwant %q", r.code, code, r.out, out, r.err, err)
	}
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// service is a command that runs until it is stopped.
type service struct {
	t      *testing.T
	log    logtest.Buffer
	cancel context.CancelFunc
	code   chan int
	stop   func() int
}

// start calls a command that serves; it is stopped with the test at the latest.
func start(t *testing.T, env environment, args ...string) *service {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &service{t: t, cancel: cancel, code: make(chan int, 1)}
	go func() { s.code <- runWith(ctx, env, args, strings.NewReader(""), io.Discard, &s.log) }()
	s.stop = sync.OnceValue(func() int {
		cancel()
		select {
		case code := <-s.code:
			return code
		case <-time.After(patience):
			t.Errorf("%v does not stop; its log:\n%s", args, s.log.String())
			return -1
		}
	})
	t.Cleanup(func() { s.stop() })
	return s
}

// until waits for a line of the log and returns the match of the pattern's
// first group, or of all of it.
func (s *service) until(pattern string) string {
	s.t.Helper()
	p := regexp.MustCompile(pattern)
	var found []string
	poll(s.t, func() bool {
		found = p.FindStringSubmatch(s.log.String())
		return found != nil
	}, func() string { return "no " + pattern + " in the log:\n" + s.log.String() })
	return found[len(found)-1]
}

func poll(t *testing.T, ready func() bool, otherwise func() string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		if time.Now().After(deadline) {
			t.Fatal(otherwise())
		}
		<-tick.C
	}
}

// newPTY returns a pseudo-terminal: what a person at the first types, a command
// reads from the second.
func newPTY(t *testing.T) (person, terminal *os.File) {
	t.Helper()
	person, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = person.Close(), terminal.Close() })
	return person, terminal
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		out  string
		err  string
	}{
		{"", 0, "Available Commands", ""},
		{"--version", 0, "gateline ", ""},
		{"ops", 0, "Available Commands", ""},
		{"ops card", 0, "Available Commands", ""},
		{"help ops policy set", 0, "policy document", ""},
		{"completion bash", 0, "bash completion", ""},
		{"completion zsh", 0, "#compdef gateline", ""},
		{"completion fish", 0, "fish completion", ""},
		{"completion", 0, "Available Commands", ""},
		{"sation", 2, "", `unknown command "sation"`},
		{"ops frob", 2, "", `unknown command "frob" for "gateline ops"`},
		{"ops card frob", 2, "", `unknown command "frob" for "gateline ops card"`},
		{"ops person frob", 2, "", "unknown command"},
		{"ops policy frob", 2, "", "unknown command"},
		{"ops station frob", 2, "", "unknown command"},
		{"completion tcsh", 2, "", "unknown command"},
		{"completion bash frob", 2, "", "unknown command"},
		{"help frob", 2, "", "there is no command"},
		{"central --confg x", 2, "", "unknown flag"},
		{"central x", 2, "", "unknown command"},
		{"check x", 2, "", "unknown command"},
		{"ops stats x", 2, "", "unknown command"},
		{"ops card bind --credential 1", 2, "", "needs --person"},
		{"ops card bind", 2, "", "needs --credential and --person"},
		{"ops card unbind --credential 1 --person=", 2, "", "--person is empty"},
		{"ops person report --person p", 2, "", "needs --class"},
		{"ops person report --person p --class red --minute noon", 2, "", "invalid argument"},
		{"ops policy set", 2, "", "accepts 1 arg"},
		{"ops station mode xidan", 2, "", "accepts 2 arg"},
		{"ops station mode xidan shut", 2, "", "not one of off, observe, advisory, enforce, default"},
		{"ops station mode xidan enforce --from tomorrow", 2, "", "not an instant"},
		{"ops station mode xidan off", 2, "", "say --yes"},
		{"ops import", 2, "", "accepts 1 arg"},
		{"ops card lookup", 2, "", "needs --credential"},
		{"ops card replace --old 1", 2, "", "needs --new"},
		{"ops ride authorise --credential 1 --consent 1", 2, "", "needs --person or --document"},
		{"ops ride withdraw --credential 1 --person p --document passport", 2, "", "name one person twice"},
		{"ops person merge --from p", 2, "", "needs --into or --into-document"},
		{"ops person merge --from p --into q", 2, "", "has every card; say --yes with the id of --from"},
		{"ops person merge --from p --into q --yes q", 2, "", "--yes is not the id of --from"},
		{"ops person split --from p --into q --credential 1", 2, "", "loses 1 card to the second; say --yes with the id of --from"},
		{"ops person died --person p", 2, "", "say --yes with the id of --person"},
		{"ops station mode xidan enforce", 2, "", "refuses riders: mode enforce; say --yes"},
		{"ops person forget --person p", 2, "", "erased for good; say --yes with the id of --person"},
		{"ops person forget --person p --yes q", 2, "", "--yes is not the id of --person"},
		{"ops conflict resolve --credential 1", 2, "", "either --grant or --keep"},
		{"ops list students f.csv", 2, "", "needs --list"},
		{"ops list concession f.csv --list 1 --full 0", 2, "", "numbered from 1"},
		{"ops list end --list 1", 2, "", "needs --run"},
		{"ops policy sunset tomorrow", 2, "", "not an instant"},
		{"ops policy sunset none --after open", 2, "", "not one of [manual pass]"},
		{"ops feed frob", 2, "", "unknown command"},
		{"ops feed rotate-key", 2, "", "accepts 1 arg"},
		{"ops feed rotate-key me", 2, "", "not feedkey- and 64"},
		{"ops feed rotate-key feedkey-d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", 2, "", "retired for good; say --yes"},
		{"feed-key frob", 2, "", "unknown command"},
		{"feed-key new", 2, "", "accepts 1 arg"},
		{"ops stats --server http://127.0.0.1", 2, "", "not of the form nats://"},
		{"ops stats --server nats://", 2, "", "not of the form nats://"},
		{"ops stats --server nats://u:secret@h:port", 2, "", "not of the form nats://"},
	} {
		r := gateline(t, environment{}, nil, strings.Fields(c.args)...)
		r.want(t, c.code, c.out, c.err)
		if strings.Contains(r.err, "secret") {
			t.Errorf("%s: the password is shown", c.args)
		}
		if t.Failed() {
			t.Fatal(c.args)
		}
	}
}

func TestTokenKeyFile(t *testing.T) {
	const other = "/etc/gateline/token.key"
	if got := (environment{}).tokenKeyFile(other); got != other {
		t.Error(got)
	}
	if got := (environment{credentials: "/run/credentials/u"}).feedKeyFile(other); got != "/run/credentials/u/feed-key" {
		t.Error(got)
	}
	if got := (environment{credentials: "/run/credentials/u"}).tokenKeyFile(other); got != "/run/credentials/u/token-key" {
		t.Error(got)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "/c")
	t.Setenv("GATELINE_SERVER", "nats://s")
	t.Setenv("NO_COLOR", "1")
	if got := readEnvironment(); got != (environment{credentials: "/c", server: "nats://s", plain: true}) {
		t.Error(got)
	}
}
