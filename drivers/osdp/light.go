package osdp

import "time"

// role is what a light has to say, which a reader without its colour has to
// say otherwise.
type role uint8

const (
	roleIdle   role = iota // riders tap
	rolePass               // come in: an answer, or a gate that stands open
	roleRefuse             // turned back
	roleStaff              // to the staff
	roleOut                // out of service
	roleLost               // the box is lost
)

// Levels of PDCAP's function 4.
const (
	ledTimed     = 2
	ledTwoColors = 3
	ledColors    = 4
)

const (
	slowBlink = 5 * Tick
	fastBlink = 1 * Tick
)

// blink returns how a reader of these capabilities shows a light: as it is
// where there are colours. With red and green alone, amber is both in turn,
// and what is neither is told by its role. With one colour the rhythm says it.
// A refusal always differs from the way to the staff.
func (c *Capabilities) blink(l Light, r role) Blink {
	switch {
	case c.LEDLevel >= ledColors:
		return shown(l)
	case c.LEDLevel == ledTwoColors:
		return twoColors(l, r)
	}
	return oneColor(l, r)
}

func shown(l Light) Blink {
	if l.Blinking {
		return flashing(l.Color, slowBlink)
	}
	return Steady(l.Color)
}

func flashing(c Color, half time.Duration) Blink {
	return Blink{On: half, Off: half, OnColor: c, OffColor: Black}
}

func twoColors(l Light, r role) Blink {
	both := Blink{On: 2 * Tick, Off: 2 * Tick, OnColor: Red, OffColor: Green}
	switch r {
	case roleRefuse:
		return shown(Light{Red, l.Blinking})
	case roleStaff:
		return both
	case roleLost:
		return Blink{On: slowBlink, Off: slowBlink, OnColor: Red, OffColor: Green}
	case rolePass:
		return shown(Light{Green, l.Blinking})
	}
	if l.Color > Green { // blue and the like
		if r == roleOut {
			return flashing(Red, slowBlink)
		}
		return Steady(Black)
	}
	return shown(l)
}

func oneColor(l Light, r role) Blink {
	c := l.Color
	if c == Black {
		c = Red // on, whatever the colour is
	}
	switch r {
	case rolePass:
		return Steady(c)
	case roleRefuse:
		return flashing(c, fastBlink)
	case roleIdle:
		return Steady(Black)
	case roleOut:
		return Blink{On: fastBlink, Off: 9 * Tick, OnColor: c, OffColor: Black}
	}
	return flashing(c, slowBlink)
}
