package station

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"gateline/drivers"
)

const (
	// watchEvery is how often the gates are looked at for the log.
	watchEvery = time.Second
	// tellEvery is the least time between two lines of the log about one gate: a
	// reader with a loose contact must not drown the rest.
	tellEvery = 10 * time.Second
	// settle is how long a gate may take to start, and the gates of a line to be
	// heard once its port is open, before the log says that they are not.
	settle = 5 * time.Second
)

// gateWatch finds what the log is to say about the gates. It reads no clock and
// takes the lines at each look in the same order.
type gateWatch struct {
	lines []watchedLine
}

type watchedLine struct {
	upSince time.Time // zero = the port is not open
	gates   []watchedGate
}

type watchedGate struct {
	is    gateCondition
	since time.Time
	told  gateCondition // the zero gateCondition = nothing has been told
	at    time.Time     // of the last telling
}

// gateCondition is what the log tells of.
type gateCondition struct{ state, troubles string }

// gateChange is one line of the log.
type gateChange struct {
	line string
	gate *GateStatus
	was  gateCondition
}

// look returns what is to be told at now.
func (w *gateWatch) look(now time.Time, lines []LineStatus) (changes []gateChange) {
	if w.lines == nil {
		w.lines = make([]watchedLine, len(lines))
		for i := range lines {
			w.lines[i].gates = make([]watchedGate, len(lines[i].Gates))
		}
	}
	for i := range lines {
		l, line := &w.lines[i], &lines[i]
		if !line.Up { // the log says that of the line, and so not of each gate
			l.upSince = time.Time{}
			continue
		}
		if l.upSince.IsZero() {
			l.upSince = now
		}
		for k := range line.Gates {
			g, gate := &l.gates[k], &line.Gates[k]
			if was := g.told; g.look(now, l.upSince, gate) {
				changes = append(changes, gateChange{line.Name, gate, was})
			}
		}
	}
	return changes
}

// look reports whether the gate is to be told of, and takes it for told then.
func (g *watchedGate) look(now, upSince time.Time, gate *GateStatus) bool {
	is := gateCondition{gate.State, strings.Join(gate.Troubles, ",")}
	if is != g.is {
		g.is, g.since = is, now
	}
	switch {
	case is == g.told:
		return false
	case g.told != gateCondition{} && now.Sub(g.at) < tellEvery:
		return false
	case is.state == drivers.GateSilent.String() && now.Sub(upSince) < settle:
		return false
	case is.state == drivers.GateStarting.String() && now.Sub(g.since) < settle:
		return false
	}
	g.told, g.at = is, now
	return true
}

// tell writes the line of the log.
func (c gateChange) tell(log *slog.Logger) {
	attributes := []any{"line", c.line, "gate", c.gate.Name, "state", c.gate.State}
	if c.was.state != "" && c.was.state != c.gate.State {
		attributes = append(attributes, "was", c.was.state)
	}
	if len(c.gate.Troubles) > 0 {
		attributes = append(attributes, "troubles", strings.Join(c.gate.Troubles, ","))
	}
	steps := c.gate.Advice()
	if len(steps) == 0 {
		log.Info("gate is well", attributes...)
		return
	}
	log.Warn("gate is not well", append(attributes, "next", strings.Join(steps, "; "))...)
}

// watchGates writes to the log what changes at the gates, until ctx is done.
func (s *Station) watchGates(ctx context.Context) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var watch gateWatch
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			now := s.now()
			for _, change := range watch.look(now, s.linesStatus(now).Lines) {
				change.tell(s.log)
			}
		}
	}
}
