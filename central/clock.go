package central

import (
	"errors"
	"fmt"
	"time"
)

// ErrClock is wrapped where the centre's clock is not believed. Its time goes
// into every entry and from there to every box, where it cannot be taken back:
// boxes would distrust their own clocks until real time has caught up.
var ErrClock = errors.New("the centre's clock is not believed")

const (
	// maxJump is how far the clock may run ahead of a steady one between two
	// entries; time synchronisation moves it by less.
	maxJump = time.Minute
	// maxPause is how long a centre may have been off before its clock has to be
	// confirmed.
	maxPause = 30 * 24 * time.Hour
)

// clockGuard watches the clock for jumps ahead. Jumps back do no harm: entries
// then go on a microsecond apart.
type clockGuard struct {
	accepted bool // the clock was confirmed for the first entry
	seen     bool
	wall     time.Time
	steady   time.Duration
}

// check returns an error that wraps ErrClock where the entry after the one of
// lastEntry, Unix microseconds, must not carry wall. steady is the reading of a
// clock that never steps, from any origin.
func (g *clockGuard) check(wall time.Time, steady time.Duration, lastEntry int64) error {
	first, ahead := !g.seen, wall.Sub(g.wall)-(steady-g.steady)
	g.seen, g.wall, g.steady = true, wall, steady
	if first {
		if pause := wall.Sub(time.UnixMicro(lastEntry)); lastEntry > 0 && pause > maxPause && !g.accepted {
			return fmt.Errorf("%w: it is %d days after the last entry; see that it is right, then start the centre once with --accept-clock", ErrClock, int(pause.Hours()/24))
		}
		return nil
	}
	if ahead > maxJump {
		return fmt.Errorf("%w: it jumped %v ahead; mend its synchronisation, then start the centre again", ErrClock, ahead.Round(time.Second))
	}
	return nil
}
