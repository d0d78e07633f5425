package station

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"gateline/central"
	"gateline/drivers/direct"
	"gateline/gateway"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(childConfig); config != "" {
		os.Exit(child(config))
	}
	if setup := os.Getenv(partConfig); setup != "" {
		os.Exit(runPart(setup))
	}
	if setup := os.Getenv(nodeConfig); setup != "" {
		os.Exit(runNode(setup))
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what ought to happen soon.
const patience = 60 * time.Second

// until polls for a condition that others bring about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting until %s", what)
		}
		<-tick.C
	}
}

func testKey() (k gateway.TokenKey) {
	for i := range k {
		k[i] = byte(i + 1)
	}
	return k
}

// testFeedSecret signs the feed of a test's centre.
var testFeedSecret = gateway.FeedSecret{7}

func tokenOf(t *testing.T, credential string) gateway.Token {
	t.Helper()
	return gateway.NewTokenizer(testKey()).Token(parse(t, credential))
}

func parse(t *testing.T, credential string) gateway.Credential {
	t.Helper()
	c, err := gateway.ParseCredential(credential)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wire is a pseudo-terminal between a gate and the box.
type wire struct {
	master, slave *os.File
	device        string
	gate          *direct.Gate
}

func newWire(t *testing.T) *wire {
	t.Helper()
	blocking, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer blocking.Close()
	// Package pty leaves its own descriptor blocking.
	fd, err := unix.FcntlInt(blocking.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{master: os.NewFile(uintptr(fd), "master"), slave: slave, device: slave.Name(), gate: direct.NewGate(time.Now(), 1, nil, 0)}
	t.Cleanup(func() { _ = w.master.Close(); _ = w.slave.Close() })
	return w
}

// tap lets the gate ask until it has an answer.
func (w *wire) tap(t *testing.T, purpose gateway.Purpose, c gateway.Credential) (answer gateway.Answer) {
	t.Helper()
	number := w.gate.Tap(time.Now(), purpose, c)
	w.step(t, func(r *direct.Result) bool {
		if r == nil || r.Number != number {
			return false
		}
		if !r.Answered { // a slow machine
			number = w.gate.Tap(time.Now(), purpose, c)
			return false
		}
		answer = r.Answer
		return true
	})
	return answer
}

// lane lets the gate beat until it shows want.
func (w *wire) lane(t *testing.T, want gateway.Lane) {
	t.Helper()
	w.step(t, func(*direct.Result) bool { return w.gate.Lane(time.Now()) == want })
}

// step lets the gate live until done says that it has what it wants.
func (w *wire) step(t *testing.T, done func(*direct.Result) bool) {
	t.Helper()
	var buf [256]byte
	var in []byte
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		result, send, wake := w.gate.Step(time.Now(), in)
		if done(result) {
			return
		}
		if len(send) > 0 {
			if _, err := w.master.Write(send); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.master.SetReadDeadline(wake); err != nil {
			t.Fatal(err)
		}
		n, err := w.master.Read(buf[:])
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		in = buf[:n]
	}
	t.Fatal("the gate does not get what it waits for")
}

// wants taps an entry and compares what the rider is told.
func (w *wire) wants(t *testing.T, credential string, verdict gateway.Verdict, reason gateway.Reason) {
	t.Helper()
	a := w.tap(t, gateway.PurposeEntry, parse(t, credential))
	if a.Verdict != verdict || a.Reason != reason || a.Open != (verdict == gateway.VerdictPass) {
		t.Errorf("answered %v %v, open %v; want %v %v", a.Verdict, a.Reason, a.Open, verdict, reason)
	}
}

// road is the network to the centre: a loopback port that leads nowhere until
// lead names a target.
type road struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex // guards what follows
	target string
	conns  map[net.Conn]bool
}

func newRoad(t *testing.T) *road {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &road{listener: l, conns: map[net.Conn]bool{}}
	r.wg.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			r.connect(near)
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		r.lead("")
		r.wg.Wait()
	})
	return r
}

func (r *road) url() string { return "nats-leaf://" + r.listener.Addr().String() }

// lead sends new connections to target and ends the old ones.
func (r *road) lead(target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = target
	for c := range r.conns {
		_ = c.Close()
	}
	clear(r.conns)
}

