package drivers_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gateline/drivers"
)

// pipes hands out in-memory ports: a write waits for its reader.
func pipes() *opener {
	return &opener{ends: make(chan drivers.Port, 10000), pair: func() (near, far drivers.Port) { return net.Pipe() }}
}

func TestTapIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, log := pipes(), new(logBuffer)
		cfg := lineConfig(t, o, new(echo), log)
		line := drivers.NewLine(cfg)
		if err := line.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !line.Up() || line.Name() != "north" || line.Gates() != cfg.Gates || line.Counters() != cfg.Counters {
			t.Error("an open line does not show what it was given")
		}
		r := run(t, line)
		far := <-o.ends
		begin := time.Now()
		ask(t, far)
		ask(t, far)
		synctest.Wait()
		if d := time.Since(begin); d != 0 {
			t.Errorf("the line itself waited %v", d)
		}
		if taps, answered := cfg.Station.(*desk).counts(); taps != 2 || answered != 2 {
			t.Errorf("%d taps, %d answered", taps, answered)
		}
		if c := cfg.Counters; c.BytesIn.Load() != 2 || c.BytesOut.Load() != 2 || c.Opens.Load() != 1 || c.PortErrors.Load() != 0 {
			t.Error("the counters are wrong")
		}
		r.stop()
		if lines := log.lines(""); len(lines) != 0 {
			t.Errorf("a line that is well logs %q", lines)
		}
		if _, err := far.Read(make([]byte, 1)); err == nil {
			t.Error("the port is open after Run")
		}
	})
}

// A port that fails is reported once and tried again with a growing pause; the
// session forgets half a frame; each cause is reported once.
func TestReopen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, e, log := pipes(), new(echo), new(logBuffer)
		var lost time.Time
		o.fail = func(attempt int) error {
			switch {
			case attempt >= 2 && attempt <= 6:
				return errors.New("no such device")
			case attempt >= 7 && attempt <= 10:
				return errors.New("in use")
			}
			return nil
		}
		cfg := lineConfig(t, o, e, log)
		line := drivers.NewLine(cfg)
		if err := line.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := run(t, line)
		far := <-o.ends
		time.Sleep(time.Minute) // it has held
		_, _ = far.Write([]byte("half a frame"))
		synctest.Wait()
		lost = time.Now()
		_ = far.Close()
		synctest.Wait()
		if line.Up() || cfg.Counters.PortErrors.Load() != 1 {
			t.Error("the loss is not noticed at once")
		}
		far = <-o.ends
		ask(t, far)
		r.stop()
		if e.resets != 1 || string(e.half) != "?" {
			t.Errorf("%d resets, the session holds %q", e.resets, e.half)
		}
		var pauses []time.Duration
		last := lost
		for _, at := range o.attempts()[1:] {
			pauses = append(pauses, at.Sub(last))
			last = at
		}
		const ms = time.Millisecond
		if want := []time.Duration{0, 100 * ms, 200 * ms, 400 * ms, 800 * ms, 1000 * ms, 1000 * ms, 1000 * ms, 1000 * ms, 1000 * ms}; !slices.Equal(pauses, want) {
			t.Errorf("pauses %v, want %v", pauses, want)
		}
		if cfg.Counters.Opens.Load() != 2 {
			t.Errorf("%d opens", cfg.Counters.Opens.Load())
		}
		for text, want := range map[string]int{"": 4, "line lost": 1, "no such device": 1, "in use": 1, "line is up": 1, "down_for=6.5s": 1} {
			if got := log.lines(text); len(got) != want {
				t.Errorf("%d lines with %q, want %d: %q", len(got), text, want, got)
			}
		}
	})
}

// A port that opens and fails at once, such as a device server to which
// somebody else is connected, is neither tried nor reported without pause.
func TestPortThatDoesNotHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, log := pipes(), new(logBuffer)
		var healed atomic.Bool
		o.pair = func() (near, far drivers.Port) {
			near, far = net.Pipe()
			if !healed.Load() {
				_ = far.Close()
			}
			return near, far
		}
		line := drivers.NewLine(lineConfig(t, o, new(echo), log))
		r := run(t, line)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := len(o.attempts()); n < 100 || n > 150 {
			t.Errorf("%d attempts in 10 minutes", n)
		}
		if all := log.lines(""); len(all) != 4 || len(log.lines("line does not hold")) != 1 {
			t.Errorf("it logs %q", all)
		}
		healed.Store(true)
		for len(o.ends) > 0 {
			<-o.ends
		}
		far := <-o.ends
		for range 12 { // a gate that beats
			time.Sleep(time.Second)
			ask(t, far)
		}
		if got := log.lines("line holds again"); len(got) != 1 {
			t.Errorf("it logs %q", got)
		}
		begin := time.Now()
		_ = far.Close()
		ask(t, <-o.ends)
		if d := time.Since(begin); d != 0 || len(log.lines("line lost")) != 2 {
			t.Errorf("after it held, a loss is mended in %v and logged as %q", d, log.lines(""))
		}
		r.stop()
	})
}

