package replication

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

func TestHubListens(t *testing.T) {
	t.Parallel()
	log := &lines{}
	hub, err := OpenHub(HubConfig{Dir: filepath.Join(t.TempDir(), "made", "here"), ClientListen: "127.0.0.1:0", LeafListen: "127.0.0.1:0", Log: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect("nats://" + hub.ClientAddr())
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	conn, err := net.Dial("tcp", hub.LeafAddr())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	for range 2 {
		if err := hub.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := hub.Connect(); err == nil {
		t.Error("a closed hub connects")
	}
	if log.count("level=") != 0 {
		t.Errorf("logged:\n%s", log)
	}
}

func TestHubWithoutListeners(t *testing.T) {
	t.Parallel()
	hub, err := OpenHub(HubConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	nc, err := hub.Connect()
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	if hub.ClientAddr() != "" || hub.LeafAddr() != "" {
		t.Errorf("listens on %q, %q", hub.ClientAddr(), hub.LeafAddr())
	}
	if err := hub.Close(); err != nil {
		t.Error(err)
	}
}

func TestHubRefuses(t *testing.T) {
	t.Parallel()
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = used.Close() }()
	busy := t.TempDir()
	first, err := OpenHub(HubConfig{Dir: busy})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		cfg  HubConfig
		want []string
	}{
		"no directory":        {HubConfig{}, []string{"no directory", "configure one"}},
		"directory in use":    {HubConfig{Dir: busy}, []string{busy, "in use", "stop that one"}},
		"a file":              {HubConfig{Dir: file}, []string{file, "check"}},
		"client port in use":  {HubConfig{Dir: t.TempDir(), ClientListen: used.Addr().String()}, []string{used.Addr().String(), "clients", "in use", "configure another"}},
		"leaf port in use":    {HubConfig{Dir: t.TempDir(), LeafListen: used.Addr().String()}, []string{used.Addr().String(), "leaf nodes", "in use", "configure another"}},
		"no port":             {HubConfig{Dir: t.TempDir(), LeafListen: "127.0.0.1"}, []string{`"127.0.0.1"`, "leaf nodes", "host:port"}},
		"port out of range":   {HubConfig{Dir: t.TempDir(), ClientListen: "127.0.0.1:70000"}, []string{"70000", "clients", "host:port"}},
		"foreign address":     {HubConfig{Dir: t.TempDir(), ClientListen: "192.0.2.1:4222"}, []string{"192.0.2.1:4222", "configure another"}},
		"two faults, one run": {HubConfig{Dir: t.TempDir(), ClientListen: "x", LeafListen: "y"}, []string{`"x"`, `"y"`}},
	} {
		test.cfg.Log = slog.New(slog.DiscardHandler)
		hub, err := OpenHub(test.cfg)
		if err == nil {
			t.Errorf("%s: accepted", name)
			_ = hub.Close()
			continue
		}
		for _, part := range test.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q not in: %v", name, part, err)
			}
		}
	}
}

// A server that cannot start is an error and not the end of the process, also
// where it finds out by itself.
func TestServerFatalIsError(t *testing.T) {
	t.Parallel()
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = used.Close() }()
	opts := hubOptions(&HubConfig{Dir: t.TempDir()})
	opts.Host, opts.Port = "127.0.0.1", used.Addr().(*net.TCPAddr).Port
	if _, err := startServer(opts, &serverLog{log: slog.New(slog.DiscardHandler)}, nil); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("client port in use: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	opts = hubOptions(&HubConfig{Dir: file})
	opts.DontListen = true
	if _, err := startServer(opts, &serverLog{log: slog.New(slog.DiscardHandler)}, nil); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("directory is a file: %v", err)
	}
}

func TestOnLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:1": true, "localhost:1": true, "[::1]:1": true, "127.8.0.1:1": true,
		"0.0.0.0:1": false, ":1": false, "10.0.0.1:1": false, "centre.example:1": false,
	} {
		if got := OnLoopback(address); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}

// A directory whose streams have been moved is opened no more, until somebody takes the
// mark away.
func TestHubMoved(t *testing.T) {
	dir := t.TempDir()
	open := func() (*Hub, error) { return OpenHub(HubConfig{Dir: dir, Log: slog.New(slog.DiscardHandler)}) }
	h, err := open()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.MarkMoved("tls://a:4222"), h.Close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, movedFile)
	for range 2 { // the refusal leaves no lock behind
		if _, err := open(); !errors.Is(err, ErrMoved) || !strings.Contains(err.Error(), "tls://a:4222") || !strings.Contains(err.Error(), path) {
			t.Errorf("moved: %v", err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if h, err = open(); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}
