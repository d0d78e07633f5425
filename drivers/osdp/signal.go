package osdp

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"gateline/gateway"
)

// Light is what an LED shows: a colour, steady or blinking. The zero Light is
// dark.
type Light struct {
	Color    Color
	Blinking bool
}

var colorNames = [...]string{"off", "red", "green", "amber", "blue", "magenta", "cyan", "white"}

const blinking = " blinking"

// String returns the light's name in a configuration, for instance "amber" or
// "amber blinking".
func (l Light) String() string {
	if int(l.Color) >= len(colorNames) {
		return "invalid"
	}
	if l.Blinking {
		return colorNames[l.Color] + blinking
	}
	return colorNames[l.Color]
}

// UnmarshalText reads the light's name in a configuration.
func (l *Light) UnmarshalText(text []byte) error {
	name, blinks := strings.CutSuffix(string(text), blinking)
	for c, known := range colorNames {
		if name == known && !(blinks && Color(c) == Black) {
			*l = Light{Color(c), blinks}
			return nil
		}
	}
	return fmt.Errorf("%.40q is not one of %s, with or without %q behind", text, strings.Join(colorNames[:], ", "), blinking[1:])
}

// Signal is what a reader shows for an answer. Whether the gate opens is not
// its to say: that is in the answer.
type Signal struct {
	Light Light
	Beeps byte
	// Text is printable ASCII of at most MaxText characters; empty = none.
	Text string
}

// Standing is what a reader shows between taps.
type Standing struct {
	Light Light
	Text  string // as in Signal
}

// Signals is what a reader shows, and which of its parts it is shown with.
// Reasons are never shown (PRV-05). What a reader cannot do by its PDCAP is
// left out or replaced by what comes nearest; a refusal never looks like the
// manual lane.
type Signals struct {
	// Output opens the gate, for Pulse; LED is the one that shows. Both count
	// from 0.
	Output, LED byte
	Pulse       time.Duration
	// For is how long light and text of an answer last.
	For time.Duration

	Pass, Refuse, Manual, TopUp Signal
	// Closed is Manual while the station or the gate is switched to manual.
	Closed Signal

	// What stands between taps: riders tap, go to the staff, or walk through an
	// open gate; the box has been stopped; the reader has lost the box. The last
	// a reader shows by itself, so it needs an LED that can time its states.
	Auto, ManualLane, Open, OutOfService, LinkLost Standing
}

// Bounds of Signals.
const (
	MaxPulse = 10 * time.Second
	// MinFor and MaxFor bound the time of an answer's light and text.
	MinFor   = time.Second
	MaxFor   = 10 * time.Second
	MaxBeeps = 9
)

// DefaultSignals opens the gate for a second and shows the public texts.
func DefaultSignals() Signals {
	texts := gateway.DefaultTexts()
	return Signals{
		Pulse: time.Second, For: 2 * time.Second,
		Pass:   Signal{Light: Light{Color: Green}, Beeps: 1},
		Refuse: Signal{Light: Light{Color: Red}, Beeps: 3, Text: texts.Refuse.EN},
		Manual: Signal{Light: Light{Color: Amber}, Beeps: 2, Text: texts.NotFound.EN},
		TopUp:  Signal{Light: Light{Color: Amber}, Beeps: 2, Text: "Upgrade the card first"},
		Closed: Signal{Light: Light{Color: Amber}, Beeps: 2, Text: texts.Manual.EN},

		Auto:         Standing{Light: Light{Color: Blue}},
		ManualLane:   Standing{Light: Light{Color: Amber}, Text: texts.Manual.EN},
		Open:         Standing{Light: Light{Color: Green}},
		OutOfService: Standing{Light: Light{Color: Red, Blinking: true}, Text: "Out of service"},
		LinkLost:     Standing{Light: Light{Color: Amber, Blinking: true}},
	}
}

// Validate reports every fault, one in a line, as "key: what is wrong" with the
// key in a configuration, such as pass.text.
func (s *Signals) Validate() error {
	var faults []error
	fault := func(name, format string, args ...any) {
		faults = append(faults, fmt.Errorf(name+": "+format, args...))
	}
	if s.Pulse < Tick || s.Pulse > MaxPulse {
		fault("pulse", "%v is not between %v and %v", s.Pulse, Tick, MaxPulse)
	}
	if s.For < MinFor || s.For > MaxFor {
		fault("for", "%v is not between %v and %v", s.For, MinFor, MaxFor)
	}
	text := func(name, text string) {
		if len(text) > MaxText || strings.ContainsFunc(text, func(r rune) bool { return r > 0x7f || !printable(byte(r)) }) {
			fault(name+".text", "not at most %d characters of printable ASCII, which is all that a reader can show", MaxText)
		}
	}
	for _, t := range []struct {
		name   string
		signal *Signal
	}{{"pass", &s.Pass}, {"refuse", &s.Refuse}, {"manual", &s.Manual}, {"topup", &s.TopUp}, {"closed", &s.Closed}} {
		text(t.name, t.signal.Text)
		if t.signal.Beeps > MaxBeeps {
			fault(t.name+".beeps", "%d is not between 0 and %d", t.signal.Beeps, MaxBeeps)
		}
	}
	for _, t := range []struct {
		name     string
		standing *Standing
	}{{"auto", &s.Auto}, {"manual_lane", &s.ManualLane}, {"open", &s.Open}, {"out_of_service", &s.OutOfService}, {"link_lost", &s.LinkLost}} {
		text(t.name, t.standing.Text)
	}
	if s.LinkLost.Text != "" {
		fault("link_lost.text", "a reader that has lost the box can show a light by itself and no text: leave it out")
	}
	switch s.Refuse.Light {
	case s.Pass.Light, s.Manual.Light, s.Closed.Light, s.TopUp.Light:
		fault("refuse.light", "it is also that of pass, manual, topup or closed: nobody may be taken for refused who is not")
	}
	return errors.Join(faults...)
}

// of returns the signal for an answer.
func (s *Signals) of(purpose gateway.Purpose, a gateway.Answer) *Signal {
	switch {
	case a.Verdict == gateway.VerdictPass:
		return &s.Pass
	case a.Verdict == gateway.VerdictRefuse:
		return &s.Refuse
	case purpose == gateway.PurposeTopUp:
		return &s.TopUp
	case a.Reason == gateway.R26:
		return &s.Closed
	}
	return &s.Manual
}

// in returns what stands while the lane is so.
func (s *Signals) in(lane gateway.Lane) *Standing {
	switch lane {
	case gateway.LaneAuto:
		return &s.Auto
	case gateway.LaneOpen:
		return &s.Open
	}
	return &s.ManualLane
}
