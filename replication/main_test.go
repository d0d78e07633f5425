package replication

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"gateline/gateway"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(template.dir) // "" is nothing
		os.Exit(code)
	}))
}

// until waits for cond, at most 20 s.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// lines collects what is logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) count(part string) int { return strings.Count(l.String(), part) }

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, nil))
}

// testSecret returns the nth key of a test.
func testSecret(n byte) gateway.FeedSecret { return gateway.FeedSecret{0: n, 31: 0xfe} }

// testKeys are what a test's box trusts and a test's centre signs with.
var testKeys = []gateway.FeedKey{testSecret(1).Public()}

func testPublisher(secrets ...byte) PublisherConfig {
	if len(secrets) == 0 {
		secrets = []byte{1}
	}
	cfg := PublisherConfig{Log: slog.New(slog.DiscardHandler)}
	for _, n := range secrets {
		cfg.Keys = append(cfg.Keys, testSecret(n))
	}
	return cfg
}

// sign encodes an entry with the nth key.
func sign(t testing.TB, secret byte, e Entry) []byte {
	t.Helper()
	s := newSigner(testSecret(secret))
	b, err := s.sign(&e)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decode(t testing.TB, b []byte) *Signed {
	t.Helper()
	s, err := DecodeEntry(b)
	if err != nil {
		t.Fatal(err)
	}
	return &s
}

// centre is a hub with a publisher, and records what boxes have to hold.
type centre struct {
	t    *testing.T
	hub  *Hub
	js   jetstream.JetStream
	pub  *Publisher
	want map[gateway.Token]gateway.Record
}

func openCentre(t *testing.T, dir, leafListen string) *centre {
	t.Helper()
	return openCentreWith(t, dir, leafListen, testPublisher())
}

func openCentreWith(t *testing.T, dir, leafListen string, cfg PublisherConfig) *centre {
	t.Helper()
	hub, err := OpenHub(HubConfig{Dir: dir, LeafListen: leafListen, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return newCentre(t, hub, cfg)
}

func newCentre(t *testing.T, hub *Hub, cfg PublisherConfig) *centre {
	t.Helper()
	nc, err := hub.Connect()
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	c := &centre{t: t, hub: hub, js: js, want: map[gateway.Token]gateway.Record{}}
	t.Cleanup(c.close)
	c.pub, err = OpenPublisher(t.Context(), js, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *centre) close() {
	c.js.Conn().Close()
	if err := c.hub.Close(); err != nil {
		c.t.Error(err)
	}
}

// publish stores n entries of one change each.
func (c *centre) publish(n int) {
	c.t.Helper()
	for range n {
		if err := c.publishOne(); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *centre) publishOne() error {
	number := c.pub.Last().Number + 1
	change := gateway.Change{Token: gateway.Token(number * 0x9e3779b97f4a7c15), Record: gateway.Record{Anchor: gateway.Day(1 + number%1000)}}
	e := Entry{Time: time.Now().UnixMicro(), Source: number, Changes: []gateway.Change{change}}
	err := c.pub.Publish(c.t.Context(), &e)
	if err == nil {
		c.want[change.Token] = change.Record
	}
	return err
}

func (c *centre) url() string { return "nats-leaf://" + c.hub.LeafAddr() }

// startBox opens and runs a box with quick intervals and returns it with a
// function that stops it.
func startBox(t *testing.T, url string, store Store, log *lines, change func(*BoxConfig)) (*Box, func()) {
	t.Helper()
	cfg := BoxConfig{
		Station: "s-0407", CentreURL: url, Store: store, Keys: testKeys, Log: log.logger(),
		PollInterval: 500 * time.Millisecond, QuietAfter: 300 * time.Millisecond,
		PingInterval: 3 * time.Second, ReconnectInterval: 50 * time.Millisecond,
		FetchTimeout: time.Second,
	}
	if change != nil {
		change(&cfg)
	}
	box, err := OpenBox(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- box.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return box, stop
}

// same waits until the box is where the centre is and compares the records.
func same(t *testing.T, c *centre, s *memory) {
	t.Helper()
	last := c.pub.Last()
	until(t, fmt.Sprintf("box at entry %d", last.Number), func() bool { return s.at() >= last.Number })
	s.check(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	if want := (gateway.Position{Epoch: last.Epoch, Number: last.Number, Watermark: last.Time, Hash: c.pub.hash}); s.position != want {
		t.Errorf("position %+v, want %+v", s.position, want)
	}
	if len(s.records) != len(c.want) {
		t.Errorf("%d records, want %d", len(s.records), len(c.want))
	}
	for token, record := range c.want {
		if s.records[token] != record {
			t.Fatal("a record differs")
		}
	}
}

// proxy passes TCP connections on until it is told not to.
type proxy struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	cut    bool          // connections are closed at once
	stall  chan struct{} // not nil: bytes are taken and kept until it is closed
	deaf   map[net.Conn]bool
	closed bool
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target, conns: map[net.Conn]struct{}{}}
	p.wg.Add(1)
	go p.accept()
	t.Cleanup(func() {
		p.setStall(false)
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.setCut(true)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		p.wg.Wait()
	})
	return p
}

func (p *proxy) url() string { return "nats-leaf://" + p.listener.Addr().String() }

func (p *proxy) setCut(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	if cut {
		for c := range p.conns {
			_ = c.Close()
		}
	}
}

// setStall makes the line silent without closing it.
func (p *proxy) setStall(stall bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if stall && p.stall == nil {
		p.stall = make(chan struct{})
	} else if !stall && p.stall != nil {
		close(p.stall)
		p.stall = nil
	}
}

// swallow makes all connections that there are silent for good; new ones are not.
func (p *proxy) swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = map[net.Conn]bool{}
	for c := range p.conns {
		p.deaf[c] = true
	}
}

func (p *proxy) accept() {
	defer p.wg.Done()
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.target)
		p.mu.Lock()
		if err != nil || p.cut || p.closed {
			p.mu.Unlock()
			_ = in.Close()
			if out != nil {
				_ = out.Close()
			}
			continue
		}
		p.conns[in], p.conns[out] = struct{}{}, struct{}{}
		p.wg.Add(2)
		p.mu.Unlock()
		go p.pass(in, out)
		go p.pass(out, in)
	}
}

func (p *proxy) pass(to, from net.Conn) {
	defer p.wg.Done()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		stall, deaf := p.stall, p.deaf[from]
		p.mu.Unlock()
		if deaf && err == nil {
			continue
		}
		if stall != nil {
			<-stall
			err = errors.Join(err, io.ErrClosedPipe) // what was kept is lost
		}
		if err == nil {
			_, err = to.Write(buf[:n])
		}
		if err != nil {
			_, _ = to.Close(), from.Close()
			p.mu.Lock()
			delete(p.conns, to)
			delete(p.conns, from)
			p.mu.Unlock()
			return
		}
	}
}
