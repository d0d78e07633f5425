package station

import (
	"log/slog"
	"testing"
	"time"
)

func TestClockWatch(t *testing.T) {
	built := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	type look struct {
		wall      time.Duration // after noon
		steady    time.Duration
		synced    bool
		watermark time.Duration // after noon
		trusted   bool
	}
	const none = -1000 * time.Hour
	for name, c := range map[string]struct {
		looks []look
		free  bool // synchronisation is not required
	}{
		"synchronised":                    {looks: []look{{0, 0, true, none, true}, {time.Second, time.Second, true, none, true}}},
		"never synchronised":              {looks: []look{{0, 0, false, none, false}}},
		"never synchronised, not needed":  {looks: []look{{0, 0, false, none, true}}, free: true},
		"lost it for less than a day":     {looks: []look{{0, 0, true, none, true}, {24*time.Hour - 1, 24*time.Hour - 1, false, none, true}}},
		"lost it for a day":               {looks: []look{{0, 0, true, none, true}, {24 * time.Hour, 24 * time.Hour, false, none, false}}},
		"found it again":                  {looks: []look{{0, 0, true, none, true}, {25 * time.Hour, 25 * time.Hour, false, none, false}, {25 * time.Hour, 25 * time.Hour, true, none, true}}},
		"stepped a day forward":           {looks: []look{{0, 0, true, none, true}, {24 * time.Hour, time.Second, false, none, false}}},
		"stepped a day back":              {looks: []look{{0, 0, true, none, true}, {-24 * time.Hour, time.Second, false, none, false}}},
		"stepped 8 hours, UTC for local":  {looks: []look{{0, 0, true, none, true}, {-8 * time.Hour, time.Second, false, none, false}}},
		"stepped and synchronised since":  {looks: []look{{0, 0, true, none, true}, {time.Hour, time.Second, false, none, false}, {time.Hour, 2 * time.Second, true, none, true}}},
		"a leap second":                   {looks: []look{{0, 0, true, none, true}, {0, time.Second, false, none, true}}},
		"an hour behind the centre":       {looks: []look{{0, 0, true, time.Hour, true}}},
		"more than an hour behind":        {looks: []look{{0, 0, true, time.Hour + 1, false}}},
		"behind, sync not needed":         {looks: []look{{0, 0, false, 2 * time.Hour, false}}, free: true},
		"before the program was built":    {looks: []look{{-10000 * time.Hour, 0, true, none, false}}},
		"a year from the epoch, not free": {looks: []look{{-56 * 365 * 24 * time.Hour, 0, true, none, false}}, free: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := clockWatch{requireSync: !c.free, floor: built}
			for i, l := range c.looks {
				var watermark time.Time
				if l.watermark != none {
					watermark = noon.Add(l.watermark)
				}
				got := w.observe(noon.Add(l.wall), l.steady, kernelClock{synced: l.synced, maxError: 3 * time.Millisecond}, watermark)
				if got.Trusted != l.trusted || got.Trusted != (got.Why == "") {
					t.Errorf("look %d: %+v", i+1, got)
				}
				if wantDrift := l.trusted && !c.free; (got.Drift != 0) != wantDrift {
					t.Errorf("look %d: drift %v", i+1, got.Drift)
				}
			}
		})
	}
}

// A box that is restarted without the network trusts a clock that was good a
// few hours ago, unless the machine was started again or the clock has stepped.
func TestClockIsRemembered(t *testing.T) {
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		wall, steady time.Duration // passed until the restart
		boot         bool          // the machine was started again
		trusted      bool
	}{
		"an hour later":            {time.Hour, time.Hour, false, true},
		"a day later":              {24 * time.Hour, 24 * time.Hour, false, false},
		"stepped meanwhile":        {26 * time.Hour, time.Hour, false, false},
		"stepped back meanwhile":   {-time.Hour, time.Hour, false, false},
		"the machine was started":  {time.Hour, time.Minute, true, false},
		"restarted at once":        {time.Second, time.Second, false, true},
		"a little drift meanwhile": {time.Hour + time.Second, time.Hour, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			store := &fakeStore{saved: map[string][]byte{}}
			synced := true
			open := func(wall time.Time, steady time.Duration) *clock {
				c := newClock(func() time.Time { return wall }, func() (kernelClock, error) { return kernelClock{synced: synced}, nil },
					func() time.Time { return time.Time{} }, clockWatch{requireSync: true}, slog.New(slog.DiscardHandler))
				c.steady = func() time.Duration { return steady }
				c.watch = clockWatch{requireSync: true}
				c.check()
				c.remember(store)
				return c
			}
			open(noon, 100*time.Hour).note()
			if c.boot {
				store.saved[clockNoteName] = []byte(`{"boot":"another","synced":1,"offset":1}`)
			}
			synced = false
			if got := open(noon.Add(c.wall), 100*time.Hour+c.steady).state.Load(); got.Trusted != c.trusted {
				t.Errorf("%+v", got)
			}
		})
	}
}