// A port that takes no bytes is given up and opened again.
func TestWriteLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, log := pipes(), new(logBuffer)
		cfg := lineConfig(t, o, new(echo), log)
		r := run(t, drivers.NewLine(cfg))
		far := <-o.ends
		begin := time.Now()
		if _, err := far.Write([]byte("?")); err != nil {
			t.Fatal(err)
		}
		ask(t, <-o.ends) // the first far end never reads
		if d := time.Since(begin); d != 2*time.Second {
			t.Errorf("opened again after %v", d)
		}
		if lines := log.lines("line lost"); len(lines) != 1 || !strings.Contains(lines[0], "timeout") {
			t.Errorf("logged %q", lines)
		}
		r.stop()
		if _, answered := cfg.Station.(*desk).counts(); answered != 1 {
			t.Errorf("%d answers counted, the first was never taken", answered)
		}
	})
}

func TestIdleLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, log := pipes(), new(logBuffer)
		cfg := lineConfig(t, o, new(echo), log)
		cfg.IdleLimit = drivers.TCPIdleLimit
		line := drivers.NewLine(cfg)
		r := run(t, line)
		far := <-o.ends
		for range 20 {
			time.Sleep(cfg.IdleLimit - time.Second)
			ask(t, far) // not idle
		}
		begin := time.Now()
		next := <-o.ends
		if d := time.Since(begin); d != cfg.IdleLimit {
			t.Errorf("connected anew after %v of silence", d)
		}
		ask(t, next)
		for range 100 { // silent for good
			time.Sleep(cfg.IdleLimit)
		}
		synctest.Wait()
		if all := log.lines(""); len(all) != 4 || len(log.lines("nothing heard for 5s")) != 2 {
			t.Errorf("it logs %q", all)
		}
		r.stop()
	})
}

// A session is woken when it wants to be, with bytes in between and without.
func TestWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, e, log := pipes(), &echo{wakeEvery: 70 * time.Millisecond}, new(logBuffer)
		r := run(t, drivers.NewLine(lineConfig(t, o, e, log)))
		far := <-o.ends
		begin := time.Now()
		expect(t, far, 'w')
		if d := time.Since(begin); d != e.wakeEvery {
			t.Errorf("woken after %v", d)
		}
		time.Sleep(30 * time.Millisecond)
		ask(t, far)
		expect(t, far, 'w')
		if d := time.Since(begin); d != 2*e.wakeEvery {
			t.Errorf("woken a second time after %v", d)
		}
		r.stop()
	})
}

// A session that never stops sending does not keep the line from reading.
func TestChatter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, e := pipes(), &echo{chatter: true, wakeEvery: time.Second}
		r := run(t, drivers.NewLine(lineConfig(t, o, e, new(logBuffer))))
		far := <-o.ends
		drained := make(chan struct{})
		answer := make(chan struct{}, 1)
		go func() {
			defer close(drained)
			var b [1]byte
			for {
				if _, err := far.Read(b[:]); err != nil {
					return
				}
				if b[0] == '!' {
					answer <- struct{}{}
				}
			}
		}()
		if _, err := far.Write([]byte("?")); err != nil {
			t.Fatal(err)
		}
		<-answer
		r.stop()
		<-drained
	})
}

// A line that hangs in a write delays no other.
func TestDeadLineDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(logBuffer)
		dead, alive := pipes(), pipes()
		stuck, well := run(t, drivers.NewLine(lineConfig(t, dead, new(echo), log))), run(t, drivers.NewLine(lineConfig(t, alive, new(echo), log)))
		if _, err := (<-dead.ends).Write([]byte("?")); err != nil { // nobody reads the answer
			t.Fatal(err)
		}
		synctest.Wait()
		begin, far := time.Now(), <-alive.ends
		for range 100 {
			ask(t, far)
		}
		if d := time.Since(begin); d != 0 {
			t.Errorf("the other line waited %v", d)
		}
		stuck.stop()
		well.stop()
	})
}

