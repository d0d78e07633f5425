package station

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
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

	watch  clockWatch
	steady func() time.Duration // a clock that never steps, since the machine started
	state  atomic.Pointer[ClockState]

	store   localStore // where the last synchronisation is noted; nil = nowhere
	boot    string
	notedAt time.Duration
}

// sinceBoot reads CLOCK_BOOTTIME.
func sinceBoot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("station: no CLOCK_BOOTTIME: " + err.Error()) // Linux has it since 2.6.39
	}
	return time.Duration(ts.Nano())
}

func newClock(now func() time.Time, kernel func() (kernelClock, error), watermark func() time.Time, watch clockWatch, log *slog.Logger) *clock {
	c := &clock{now: now, kernel: kernel, watermark: watermark, log: log, steady: sinceBoot, watch: watch}
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
		// A clock that cannot be asked about is not synchronised, and as far off
		// as the kernel ever says.
		k = kernelClock{maxError: 16 * time.Second}
	}
	next := c.watch.observe(c.now(), c.steady(), k, c.watermark())
	last := c.state.Swap(&next)
	switch {
	case last != nil && last.Why == next.Why:
	case !next.Trusted:
		c.log.Error("clock not trusted, riders go to the manual lane (R23): check chrony or systemd-timesyncd, then timedatectl", "why", next.Why)
	case last != nil:
		c.log.Info("clock is trusted again")
	}
}

// clockNote is what a box remembers of its clock while it is not running, so
// that a restart without the network does not lose a good clock.
type clockNote struct {
	Boot   string        `json:"boot"`   // it counts for this boot of the machine only
	Synced time.Duration `json:"synced"` // last seen synchronised, since the boot
	Offset int64         `json:"offset"` // of the wall clock to the steady one, nanoseconds
}

const (
	clockNoteName = "clock"
	// noteEvery spaces the writing of notes.
	noteEvery = 10 * time.Minute
)

// remember takes up the note of the box's last run, if the machine has not been
// started again since and the clock has not stepped, and keeps notes in store.
func (c *clock) remember(store localStore) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return // without it a note could be another boot's
	}
	c.store, c.boot = store, string(bytes.TrimSpace(boot))
	raw, err := store.LoadLocal(clockNoteName)
	var note clockNote
	if err != nil || raw == nil || json.Unmarshal(raw, &note) != nil || note.Boot != c.boot || c.watch.synced {
		return // no note that counts: the clock has to be seen synchronised
	}
	if step := time.Duration(c.offset() - note.Offset); step > stepLimit || step < -stepLimit {
		return
	}
	c.watch.synced, c.watch.lastSynced = true, note.Synced
	c.check()
}

func (c *clock) offset() int64 { return c.now().UnixNano() - int64(c.steady()) }

// note writes down that the clock was seen synchronised.
func (c *clock) note() {
	if c.store == nil || !c.watch.synced || c.watch.lastSynced-c.notedAt < noteEvery && c.notedAt != 0 {
		return
	}
	c.notedAt = c.watch.lastSynced
	raw, err := json.Marshal(clockNote{Boot: c.boot, Synced: c.watch.lastSynced, Offset: c.offset()})
	if err == nil {
		err = c.store.SaveLocal(clockNoteName, raw)
	}
	if err != nil {
		c.log.Warn("the clock's last synchronisation could not be noted; after a restart it has to be seen again", "error", err)
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
			c.note()
		}
	}
}
