package osdp

import (
	"time"

	"gateline/gateway"
)

const (
	// maxOrders is how many commands may wait for one reader: those of an
	// answer and one that is out already.
	maxOrders = 6
	// maxOrder is the longest data of an order in bytes: a text of MaxText
	// characters.
	maxOrder = textHead + MaxText
	// lead is how long before an answer's light ends the lane's is set again, so
	// that the reader does not fall back to the light of a lost box in between.
	lead = 150 * time.Millisecond
)

// orderKind says what an order is for, and so what its end means.
type orderKind uint8

const (
	orderOpen    orderKind = iota + 1 // of an answer: the gate opens
	orderSign                         // of an answer: its light
	orderRest                         // of an answer: sound and text
	orderRelease                      // the end of orderOpen, where the reader cannot end it itself
	orderDoor                         // the gate stands open, or no longer
	orderLight                        // the lane's light
	orderText                         // the lane's text
	orderStatus                       // what the reader says of itself
)

// ofAnswer reports whether the order is for a rider who may be gone later.
func (k orderKind) ofAnswer() bool { return k <= orderRest }

// pendingCommand is one command for a reader.
type pendingCommand struct {
	kind orderKind
	code byte
	data [maxOrder]byte
	n    int
	// The lane that it shows, and whether the box goes.
	lane    gateway.Lane
	leaving bool
}

// display is what one reader has been told to show and what it is to show.
type display struct {
	signals *Signals
	caps    *Capabilities
	// lampFor is how long the lane's light lasts at a reader that does not hear
	// of it again: the dead man's switch behind LinkLost.
	// It is renewed at half of that and up to a quarter earlier, sooner by sooner,
	// so that the readers of a line are not renewed all at once.
	lampFor, sooner time.Duration

	lane    gateway.Lane
	leaving bool // the box goes: the lane is out of service

	lit, texted, shut bool // the reader has been told of light, text and gate
	litLane, textLane gateway.Lane
	litOut, textOut   bool // it was told that the box goes
	stands            bool // the gate was told to stand open
	// quiet is until when an answer's light is not replaced; relight when the
	// lane's light is due again, release when the gate is to be shut; zero =
	// never.
	quiet, relight, release time.Time
}

// forget says that nobody knows what the reader shows.
func (d *display) forget() {
	d.lit, d.texted, d.shut = false, false, false
	d.quiet, d.relight, d.release = time.Time{}, time.Time{}, time.Time{}
}

func (d *display) append(orders []pendingCommand, kind orderKind, code byte, data []byte) []pendingCommand {
	orders = append(orders, pendingCommand{kind: kind, code: code, lane: d.lane, leaving: d.leaving})
	o := &orders[len(orders)-1]
	o.n = copy(o.data[:], data)
	return orders
}

// answerOrders appends what tells a reader its answer, in the order of effect:
// the gate opens first, then light, sound and text, as far as it can.
func (d *display) answerOrders(orders []pendingCommand, purpose gateway.Purpose, a gateway.Answer) []pendingCommand {
	signal, r := d.signals.of(purpose, a), roleStaff
	switch a.Verdict {
	case gateway.VerdictPass:
		r = rolePass
	case gateway.VerdictRefuse:
		r = roleRefuse
	}
	var b [maxOrder]byte
	if a.Open && d.hasOutput() {
		out := Out{Number: d.signals.Output, Control: OutPulseOn, Time: d.signals.Pulse}
		if !d.caps.TimedOutput() {
			out = Out{Number: d.signals.Output, Control: OutOn}
		}
		orders = d.append(orders, orderOpen, CmdOUT, AppendOut(b[:0], out))
	}
	if d.hasLED() {
		led := LED{Number: d.signals.LED}
		blink := d.caps.blink(signal.Light, r)
		if d.caps.TimedLED() {
			led.Temp, led.TempBlink, led.TempTime = TempSet, blink, d.signals.For
		} else {
			led.Perm, led.PermBlink = PermSet, blink
		}
		orders = d.append(orders, orderSign, CmdLED, AppendLED(b[:0], led))
	}
	if d.caps.Sound() && signal.Beeps > 0 {
		orders = d.append(orders, orderRest, CmdBUZ, AppendBuz(b[:0], Buz{Tone: ToneDefault, On: Tick, Off: Tick, Count: signal.Beeps}))
	}
	if d.caps.Text() && signal.Text != "" {
		orders = d.append(orders, orderRest, CmdTEXT, AppendText(b[:0], &Text{Mode: TextTemporary, Time: d.signals.For, Row: 1, Column: 1, Characters: signal.Text}))
	}
	return orders
}