// However a line stands, the end of its context ends Run.
func TestCancel(t *testing.T) {
	for name, c := range map[string]struct {
		fail func(int) error
		do   func(far net.Conn)
	}{
		"while it reads":       {},
		"while it cannot open": {fail: func(int) error { return errors.New("no such device") }},
		"while it writes":      {do: func(far net.Conn) { _, _ = far.Write([]byte("?")) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, log := pipes(), new(logBuffer)
				o.fail = c.fail
				r := run(t, drivers.NewLine(lineConfig(t, o, new(echo), log)))
				time.Sleep(time.Second)
				if c.do != nil {
					c.do((<-o.ends).(net.Conn))
				}
				synctest.Wait()
				begin := time.Now()
				r.stop()
				if d := time.Since(begin); d != 0 {
					t.Errorf("it took %v", d)
				}
				if got := log.lines("line lost"); len(got) != 0 {
					t.Errorf("stopping is logged as a loss: %q", got)
				}
			})
		})
	}
	o, log := pipes(), new(logBuffer)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	line := drivers.NewLine(lineConfig(t, o, new(echo), log))
	if err := line.Run(ctx); !errors.Is(err, context.Canceled) || len(o.attempts()) != 0 {
		t.Errorf("run with an ended context: %v, %d attempts", err, len(o.attempts()))
	}
}

// Close may come at any moment: Run opens the port again and goes on.
func TestCloseWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := pipes()
		var line *drivers.Line
		clock := 0
		cfg := lineConfig(t, o, new(echo), new(logBuffer))
		cfg.Now = func() time.Time {
			if clock++; clock == 1 { // between two steps of Run
				if err := line.Close(); err != nil {
					t.Error(err)
				}
			}
			return time.Now()
		}
		line = drivers.NewLine(cfg)
		if err := line.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := run(t, line)
		<-o.ends
		ask(t, <-o.ends)
		if err := errors.Join(line.Close(), line.Close()); err != nil { // while it reads
			t.Error(err)
		}
		ask(t, <-o.ends)
		r.stop()
	})
}

func TestOpenNamesTheLine(t *testing.T) {
	o := pipes()
	o.fail = func(int) error { return errors.New("plug it in") }
	line := drivers.NewLine(lineConfig(t, o, new(echo), new(logBuffer)))
	if err := line.Open(t.Context()); err == nil || err.Error() != `line "north": plug it in` || line.Up() {
		t.Errorf("got %v", err)
	}
	if err := line.Close(); err != nil {
		t.Error(err)
	}
}

func TestGateTable(t *testing.T) {
	a, b := &drivers.Gate{Name: "A", Address: 1}, &drivers.Gate{Name: "B", Address: 255}
	table, err := drivers.NewGateTable(a, b)
	if err != nil || table.At(1) != a || table.At(255) != b || table.At(2) != nil || !slices.Equal(table.All(), []*drivers.Gate{a, b}) {
		t.Errorf("got %v, %v", table, err)
	}
	if _, err := drivers.NewGateTable(a, b, &drivers.Gate{Name: "C", Address: 1}); err == nil || !strings.Contains(err.Error(), `"A" and "C"`) || !strings.Contains(err.Error(), "address 1") {
		t.Errorf("an address used twice: %v", err)
	}
	if !a.Heard().IsZero() {
		t.Error("a gate that never spoke was heard")
	}
	if now := time.Now(); true {
		a.MarkHeard(now, drivers.GateServing)
		if !a.Heard().Equal(now) {
			t.Errorf("heard at %v, not %v", a.Heard(), now)
		}
	}
}

func TestCounterKinds(t *testing.T) {
	var c drivers.Counters
	c.Noise.Add(1)
	c.Malformed.Add(2)
	c.UnknownGate.Add(3)
	c.Unproven.Add(4)
	c.Replayed.Add(5)
	c.Late.Add(6)
	c.PortErrors.Add(7)
	var got []string
	c.Errors(func(kind string, n uint64) { got = append(got, fmt.Sprint(kind, n)) })
	if want := []string{"noise1", "malformed2", "unknown_gate3", "unproven4", "replayed5", "late6", "port7"}; !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}
