package drivers_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gateline/drivers"
	"gateline/gateway"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what ought to happen at once.
const patience = 30 * time.Second

// logBuffer is a log that tests can read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// lines returns the lines of the log that contain text.
func (l *logBuffer) lines(text string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// echo is a session with the simplest protocol there is: a '?' is a tap, its
// answer is a '!', and each wake sends a 'w'. Everything else is noise.
type echo struct {
	wakeEvery time.Duration // 0 = never
	chatter   bool          // sends something at every step
	wakeAt    time.Time
	resets    int
	half      []byte // what came since the last Reset
	send, out []byte
}

func (e *echo) Step(now time.Time, in []byte) drivers.Output {
	var o drivers.Output
	e.half = append(e.half, in...)
	for _, b := range in {
		if b == '?' {
			o.Taps = append(o.Taps, gateway.Tap{Gate: 1})
		}
	}
	if e.wakeEvery > 0 {
		if e.wakeAt.IsZero() {
			e.wakeAt = now.Add(e.wakeEvery)
		}
		if !now.Before(e.wakeAt) {
			e.send, e.wakeAt = append(e.send, 'w'), now.Add(e.wakeEvery)
		}
		o.Wake = e.wakeAt
	}
	if e.chatter {
		e.send = append(e.send, '.')
	}
	e.out, e.send = e.send, e.out[:0]
	o.Send = e.out
	return o
}

func (e *echo) Answer(time.Time, gateway.Tap, gateway.Answer) { e.send = append(e.send, '!') }
func (e *echo) Show(uint8, gateway.Lane)                      {}
func (e *echo) Reset()                                        { e.resets++; e.half = e.half[:0] }

// desk passes everybody and counts.
type desk struct {
	mu       sync.Mutex
	taps     []gateway.Tap
	answered int
}

func (d *desk) Decide(_ time.Time, tap gateway.Tap) gateway.Answer {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.taps = append(d.taps, tap)
	return gateway.Answer{Verdict: gateway.VerdictPass, Open: true, TTL: gateway.DefaultVerdictTTL}
}

func (d *desk) Lane(time.Time, uint8) gateway.Lane { return gateway.LaneAuto }

func (d *desk) Answered(handed, written time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if handed >= 0 && written >= handed {
		d.answered++
	}
}

func (d *desk) counts() (taps, answered int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.taps), d.answered
}

// opener is an Open function that fails as it is told and otherwise hands out
// one end of a pipe; the far ends come out of ends.
type opener struct {
	mu   sync.Mutex
	at   []time.Time
	fail func(attempt int) error // nil = never
	ends chan drivers.Port
	pair func() (near, far drivers.Port)
}

func (o *opener) open(context.Context) (drivers.Port, error) {
	o.mu.Lock()
	o.at = append(o.at, time.Now())
	attempt := len(o.at)
	o.mu.Unlock()
	if o.fail != nil {
		if err := o.fail(attempt); err != nil {
			return nil, err
		}
	}
	near, far := o.pair()
	o.ends <- far
	return near, nil
}

func (o *opener) attempts() []time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.at
}

// lineConfig is a line on which one gate speaks echo.
func lineConfig(t *testing.T, o *opener, e *echo, log *logBuffer) drivers.LineConfig {
	t.Helper()
	table, err := drivers.NewGateTable(&drivers.Gate{Name: "N1", Address: 1})
	if err != nil {
		t.Fatal(err)
	}
	return drivers.LineConfig{
		Name: "north", Open: o.open, Session: e, Gates: table, Counters: new(drivers.Counters), Station: new(desk),
		Log: log.logger(), Now: time.Now, Jitter: func() float64 { return 0.5 },
	}
}

// running runs a line; stop ends it and checks how it ended.
type running struct {
	t      *testing.T
	line   *drivers.Line
	cancel context.CancelFunc
	ended  chan error
}

func run(t *testing.T, line *drivers.Line) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, line: line, cancel: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- line.Run(ctx) }()
	return r
}

func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	select {
	case err := <-r.ended:
		if !errors.Is(err, context.Canceled) {
			r.t.Errorf("Run returned %v", err)
		}
	case <-time.After(patience):
		r.t.Fatal("Run does not return")
	}
	if r.line.Up() {
		r.t.Error("the line is up after Run")
	}
}

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

// ask sends a tap and waits for its answer.
func ask(t *testing.T, far io.ReadWriter) {
	t.Helper()
	if _, err := far.Write([]byte("?")); err != nil {
		t.Fatal(err)
	}
	expect(t, far, '!')
}

// expect reads up to and including want.
func expect(t *testing.T, far io.Reader, want byte) {
	t.Helper()
	var b [1]byte
	for b[0] != want {
		if _, err := far.Read(b[:]); err != nil {
			t.Fatalf("waiting for %q: %v", want, err)
		}
	}
}
