package osdp

import (
	"fmt"
	"time"
)

// MaxShown is how much of what it was told to show a PD remembers.
const MaxShown = 256

// A Show is one thing that the PD was told to show.
type Show struct {
	At   time.Time
	Code byte // CmdOUT, CmdLED, CmdBUZ or CmdTEXT; the field of that name is set
	Out  Out
	LED  LED
	Buz  Buz
	Text Text
}

// Shown returns what the PD was told to show since the last call, at most
// MaxShown; of more, the latest. A repeated command shows nothing again.
func (p *PD) Shown() []Show {
	shown := p.shown
	p.shown = nil
	return shown
}

func (p *PD) showed(s Show) {
	if len(p.shown) == MaxShown {
		p.shown = p.shown[:copy(p.shown, p.shown[1:])]
	}
	p.shown = append(p.shown, s)
}

// OutputOn reports whether an output, 0 being the first, is on.
func (p *PD) OutputOn(now time.Time, number int) bool {
	return number < len(p.outputs) && p.outputs[number].on(now)
}

// output is the state of one output.
type output struct {
	permanent, timed bool
	until            time.Time // timed holds before that
}

func (o *output) on(now time.Time) bool {
	if now.Before(o.until) {
		return o.timed
	}
	return o.permanent
}

func (o *output) set(now time.Time, out *Out) {
	switch out.Control {
	case OutOff, OutOn:
		o.until = time.Time{}
		o.permanent = out.Control == OutOn
	case OutOffAfter, OutOnAfter:
		o.permanent = out.Control == OutOnAfter
	case OutPulseOn, OutPulseOff:
		o.timed, o.until = out.Control == OutPulseOn, now.Add(out.Time)
	}
}

// show obeys OUT, LED, BUZ and TEXT: all records of a command or, if one of
// them is wrong, none.
func (p *PD) show(now time.Time, f, r *Frame) error {
	has := &p.cfg.Capabilities
	if f.Code == CmdOUT && has.Outputs == 0 || f.Code == CmdLED && has.LEDs == 0 ||
		f.Code == CmdBUZ && !has.Sound() || f.Code == CmdTEXT && !has.Text() {
		p.refuse(r, NAKUnknown)
		return nil
	}
	switch f.Code {
	case CmdOUT:
		return p.showOut(now, f, r)
	case CmdLED:
		return p.showLED(now, f, r)
	case CmdBUZ:
		return p.showBuz(now, f)
	}
	text, err := ParseText(f.Data)
	if err == nil {
		err = p.hasReader(text.Reader)
	}
	if err == nil {
		p.showed(Show{At: now, Code: CmdTEXT, Text: text})
	}
	return err
}

func (p *PD) hasReader(number byte) error {
	if number >= p.cfg.Capabilities.Readers {
		return fmt.Errorf("reader %d: %w", number, ErrRecord)
	}
	return nil
}

func (p *PD) showOut(now time.Time, f, r *Frame) (err error) {
	if p.outs, err = ParseOut(p.outs[:0], f.Data); err != nil {
		return err
	}
	for _, o := range p.outs {
		if int(o.Number) >= len(p.outputs) {
			return fmt.Errorf("output %d: %w", o.Number, ErrRecord)
		}
	}
	for i := range p.outs {
		p.outputs[p.outs[i].Number].set(now, &p.outs[i])
		p.showed(Show{At: now, Code: CmdOUT, Out: p.outs[i]})
	}
	if p.cfg.Quirks.OutStatus {
		p.tellStatus(now, CmdOSTAT, r)
	}
	return nil
}

// showLED obeys LED. An LED that is not there is answered as a command that
// is not supported, which is what libosdp does.
func (p *PD) showLED(now time.Time, f, r *Frame) (err error) {
	if p.leds, err = ParseLED(p.leds[:0], f.Data); err != nil {
		return err
	}
	for i := range p.leds {
		if p.leds[i].Number >= p.cfg.Capabilities.LEDs {
			p.refuse(r, NAKUnknown)
			return nil
		}
		if err := p.hasReader(p.leds[i].Reader); err != nil {
			return err
		}
	}
	for i := range p.leds {
		p.showed(Show{At: now, Code: CmdLED, LED: p.leds[i]})
	}
	return nil
}

func (p *PD) showBuz(now time.Time, f *Frame) (err error) {
	if p.buzz, err = ParseBuz(p.buzz[:0], f.Data); err != nil {
		return err
	}
	for i := range p.buzz {
		if err := p.hasReader(p.buzz[i].Reader); err != nil {
			return err
		}
	}
	for i := range p.buzz {
		p.showed(Show{At: now, Code: CmdBUZ, Buz: p.buzz[i]})
	}
	return nil
}
