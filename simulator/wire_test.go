package simulator

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"gateline/gateway"
)

const testBaud = 9600 // a little over a millisecond a byte

func newTestWire(t *testing.T, baud int) *wire {
	t.Helper()
	w, err := openWire(baud)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func someBytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// What the gate sends arrives unchanged, in order, and no byte of it before
// the wire can have carried it.
func TestWireSend(t *testing.T) {
	w := newTestWire(t, testBaud)
	sent := someBytes(50)
	type part struct {
		bytes []byte
		at    time.Time
	}
	parts := make(chan part, len(sent))
	go func() {
		defer close(parts)
		for got := 0; got < len(sent); {
			buf := make([]byte, 64)
			n, err := w.slave.Read(buf)
			if err != nil {
				t.Error(err)
				return
			}
			parts <- part{buf[:n], time.Now()}
			got += n
		}
	}()
	start := time.Now()
	last, err := w.send(sent)
	if err != nil {
		t.Fatal(err)
	}
	if took := last.Sub(start); took < time.Duration(len(sent))*byteTime(testBaud) {
		t.Errorf("%d bytes in %v", len(sent), took)
	}
	var got []byte
	for p := range parts {
		got = append(got, p.bytes...)
		if floor := start.Add(time.Duration(len(got)) * byteTime(testBaud)); p.at.Before(floor) {
			t.Errorf("byte %d is there %v before the wire can have carried it", len(got), floor.Sub(p.at))
		}
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("arrived %x", got)
	}
}

// What the box sends is received after its time on the wire; what it sends at
// once queues up.
func TestWireReceive(t *testing.T) {
	w := newTestWire(t, testBaud)
	if _, _, err := w.receive(time.Now().Add(time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nothing came: %v", err)
	}
	sent := someBytes(40)
	start := time.Now()
	if _, err := w.slave.Write(sent); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for len(got) < len(sent) {
		b, at, err := w.receive(soon())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, b...)
		if floor := start.Add(time.Duration(len(got)) * byteTime(testBaud)); at.Before(floor) {
			t.Errorf("byte %d is there %v too early", len(got), floor.Sub(at))
		}
		if len(got) == len(sent) && len(sent) == 40 { // a second time, right behind the first
			if _, err := w.slave.Write(sent); err != nil {
				t.Fatal(err)
			}
			sent = append(sent, sent...)
		}
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("arrived %x", got)
	}
}

func TestByteTime(t *testing.T) {
	for baud, want := range map[int]time.Duration{9600: 1041666, 115200: 86805, 1_000_000: 10 * time.Microsecond} {
		if got := byteTime(baud); got != want {
			t.Errorf("%d baud: %v", baud, got)
		}
	}
}

// A tap that nobody answers is repeated and then given up: lost, not wrong.
func TestLostTap(t *testing.T) {
	g, err := newGate(115200, func() gateway.Position { return gateway.Position{} })
	if err != nil {
		t.Fatal(err)
	}
	defer g.wire.close()
	lost, err := g.tap(t.Context(), 0, gateway.PurposeEntry)
	if err != nil || lost.answered || lost.tries < 2 {
		t.Errorf("answered %v after %d tries, %v", lost.answered, lost.tries, err)
	}
	r := newReport("rush", 1)
	r.addTaps(testModel(status{}), []tapRecord{lost}, 115200)
	if r.Taps != 1 || r.Lost != 1 || r.Answered != 0 || r.Wrong != 0 || r.OK() {
		t.Errorf("reported as %+v", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.tap(ctx, 0, gateway.PurposeEntry); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
	if err := g.idle(ctx, soon()); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
}

// A link passes bytes both ways, ends and refuses connections while it is cut,
// and heals.
func TestLink(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			})
		}
	})
	defer func() { _ = echo.Close(); served.Wait() }()
	l, err := openLink(echo.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.addr())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(soon()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	passes := func(c net.Conn) bool {
		buf := make([]byte, 5)
		_, err := c.Write([]byte("hello"))
		if err == nil {
			_, err = io.ReadFull(c, buf)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("neither passed nor ended")
		}
		return err == nil && string(buf) == "hello"
	}
	c := dial()
	for range 2 {
		if !passes(c) {
			t.Error("the link does not pass bytes")
		}
	}
	l.set(true)
	if passes(c) || passes(dial()) {
		t.Error("a cut link passes bytes")
	}
	l.set(false)
	if passes(c) {
		t.Error("a connection that was cut lives again")
	}
	c = dial()
	if !passes(c) {
		t.Error("a healed link does not pass bytes")
	}
	l.swallow()
	hole := dial()
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Errorf("a black hole tells of itself: %v", err)
	}
	if !passes(hole) {
		t.Error("a new connection does not pass bytes beside a black hole")
	}
	// What went into the hole would be here by now.
	if err := c.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 5)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a black hole gave %d bytes, %v", n, err)
	}
	c = hole
	l.thin(1 << 20)
	if before := l.toBox.Load(); !passes(c) || l.toBox.Load() != before+5 || l.chunk(true) >= linkChunk || l.chunk(false) != linkChunk {
		t.Error("a thin link does not pass bytes in small pieces, or does not count them")
	}
	l.thin(0)
	for range 2 {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	}
	if passes(c) {
		t.Error("a closed link passes bytes")
	}
}

// A thin link is busy for as long as its bytes take, whoever waits for it.
func TestThinLink(t *testing.T) {
	l := &link{pairs: map[*pair]bool{}}
	over := &pair{ended: make(chan struct{})}
	close(over.ended)
	l.pace(over, 1000)
	if !l.free.IsZero() {
		t.Error("a link without a limit is busy")
	}
	l.thin(1000)
	l.free = soon()
	until := l.free
	l.pace(over, 500)
	l.pace(over, 1500)
	if got := l.free.Sub(until); got != 2*time.Second {
		t.Errorf("2000 bytes at 1000 a second take %v", got)
	}
}

// A wait ends with what the box wrote meanwhile, or else when it was to end
// and not before.
func TestWireListen(t *testing.T) {
	w := newTestWire(t, testBaud)
	for _, pause := range []time.Duration{0, time.Millisecond, 3 * coarse} {
		until := time.Now().Add(pause)
		if in, _, err := w.listen(until); err != nil || len(in) != 0 || time.Now().Before(until) {
			t.Errorf("nothing came in %v: % x, %v", pause, in, err)
		}
	}
	for _, until := range []time.Time{time.Now(), time.Now().Add(coarse / 2), soon()} {
		if _, err := w.slave.Write([]byte{1, 2, 3}); err != nil {
			t.Fatal(err)
		}
		var got []byte
		for len(got) < 3 { // a pseudo-terminal may hand it over some time later
			in, at, err := w.listen(until)
			if err != nil || len(in) > 0 && at.After(time.Now()) {
				t.Fatalf("% x at %v, %v", in, at, err)
			}
			if got = append(got, in...); time.Now().After(until.Add(patience)) {
				t.Fatal("it never came")
			}
		}
		if !bytes.Equal(got, []byte{1, 2, 3}) {
			t.Errorf("heard % x", got)
		}
	}
}
