package drivers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"gateline/internal/pause"
)

// Port is an open serial device or a connection to one.
type Port interface {
	io.ReadWriteCloser
	// SetReadDeadline and SetWriteDeadline are those of net.Conn: a call that
	// runs into one fails with an error that is os.ErrDeadlineExceeded.
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// Bounds of a line.
const (
	// writeLimit is how long a port may take for what a session sends; a port
	// that is slower is reopened.
	writeLimit = 2 * time.Second
	// readSize is the size of a line's only buffer, bytes.
	readSize = 512
	// reopenFirst and reopenMost bound the pause before a lost port is tried
	// again; it doubles between them. An adapter that is plugged in again is to
	// serve within two seconds. retryMost is the bound for a port that opens and
	// does not hold.
	reopenFirst = 100 * time.Millisecond
	reopenMost  = time.Second
	retryMost   = 5 * time.Second
	// steadyAfter is how long a port must have held for its next loss to be a
	// new one: tried again at once and reported. A port that opens and fails
	// sooner, as that of a device server somebody else is connected to, is
	// tried with a growing pause and reported once. It is longer than
	// TCPIdleLimit, so that a gate without power is no new loss each time.
	steadyAfter = 10 * time.Second
	// shortWake is what a read deadline is too coarse for: the runtime's timers
	// are good to a millisecond.
	shortWake = 2 * time.Millisecond
	// leaveLimit is how long a session's last words may take.
	leaveLimit     = 2 * time.Second
	maxLeaveRounds = 4096
	// maxRounds bounds how often a session may ask for another Step before the
	// line reads again.
	maxRounds = 64
)

// LineConfig is what a Line needs. All fields but IdleLimit are required.
type LineConfig struct {
	// Name stands in logs and metrics.
	Name string
	// Open opens the port. Its error names the port and the next step.
	Open func(context.Context) (Port, error)
	// Session is the protocol; the line owns it from now on.
	Session  Session
	Gates    *GateTable
	Counters *Counters
	Station  Station
	Log      *slog.Logger
	Now      func() time.Time
	// Jitter spreads reopening; it returns a number in [0, 1).
	Jitter func() float64
	// IdleLimit is how long the port may stay silent before it is reopened;
	// zero = for ever. A TCP connection needs one, because it can be dead
	// without a sign; a serial device does not.
	IdleLimit time.Duration
}

// Line owns one port: it reads, steps the session, asks the station, writes,
// and reopens the port when it is lost.
type Line struct {
	cfg LineConfig
	up  atomic.Bool
	// ending: the line is to end, so that nothing is waited for any more.
	ending atomic.Bool
	buf    [readSize]byte

	// What Run remembers of the port's losses: how many came in a row, none of
	// them after steadyAfter, the pause before the next attempt to open, and
	// why the last one failed.
	losses int
	pause  time.Duration
	cause  string

	timer *pause.Timer // for short waits; nil until one is needed
	// tapped is when the read returned that completed taps whose answers are not
	// written yet; zero = there are none.
	tapped time.Time

	mu   sync.Mutex // guards port between Open, Run and Close
	port Port
}

// NewLine returns a line whose port is not open yet.
func NewLine(cfg LineConfig) *Line {
	if cfg.Jitter == nil {
		cfg.Jitter = rand.Float64
	}
	return &Line{cfg: cfg}
}

// Name returns the line's name.
func (l *Line) Name() string { return l.cfg.Name }

// Gates returns the gates on the line.
func (l *Line) Gates() *GateTable { return l.cfg.Gates }

// Counters returns what was counted on the line.
func (l *Line) Counters() *Counters { return l.cfg.Counters }

// Up reports whether the port is open.
func (l *Line) Up() bool { return l.up.Load() }

// Open tries once to open the port. Run goes on trying where it failed.
func (l *Line) Open(ctx context.Context) error {
	port, err := l.cfg.Open(ctx)
	if err != nil {
		return fmt.Errorf("line %q: %w", l.cfg.Name, err)
	}
	l.mu.Lock()
	l.port = port
	l.mu.Unlock()
	l.cfg.Counters.Opens.Add(1)
	l.up.Store(true)
	return nil
}

// Run serves the line until ctx is done. It does not return because of the
// port: a port that fails is closed and opened again, with a growing pause, for
// as long as it takes.
func (l *Line) Run(ctx context.Context) error {
	defer func() {
		_ = l.Close() // the line ends; nobody is left to serve
		if l.timer != nil {
			_ = l.timer.Close()
		}
	}()
	for ctx.Err() == nil {
		if l.Up() {
			opened := l.cfg.Now()
			err := l.pump(ctx)
			if ctx.Err() != nil {
				break
			}
			l.lost(opened, err)
		}
		l.reopen(ctx)
	}
	return ctx.Err()
}

// lost closes a port that failed and reports it.
func (l *Line) lost(opened time.Time, err error) {
	l.cfg.Counters.PortErrors.Add(1)
	_ = l.Close() // the port is lost already; its own error says why
	if l.cfg.Now().Sub(opened) >= steadyAfter {
		l.losses, l.cause = 0, ""
	}
	switch l.losses++; l.losses {
	case 1:
		l.pause = 0
		l.cfg.Log.Error("line lost; its gates show the manual lane until it is back: check cable, power and adapter",
			"line", l.cfg.Name, "error", err)
	case 2:
		l.cfg.Log.Error("line does not hold: its port opens and fails soon after, again and again; check that nothing else uses the port, then cable, power and adapter",
			"line", l.cfg.Name, "error", err)
	}
}

// steady notes once that a port opened again has held.
func (l *Line) steady(opened, now time.Time) {
	if l.losses == 0 || now.Sub(opened) < steadyAfter {
		return
	}
	if l.losses > 1 {
		l.cfg.Log.Info("line holds again", "line", l.cfg.Name)
	}
	l.losses, l.pause, l.cause = 0, 0, ""
}

// Close closes the port. It frees a Read that is waiting. Run may still be
// running; it then tries to open the port again.
func (l *Line) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up.Store(false)
	if l.port == nil {
		return nil
	}
	err := l.port.Close()
	l.port = nil
	return err
}

