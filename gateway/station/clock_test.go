package station

import (
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
