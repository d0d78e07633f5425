package central

import (
	"errors"
	"testing"
	"time"
)

func TestClockGuard(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		last     time.Duration // of the last entry, before now; 0 = none
		accepted bool
		wall     time.Duration // of the second entry, after the first
		steady   time.Duration
		first    bool // the first is refused
		second   bool // the second is
	}{
		"first entry ever":            {wall: time.Second, steady: time.Second},
		"after a night":               {last: day / 2, wall: time.Second, steady: time.Second},
		"after two months":            {last: 60 * day, first: true},
		"after two months, confirmed": {last: 60 * day, accepted: true, wall: time.Second, steady: time.Second},
		"behind the last entry":       {last: -time.Hour, wall: time.Second, steady: time.Second},
		"slewed":                      {last: time.Second, wall: time.Second + 50*time.Millisecond, steady: time.Second},
		"set an hour ahead":           {last: time.Second, wall: time.Hour, steady: time.Second, second: true},
		"set 20 years ahead":          {last: time.Second, wall: 20 * 365 * day, steady: time.Second, second: true},
		"set a day back":              {last: time.Second, wall: -day, steady: time.Second},
		"idle for a day":              {last: time.Second, wall: day, steady: day},
	} {
		t.Run(name, func(t *testing.T) {
			g := clockGuard{accepted: c.accepted}
			var last int64
			if c.last != 0 {
				last = now.Add(-c.last).UnixMicro()
			}
			if err := g.check(now, time.Hour, last); errors.Is(err, ErrClock) != c.first {
				t.Fatalf("first entry: %v", err)
			}
			if c.first {
				return
			}
			if err := g.check(now.Add(c.wall), time.Hour+c.steady, last); errors.Is(err, ErrClock) != c.second {
				t.Errorf("second entry: %v", err)
			}
		})
	}
}