// reopen returns once the port is open or ctx is done.
func (l *Line) reopen(ctx context.Context) {
	for lost := l.cfg.Now(); l.rest(ctx); {
		err := l.Open(ctx)
		if err == nil {
			l.cfg.Session.Reset()
			l.tapped = time.Time{}
			if l.losses < 2 { // else nothing says that it holds this time
				l.cfg.Log.Info("line is up", "line", l.cfg.Name, "down_for", l.cfg.Now().Sub(lost).Round(time.Millisecond).String())
			}
			return
		}
		if ctx.Err() != nil {
			return
		}
		if err.Error() != l.cause { // one line per cause, not per attempt
			l.cause = err.Error()
			l.cfg.Log.Warn("line cannot be opened, trying again", "line", l.cfg.Name, "error", err)
		}
	}
}

// rest pauses before an attempt to open the port and lets the next pause grow.
// It reports false where ctx is done.
func (l *Line) rest(ctx context.Context) bool {
	if l.pause > 0 {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(time.Duration(float64(l.pause) * (0.8 + 0.4*l.cfg.Jitter()))):
		}
	}
	most := reopenMost
	if l.losses > 1 {
		most = retryMost
	}
	l.pause = min(max(2*l.pause, reopenFirst), most)
	return true
}

// pump serves the open port until it fails or ctx is done.
func (l *Line) pump(ctx context.Context) (err error) {
	l.mu.Lock()
	port := l.port
	l.mu.Unlock()
	if port == nil {
		return os.ErrClosed // Close came in between
	}
	// At the end a Read or Write that waits is freed. One that begins just then
	// has set its deadline before it looks whether this is the end.
	freed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(freed)
		l.ending.Store(true)
		_ = port.SetReadDeadline(time.Unix(1, 0)) // long ago; a port that fails is closed next
		_ = port.SetWriteDeadline(time.Unix(1, 0))
	})
	defer func() {
		if !stop() {
			<-freed
			l.ending.Store(false)
			if errors.Is(err, ctx.Err()) { // and not because the port failed
				l.leave(port)
			}
			_ = l.Close()
		}
	}()

	opened := l.cfg.Now()
	heard := opened
	var wake time.Time
	wake, err = l.serve(port, heard, nil)
	for err == nil {
		var n int
		l.steady(opened, heard)
		if err = port.SetReadDeadline(l.deadline(l.earlier(wake, heard))); err != nil {
			break
		}
		if err = ctx.Err(); err != nil {
			break
		}
		n, err = port.Read(l.buf[:])
		now := l.cfg.Now()
		if n > 0 {
			heard = now
			l.cfg.Counters.BytesIn.Add(uint64(n))
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if err = nil; l.cfg.IdleLimit != 0 && now.Sub(heard) >= l.cfg.IdleLimit {
				err = fmt.Errorf("nothing heard for %v", l.cfg.IdleLimit)
			}
		}
		if n > 0 || err == nil {
			var stepErr error
			wake, stepErr = l.serve(port, now, l.buf[:n])
			err = errors.Join(err, stepErr)
		}
	}
	return err
}