func (d *display) hasOutput() bool { return d.caps.Outputs > d.signals.Output }
func (d *display) hasLED() bool    { return d.caps.LEDs > d.signals.LED && d.caps.LEDLevel > 0 }

// next appends the one thing that is due without a tap, if there is any: the
// gate first, then the light and the text between taps. A light that only has
// to be renewed waits until there is room for it.
func (d *display) next(orders []pendingCommand, now time.Time, room bool) []pendingCommand {
	var b [maxOrder]byte
	open := d.lane == gateway.LaneOpen
	switch {
	case d.hasOutput() && (!d.shut || d.stands != open) && !d.leaving:
		return d.append(orders, orderDoor, CmdOUT, AppendOut(b[:0], Out{Number: d.signals.Output, Control: d.doorControl(open)}))
	case !d.release.IsZero() && (d.leaving || !now.Before(d.release)):
		return d.append(orders, orderRelease, CmdOUT, AppendOut(b[:0], Out{Number: d.signals.Output, Control: d.doorControl(open)}))
	case now.Before(d.quiet) && !d.leaving:
		return orders
	case d.hasLED() && (!d.lit || d.litLane != d.lane || d.litOut != d.leaving || d.fades(now, room)):
		return d.append(orders, orderLight, CmdLED, AppendLED(b[:0], d.laneLED()))
	case d.caps.Text() && (!d.texted || d.textLane != d.lane || d.textOut != d.leaving):
		text := d.standing().Text
		if text == "" {
			text = " " // what stood there goes
		}
		return d.append(orders, orderText, CmdTEXT, AppendText(b[:0], &Text{Mode: TextPermanent, Row: 1, Column: 1, Characters: text}))
	}
	return orders
}

// fades reports whether the lane's light is to be renewed: once it has burnt half
// its time and there is room, and without room when a quarter is left.
func (d *display) fades(now time.Time, room bool) bool {
	if !room {
		now = now.Add(-d.lampFor / 4)
	}
	return !d.relight.IsZero() && !now.Before(d.relight)
}

// doorControl: a pulse that runs for somebody is let run to its end.
func (d *display) doorControl(open bool) OutControl {
	switch {
	case open:
		return OutOn
	case d.caps.TimedOutput():
		return OutOffAfter
	}
	return OutOff
}

func (d *display) standing() *Standing {
	if d.leaving {
		return &d.signals.OutOfService
	}
	return d.signals.in(d.lane)
}

// laneLED shows the lane for as long as the box renews it, and behind it, for
// good, that the box is lost. A reader that cannot time its light keeps what it
// was told, and so does one that is told that the box goes.
func (d *display) laneLED() LED {
	r := roleStaff
	switch {
	case d.leaving:
		r = roleOut
	case d.lane == gateway.LaneAuto:
		r = roleIdle
	case d.lane == gateway.LaneOpen:
		r = rolePass
	}
	led, blink := LED{Number: d.signals.LED}, d.caps.blink(d.standing().Light, r)
	led.Perm, led.PermBlink = PermSet, blink
	if d.caps.TimedLED() {
		if d.leaving {
			led.Temp = TempCancel
		} else {
			led.Temp, led.TempBlink, led.TempTime = TempSet, blink, d.lampFor
			led.PermBlink = d.caps.blink(d.signals.LinkLost.Light, roleLost)
		}
	}
	return led
}

// done notes that the reader has obeyed an order, or refused it: one that it
// cannot obey is not given again.
func (d *display) done(now time.Time, o *pendingCommand, obeyed bool) {
	switch o.kind {
	case orderOpen:
		if obeyed && !d.caps.TimedOutput() {
			d.release = now.Add(d.signals.Pulse)
		}
	case orderSign:
		if !obeyed {
			return
		}
		d.lit, d.quiet = false, now.Add(d.signals.For)
		if d.caps.TimedLED() {
			d.quiet = d.quiet.Add(-lead)
		}
	case orderRelease:
		d.release = time.Time{}
	case orderDoor:
		d.shut, d.stands = true, o.lane == gateway.LaneOpen
	case orderLight:
		d.lit, d.litLane, d.litOut, d.relight = true, o.lane, o.leaving, time.Time{}
		if obeyed && d.caps.TimedLED() && !o.leaving {
			d.relight = now.Add(d.lampFor/2 - d.sooner)
		}
	case orderText:
		d.texted, d.textLane, d.textOut = true, o.lane, o.leaving
	}
}