func (r *road) connect(near net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.target == "" {
		_ = near.Close()
		return
	}
	far, err := net.Dial("tcp", r.target)
	if err != nil {
		_ = near.Close()
		return
	}
	r.conns[near], r.conns[far] = true, true
	pass := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		_ = to.Close()
		_ = from.Close()
	}
	r.wg.Go(func() { pass(near, far) })
	r.wg.Go(func() { pass(far, near) })
}

// startCentre opens and runs a centre for as long as the test lasts.
func startCentre(t *testing.T, changes ...func(*central.Config)) (*central.Central, *central.Client) {
	t.Helper()
	cfg := central.Config{
		Dir: filepath.Join(t.TempDir(), "centre"), LeafListen: "127.0.0.1:0", TokenKey: testKey(), FeedKeys: []gateway.FeedSecret{testFeedSecret}, Heartbeat: 50 * time.Millisecond}
	for _, change := range changes {
		change(&cfg)
	}
	c, err := central.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	conn, err := c.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		conn.Close()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, central.NewClient(conn)
}

// testConfig is a box with a line for each wire, gates G1, G2 … of address 1.
func testConfig(t *testing.T, centre string, wires ...*wire) Config {
	t.Helper()
	dir := t.TempDir()
	cfg := DefaultConfig()
	cfg.Station, cfg.CentreURL = "xizhimen", centre
	cfg.CacheDir, cfg.TokenKeyFile = filepath.Join(dir, "cache"), filepath.Join(dir, "token.key")
	cfg.StatusListen, cfg.ControlSocket = "127.0.0.1:0", filepath.Join(dir, "control.sock")
	cfg.FeedKeys = []gateway.FeedKey{testFeedSecret.Public()}
	cfg.RequireSync = false // a test machine need not be synchronised
	key := testKey()
	if err := os.WriteFile(cfg.TokenKeyFile, []byte(hex.EncodeToString(key[:])), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, w := range wires {
		cfg.Lines = append(cfg.Lines, lineConfig(i+1, w.device))
	}
	return cfg
}

func lineConfig(number int, device string) LineConfig {
	l := LineConfig{Name: fmt.Sprintf("line-%d", number), Gates: []GateConfig{{Name: fmt.Sprintf("G%d", number), Address: 1}}}
	l.Serial.Device, l.Serial.Baud = device, 115200
	return l
}

// box is a Station whose Run is going.
type box struct {
	*Station
	t      *testing.T
	cancel context.CancelFunc
	ended  chan error
	once   sync.Once
}

func startBox(t *testing.T, cfg Config, o Options) *box {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s, err := Open(t.Context(), cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := &box{Station: s, t: t, cancel: cancel, ended: make(chan error, 1)}
	go func() { b.ended <- s.Run(ctx) }()
	t.Cleanup(b.stop)
	return b
}

// stop ends Run and closes the box; a box that is asked to stop ends well.
func (b *box) stop() {
	b.t.Helper()
	b.once.Do(func() {
		b.cancel()
		select {
		case err := <-b.ended:
			if err != nil {
				b.t.Errorf("Run returned %v", err)
			}
		case <-time.After(patience):
			b.t.Error("Run does not return")
		}
		for range 2 {
			if err := b.Close(); err != nil {
				b.t.Errorf("Close: %v", err)
			}
		}
	})
}

// get fetches a page of the box's status address.
func (b *box) get(path string) (status int, body string) {
	b.t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + b.StatusAddr() + path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

// metric returns the line of a metric, name with its labels.
func (b *box) metric(name string) string {
	b.t.Helper()
	_, text := b.get("/metrics")
	for line := range strings.Lines(text) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// reaches waits until the box has applied the feed up to number, and goes by the policy
// that it has then: that is told it a moment after the store has it.
func (b *box) reaches(number uint64) {
	b.t.Helper()
	until(b.t, fmt.Sprintf("the box has applied entry %d", number), func() bool {
		if b.Position().Number < number {
			return false
		}
		held, inForce := b.cache.Schedule(), b.schedule.Load()
		return held == nil || inForce != nil && inForce.Version >= held.Version
	})
}

// done returns the feed number of a command that must succeed.
func done(t *testing.T) func(central.Done, error) uint64 {
	return func(d central.Done, err error) uint64 {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return d.Number
	}
}