// leave lets a session that has last words say them on a port that works.
func (l *Line) leave(port Port) {
	session, ok := l.cfg.Session.(Leaver)
	if !ok || !l.Up() {
		return
	}
	now := l.cfg.Now()
	session.Leave(now)
	end := now.Add(leaveLimit)
	var in []byte
	for rounds := 0; now.Before(end) && rounds < maxLeaveRounds; rounds++ {
		out := l.cfg.Session.Step(now, in)
		in = nil
		if len(out.Send) > 0 {
			if l.write(port, out.Send) != nil {
				return
			}
			continue
		}
		if out.Wake.IsZero() && len(out.Taps) == 0 {
			return
		}
		if port.SetReadDeadline(l.deadline(out.Wake)) != nil {
			return
		}
		n, err := port.Read(l.buf[:])
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		in, now = l.buf[:n], l.cfg.Now()
	}
}

// deadline turns an instant of the box's clock into one of the machine's, by
// which ports go: the two differ where a test or a simulation gives the box a
// clock of its own.
func (l *Line) deadline(at time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	return time.Now().Add(at.Sub(l.cfg.Now()))
}

// earlier returns the read deadline: the session's wake or the idle limit.
func (l *Line) earlier(wake, heard time.Time) time.Time {
	if l.cfg.IdleLimit == 0 {
		return wake
	}
	if idle := heard.Add(l.cfg.IdleLimit); wake.IsZero() || idle.Before(wake) {
		return idle
	}
	return wake
}

// serve steps the session with what arrived until it has nothing more to ask
// or to send, and returns when it wants to be woken.
func (l *Line) serve(port Port, now time.Time, in []byte) (wake time.Time, err error) {
	for _, g := range l.cfg.Gates.All() {
		l.cfg.Session.Show(g.Address, l.cfg.Station.Lane(now, g.Address))
	}
	for range maxRounds {
		out := l.cfg.Session.Step(now, in)
		in = nil
		for _, tap := range out.Taps {
			l.cfg.Session.Answer(now, tap, l.cfg.Station.Decide(now, tap))
		}
		if len(out.Taps) > 0 && l.tapped.IsZero() {
			l.tapped = now
		}
		if len(out.Send) > 0 {
			handed := l.cfg.Now()
			if err := l.write(port, out.Send); err != nil {
				return out.Wake, err
			}
			if !l.tapped.IsZero() {
				l.cfg.Station.Answered(handed.Sub(l.tapped), l.cfg.Now().Sub(l.tapped))
				l.tapped = time.Time{}
			}
		}
		wake = out.Wake
		if len(out.Taps) > 0 || len(out.Send) > 0 {
			continue
		}
		if short := wake.Sub(l.cfg.Now()); wake.IsZero() || short > shortWake {
			return wake, nil
		} else if short > 0 {
			if err := l.hold(short); err != nil {
				return wake, err
			}
		}
		now = l.cfg.Now()
	}
	return wake, nil
}

// hold waits out the gap between two senders on a line. Nobody speaks in it, so
// nothing is read meanwhile.
func (l *Line) hold(d time.Duration) (err error) {
	if l.timer == nil {
		if l.timer, err = pause.New(); err != nil {
			return err
		}
	}
	return l.timer.Until(time.Now().Add(d))
}

func (l *Line) write(port Port, b []byte) error {
	if err := port.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
		return err
	}
	if l.ending.Load() {
		return os.ErrDeadlineExceeded
	}
	n, err := port.Write(b)
	l.cfg.Counters.BytesOut.Add(uint64(n))
	return err
}
