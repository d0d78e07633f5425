package osdp

import (
	"time"

	"gateline/gateway"
)

// Signal is what a reader shows for an answer.
type Signal struct {
	// Pulse is how long output 0, the gate, is on; 0 = it is not touched.
	Pulse time.Duration
	Color Color
	Beeps byte
	// Text is ASCII; empty = none.
	Text string
}

// Signals is what a reader shows, by verdict. Reasons are never shown (PRV-05).
type Signals struct {
	Pass, Refuse, Manual, TopUp Signal
	// For is how long light and text of an answer last.
	For time.Duration
	// What the reader shows between taps.
	Auto, ManualLane, Open Color
}

// DefaultSignals opens the gate for a second and shows the public texts.
func DefaultSignals() Signals {
	texts := gateway.DefaultTexts()
	return Signals{
		Pass:   Signal{Pulse: time.Second, Color: Green, Beeps: 1},
		Refuse: Signal{Color: Red, Beeps: 3, Text: texts.Refuse.EN},
		Manual: Signal{Color: Amber, Beeps: 2, Text: texts.NotFound.EN},
		TopUp:  Signal{Color: Amber, Beeps: 2, Text: "Upgrade the card first"},
		For:    2 * time.Second,
		Auto:   Blue, ManualLane: Amber, Open: Green,
	}
}

// pendingCommand is one command for a reader.
type pendingCommand struct {
	code byte
	data [maxOrder]byte
	n    int
}

// maxOrder is the longest data of an order in bytes: a text of MaxText
// characters.
const maxOrder = 48

func (o *pendingCommand) set(code byte, data []byte) {
	o.code, o.n = code, copy(o.data[:], data)
}

// answerOrders appends what tells a reader its answer, in the order of effect:
// the gate opens first, then light, sound and text, as far as it can.
func (s *Signals) answerOrders(orders []pendingCommand, c *Capabilities, purpose gateway.Purpose, a gateway.Answer) []pendingCommand {
	signal := &s.Manual
	switch {
	case a.Verdict == gateway.VerdictPass:
		signal = &s.Pass
	case a.Verdict == gateway.VerdictRefuse:
		signal = &s.Refuse
	case purpose == gateway.PurposeTopUp:
		signal = &s.TopUp
	}
	text := signal.Text
	if a.Verdict == gateway.VerdictManual && a.Reason == gateway.R26 {
		text = gateway.DefaultTexts().Manual.EN
	}
	var b [maxOrder]byte
	add := func(code byte, data []byte) {
		orders = append(orders, pendingCommand{})
		orders[len(orders)-1].set(code, data)
	}
	if a.Open && c.Outputs > 0 && s.Pass.Pulse > 0 {
		control := OutPulseOn
		if !c.TimedOutput() {
			control = OutOn // the link switches it off again
		}
		add(CmdOUT, AppendOut(b[:0], Out{Control: control, Time: s.Pass.Pulse}))
	}
	switch {
	case c.TimedLED():
		add(CmdLED, AppendLED(b[:0], LED{Temp: TempSet, TempBlink: Steady(signal.Color), TempTime: s.For}))
	case c.LEDs > 0 && c.LEDLevel > 0:
		add(CmdLED, AppendLED(b[:0], LED{Perm: PermSet, PermBlink: Steady(signal.Color)})) // the link shows the lane again
	}
	if c.Sound() && signal.Beeps > 0 {
		add(CmdBUZ, AppendBuz(b[:0], Buz{Tone: ToneDefault, On: Tick, Off: Tick, Count: signal.Beeps}))
	}
	if c.Text() && text != "" {
		add(CmdTEXT, AppendText(b[:0], &Text{Mode: TextTemporary, Time: s.For, Row: 1, Column: 1, Characters: text}))
	}
	return orders
}

// laneOrders appends what a reader shows between taps.
func (s *Signals) laneOrders(orders []pendingCommand, c *Capabilities, lane gateway.Lane) []pendingCommand {
	if c.LEDs == 0 || c.LEDLevel == 0 {
		return orders
	}
	color := s.ManualLane
	switch lane {
	case gateway.LaneAuto:
		color = s.Auto
	case gateway.LaneOpen:
		color = s.Open
	}
	var b [maxOrder]byte
	orders = append(orders, pendingCommand{})
	orders[len(orders)-1].set(CmdLED, AppendLED(b[:0], LED{Perm: PermSet, PermBlink: Steady(color)}))
	return orders
}
