package station

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"go.uber.org/goleak"

	"gateline/cache"
	"gateline/drivers/osdp"
	"gateline/drivers/serial"
	"gateline/gateway"
)

// checkConfig is a configuration in which everything is there: a pseudo-
// terminal as line, a listener as centre.
func checkConfig(t *testing.T) Config {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = master.Close(), slave.Close() })
	centre := listen(t)
	dir := t.TempDir()
	c := DefaultConfig()
	c.Station, c.CentreURL = "xidan", "nats-leaf://"+centre.Addr().String()
	c.CacheDir, c.ControlSocket = filepath.Join(dir, "var", "cache"), filepath.Join(dir, "control.sock")
	c.TokenKeyFile = writeFile(t, filepath.Join(dir, "token.key"), strings.Repeat("ab", 32), 0o600)
	c.FeedKeys = []gateway.FeedKey{testFeedSecret.Public()}
	c.StatusListen, c.RequireSync = "127.0.0.1:0", false
	c.Lines = []LineConfig{{
		Name: "north", Serial: serial.Config{Device: slave.Name(), Baud: 115200},
		Gates: []GateConfig{{Name: "N1", Address: 1, KeyFile: writeFile(t, filepath.Join(dir, "n1.key"), strings.Repeat("cd", 16), 0o600)}},
	}}
	return c
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func writeFile(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// checkWith runs a check by an ordinary user on a synchronised machine.
func checkWith(t *testing.T, cfg Config, change func(*checker)) []Finding {
	t.Helper()
	c := &checker{cfg: cfg, now: time.Now, uid: 1000, clock: func() (kernelClock, error) {
		return kernelClock{synced: true, maxError: 3 * time.Millisecond}, nil
	}}
	if change != nil {
		change(c)
	}
	return c.run(t.Context())
}

// expect compares what was found, in order, with "level thing: part of text".
func expect(t *testing.T, found []Finding, want ...string) {
	t.Helper()
	for i, f := range found {
		if i >= len(want) {
			t.Errorf("more: %s %s: %s", f.Level, f.Thing, f.Text)
			continue
		}
		head, part, _ := strings.Cut(want[i], ": ")
		if f.Level.String()+" "+f.Thing != head || !strings.Contains(f.Text, part) {
			t.Errorf("got %s %s: %s\nwant %s", f.Level, f.Thing, f.Text, want[i])
		}
	}
	if len(found) < len(want) {
		t.Errorf("missing: %q", want[len(found):])
	}
}

func TestCheckFindsAllWell(t *testing.T) {
	c := checkConfig(t)
	before := names(t, filepath.Dir(c.TokenKeyFile))
	expect(t, checkWith(t, c, nil),
		"ok token key: "+c.TokenKeyFile,
		"ok key of gate N1: n1.key",
		"ok feed keys: "+testFeedSecret.Public().ID().String()+"; no feed followed yet",
		"ok cache: does not exist yet; the first start makes it",
		"ok line north: 115200 baud 8N1",
		"ok status page: 127.0.0.1:0 is free",
		"ok control socket: control.sock is free",
		"ok centre: is reachable",
		"ok clock: at most 3ms off")
	if after := names(t, filepath.Dir(c.TokenKeyFile)); !slices.Equal(before, after) {
		t.Errorf("left behind: %q, before %q", after, before)
	}
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// Every fault is found in one go, and none of them stops the check.
func TestCheckFindsAllFaults(t *testing.T) {
	c := checkConfig(t)
	dir := filepath.Dir(c.TokenKeyFile)
	if err := os.Chmod(c.TokenKeyFile, 0o644); err != nil {
		t.Fatal(err)
	}
	c.Lines[0].Gates[0].KeyFile = filepath.Join(dir, "none.key")
	c.CacheDir = dir // holds other files
	gone := listen(t)
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	c.Lines = append(c.Lines,
		LineConfig{Name: "gone", Serial: serial.Config{Device: filepath.Join(dir, "ttyUSB7"), Baud: 9600}},
		LineConfig{Name: "null", Serial: serial.Config{Device: "/dev/null", Baud: 9600}},
		LineConfig{Name: "twice", Serial: c.Lines[0].Serial},
		LineConfig{Name: "tcp", TCP: gone.Addr().String()})
	holder, err := serial.Open(c.Lines[0].Serial)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	c.StatusListen = serveOther(t)
	c.ControlSocket = writeFile(t, filepath.Join(dir, "control.txt"), "", 0o600)
	c.CentreURL = "nats-leaf://" + gone.Addr().String() + "," + c.CentreURL
	c.RequireSync = true
	found := checkWith(t, c, func(c *checker) {
		c.clock = func() (kernelClock, error) { return kernelClock{}, errors.New("not to be asked") }
	})
	expect(t, found,
		"fault token key: chmod 0600",
		"fault key of gate N1: put the key there",
		"ok feed keys: ",
		"fault cache: not a gateline cache",
		"fault line north: in use",
		"fault line gone: no such serial port",
		"fault line null: not a serial port",
		"fault line twice: in use",
		"fault line tcp: check its power",
		"fault status page: free the address",
		"fault control socket: is no socket",
		"note centre: not reachable now",
		"ok centre: is reachable",
		"fault clock: not synchronised")
}

// A line of readers says how they are spoken to, and a key that everybody tries
// is a fault that names the gate.
func TestCheckReaders(t *testing.T) {
	c := checkConfig(t)
	dir := filepath.Dir(c.TokenKeyFile)
	good := writeFile(t, filepath.Join(dir, "good.key"), "00112233445566778899aabbccddee00", 0o600)
	signals := osdp.DefaultSignals()
	signals.Output, signals.Pulse = 2, 700*time.Millisecond
	line := &c.Lines[0]
	line.Protocol, line.Reads, line.Signals = ProtocolOSDP, osdp.DefaultReadMap(), &signals
	line.Gates = []GateConfig{{Name: "N1", Address: 1, KeyFile: good}, {Name: "N2", Address: 2, KeyFile: good}}
	lines := func() []Finding {
		return slices.DeleteFunc(checkWith(t, c, nil), func(f Finding) bool {
			return !strings.HasPrefix(f.Thing, "line ") && !strings.HasPrefix(f.Thing, "key of ")
		})
	}
	expect(t, lines(),
		"ok key of gate N1: good.key",
		"ok key of gate N2: good.key",
		"ok line north: 115200 baud",
		"ok line north: OSDP in Secure Channel with 2 of 2 readers; a pass switches output 2 on for 700ms")
	line.Gates[0].KeyFile = writeFile(t, filepath.Join(dir, "weak.key"), strings.Repeat("cd", 16), 0o600)
	for i := range 5 {
		line.Gates = append(line.Gates, GateConfig{Name: fmt.Sprint("C", i), Address: uint8(10 + i)})
	}
	expect(t, lines(),
		"fault key of gate N1: openssl rand -hex 16",
		"ok key of gate N2: good.key",
		"ok line north: 115200 baud",
		"note line north: OSDP in clear with 5 of 7 readers (C0, C1, C2, C3 and 1 more)")
	if _, err := Open(t.Context(), c, Options{Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), `line "north": gate "N1": key file `) {
		t.Errorf("a box with such a key: %v", err)
	}
}

// serveOther returns the address of an HTTP server that is no box.
func serveOther(t *testing.T) string {
	t.Helper()
	l := listen(t)
	server := &http.Server{Handler: http.NotFoundHandler()}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
	return l.Addr().String()
}

// Beside a running box nothing it holds is a fault, and nothing disturbs it.
func TestCheckBesideRunningBox(t *testing.T) {
	c := checkConfig(t)
	s, err := Open(t.Context(), c, Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := errors.Join(<-ended, s.Close()); err != nil {
			t.Error(err)
		}
	}()
	c.StatusListen = s.StatusAddr()
	c.Lines = append(c.Lines, LineConfig{Name: "tcp", TCP: "127.0.0.1:1"})
	expect(t, checkWith(t, c, nil),
		"ok token key: ",
		"ok key of gate N1: ",
		"ok feed keys: the store of the running box is not looked at",
		"note cache: in use by a running box",
		"note line north: as it must be while the box runs",
		"note line tcp: is not tried while the box runs",
		"note status page: in use by a running box",
		"note control socket: in use by a running box",
		"ok centre: ",
		"ok clock: ")
	if _, err := NewControl(c.ControlSocket).State(t.Context()); err != nil {
		t.Errorf("the box was disturbed: %v", err)
	}
}

func TestCheckCache(t *testing.T) {
	c := checkConfig(t)
	thing := func(change func(*checker)) []Finding {
		return slices.DeleteFunc(checkWith(t, c, change), func(f Finding) bool { return f.Thing != "cache" })
	}
	expect(t, thing(func(c *checker) { c.uid = 0 }), "note cache: the box's user must be able to make it")
	if err := os.MkdirAll(c.CacheDir, 0o700); err != nil {
		t.Fatal(err)
	}
	expect(t, thing(nil), "note cache: no complete snapshot yet")
	if os.Geteuid() == 0 {
		if err := os.Chown(c.CacheDir, 4711, -1); err != nil {
			t.Fatal(err)
		}
	}
	// Root must not leave files of its own in the store of the box's user.
	before := names(t, c.CacheDir)
	expect(t, thing(func(c *checker) { c.uid = 0 }), "note cache: run this check as that user")
	if after := names(t, c.CacheDir); !slices.Equal(before, after) {
		t.Errorf("root left %q, before %q", after, before)
	}
	c.CacheDir = filepath.Join(c.TokenKeyFile, "cache")
	expect(t, thing(nil), "fault cache: not a directory")
}

// What the store followed the feed by must be among what is configured.
func TestCheckFeedKeys(t *testing.T) {
	c := checkConfig(t)
	store, err := cache.Open(c.CacheDir, cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	next := gateway.FeedSecret{8}.Public()
	err = store.Apply(gateway.Update{To: gateway.Position{Epoch: 1, Number: 9}, Keys: []gateway.KeyTerm{{Key: c.FeedKeys[0], From: 1}, {Key: next, From: 7}}})
	if err := errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
	only := func() []Finding {
		return slices.DeleteFunc(checkWith(t, c, nil), func(f Finding) bool { return f.Thing != "feed keys" })
	}
	followed := testFeedSecret.Public().ID().String() + " from entry 1, " + next.ID().String() + " from entry 7"
	expect(t, only(), "ok feed keys: feed followed by "+followed)
	c.FeedKeys = []gateway.FeedKey{next}
	expect(t, only(), "ok feed keys: feed followed by "+followed)
	c.FeedKeys = []gateway.FeedKey{{9}}
	expect(t, only(), "fault feed keys: by others, "+followed)
}

func TestCheckAddresses(t *testing.T) {
	c := checkConfig(t)
	found := func(change func(*checker)) []Finding {
		return slices.DeleteFunc(checkWith(t, c, change), func(f Finding) bool {
			return f.Thing != "status page" && f.Thing != "control socket" && f.Thing != "clock"
		})
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: c.ControlSocket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c.StatusListen = "192.0.2.1:80"
	expect(t, found(func(c *checker) { c.clock = func() (kernelClock, error) { return kernelClock{}, nil } }),
		"fault status page: set [status] listen to another",
		"ok control socket: was left behind",
		"note clock: require_sync = false")
	if _, err := os.Lstat(c.ControlSocket); err != nil {
		t.Errorf("the check removed it: %v", err)
	}
	c.StatusListen, c.ControlSocket = "", ""
	expect(t, found(nil), "ok status page: switched off", "ok control socket: switched off", "ok clock: ")
	c.ControlSocket = filepath.Join(c.TokenKeyFile, "control.sock")
	expect(t, found(nil), "ok status page: switched off", "fault control socket: set [control] socket", "ok clock: ")
	c.ControlSocket = filepath.Join(t.TempDir(), "none", "control.sock")
	expect(t, found(nil), "ok status page: switched off", "fault control socket: set [control] socket", "ok clock: ")
}

// Check itself, as the command calls it.
func TestCheck(t *testing.T) {
	c := checkConfig(t)
	for _, f := range Check(t.Context(), c) {
		if f.Level == LevelFault {
			t.Errorf("%s: %s", f.Thing, f.Text)
		}
	}
}
