package drivertest

import (
	"bytes"
	"slices"

	"gateline/drivers"
	"gateline/gateway"
)

// What one Step may return: a few frames, and what answers the bytes it was
// given.
const (
	sendFree    = 4096 // bytes of Send, whatever was given
	sendPerByte = 4    // and so many for each byte
	bytesPerTap = 4    // no tap is told in fewer
)

// watch stands between a world and its session and checks what every Step
// returns.
type watch struct {
	session drivers.Session

	last drivers.Output // as the session returned it
	send []byte         // what it was then
	taps []gateway.Tap

	busy int // Steps that were given something or returned something
	idle int // and those that were not and did not
}

// step calls the session's Step.
func (c *watch) step(w *world, in []byte) drivers.Output {
	c.held(w)
	out := c.session.Step(w.now, in)
	if most := sendFree + sendPerByte*len(in); len(out.Send) > most {
		w.fault("a Step that is given %d bytes wants to send %d", len(in), len(out.Send))
	}
	if most := 1 + len(in)/bytesPerTap; len(out.Taps) > most {
		w.fault("a Step that is given %d bytes returns %d taps", len(in), len(out.Taps))
	}
	silent := len(out.Send) == 0 && len(out.Taps) == 0
	if silent && !out.Wake.IsZero() && !out.Wake.After(w.now) {
		w.fault("a Step returns neither Send nor Taps and wants to be called at once: the line would be busy for nothing")
	}
	if silent && len(in) == 0 {
		c.idle++
	} else {
		c.busy++
	}
	c.last = out
	c.send, c.taps = append(c.send[:0], out.Send...), append(c.taps[:0], out.Taps...)
	return out
}

// held checks that what the last Step returned is still what it was.
func (c *watch) held(w *world) {
	if !bytes.Equal(c.last.Send, c.send) || !slices.Equal(c.last.Taps, c.taps) {
		w.fault("what a Step returned has changed before the next one")
	}
}
