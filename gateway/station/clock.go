package station

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of a clock that is trusted (IMP-17).
const (
	syncLimit  = 24 * time.Hour
	stepLimit  = 2 * time.Second
	backLimit  = time.Hour
	clockEvery = time.Second
)

// ClockState says whether the box's clock may be believed, and how far.
type ClockState struct {
	Trusted bool
	// Drift bounds the clock's error either way.
	Drift time.Duration
	// Why says why it is not trusted; empty where it is.
	Why string
}

// Why a clock is not trusted.
const (
	whyBuilt    = "it is earlier than this program was built"
	whyBehind   = "it is more than an hour behind the centre's last message"
	whyUnsynced = "it is not synchronised, or stepped since it was"
	whyLongAgo  = "it was last synchronised more than 24 hours ago"
)

// kernelClock is what the kernel says of its clock.
type kernelClock struct {
	synced   bool
	maxError time.Duration
}

// readKernelClock asks adjtimex(2).
func readKernelClock() (kernelClock, error) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return kernelClock{}, err
	}
	return kernelClock{
		synced:   state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0,
		maxError: time.Duration(t.Maxerror) * time.Microsecond,
	}, nil
}

// clockWatch judges a clock from what is seen of it. It is pure: wall is the
// clock in question, steady a clock that never steps, from any origin.
type clockWatch struct {
	requireSync bool
	floor       time.Time // it cannot be earlier: when this program was built

	seen       bool
	wall       time.Time
	steady     time.Duration
	synced     bool // it was synchronised once, and has not stepped since
	lastSynced time.Duration
}

// observe returns the state at wall. watermark is the centre's time in the
// last entry applied, zero without one.
func (w *clockWatch) observe(wall time.Time, steady time.Duration, k kernelClock, watermark time.Time) ClockState {
	wall = wall.Round(0) // compare wall clocks, not the monotonic readings
	if w.seen {
		if step := wall.Sub(w.wall) - (steady - w.steady); step > stepLimit || step < -stepLimit {
			w.synced = false
		}
	}
	w.seen, w.wall, w.steady = true, wall, steady
	if k.synced {
		w.synced, w.lastSynced = true, steady
	}
	switch {
	case wall.Before(w.floor):
		return ClockState{Why: whyBuilt}
	case !watermark.IsZero() && wall.Before(watermark.Add(-backLimit)):
		return ClockState{Why: whyBehind}
	case !w.requireSync:
		return ClockState{Trusted: true}
	case !w.synced:
		return ClockState{Why: whyUnsynced}
	case steady-w.lastSynced >= syncLimit:
		return ClockState{Why: whyLongAgo}
	}
	return ClockState{Trusted: true, Drift: k.maxError}
}

// clock is the box's clock with its state, kept up to date by run.
type clock struct {
	now       func() time.Time
	kernel    func() (kernelClock, error)
	watermark func() time.Time
	log       *slog.Logger

	watch clockWatch
	start time.Time
	state atomic.Pointer[ClockState]
}

func newClock(now func() time.Time, kernel func() (kernelClock, error), watermark func() time.Time, requireSync bool, log *slog.Logger) *clock {
	c := &clock{now: now, kernel: kernel, watermark: watermark, log: log, start: time.Now(),
		watch: clockWatch{requireSync: requireSync, floor: builtAt()}}
	c.check()
	return c
}

// builtAt is the time of the commit this program was built from, the zero Time
// where that is not known.
func builtAt() time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return time.Time{}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			t, _ := time.Parse(time.RFC3339, s.Value)
			return t
		}
	}
	return time.Time{}
}

// check looks at the clock once and logs when its state changes.
func (c *clock) check() {
	k, err := c.kernel()
	if err != nil {
		k = kernelClock{} // a clock that cannot be asked about is not synchronised
	}
	next := c.watch.observe(c.now(), time.Since(c.start), k, c.watermark())
	last := c.state.Swap(&next)
	switch {
	case last != nil && last.Why == next.Why:
	case !next.Trusted:
		c.log.Error("clock not trusted, riders go to the manual lane (R23): check chrony or systemd-timesyncd, then timedatectl", "why", next.Why)
	case last != nil:
		c.log.Info("clock is trusted again")
	}
}

// run checks the clock every second until ctx is done.
func (c *clock) run(ctx context.Context) error {
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			c.check()
		}
	}
}
