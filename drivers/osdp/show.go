package osdp

import (
	"fmt"
	"time"
)

// OutControl is what an output shall do.
type OutControl byte

const (
	OutKeep     OutControl = 0 // leave alone
	OutOff      OutControl = 1 // off, and a running time is aborted
	OutOn       OutControl = 2 // on, and a running time is aborted
	OutOffAfter OutControl = 3 // off once a running time has ended
	OutOnAfter  OutControl = 4 // on once a running time has ended
	OutPulseOn  OutControl = 5 // on for the time, then as before
	OutPulseOff OutControl = 6 // off for the time, then as before
)

// Out is one record of an OUT command.
type Out struct {
	Number  byte // of the output, 0 is the first
	Control OutControl
	Time    time.Duration // in steps of Tick, at most 6553.5 s
}

// AppendOut appends the data of an OUT command.
func AppendOut(b []byte, out ...Out) []byte {
	for _, o := range out {
		b = appendTicks16(append(b, o.Number, byte(o.Control)), o.Time)
	}
	return b
}

// ParseOut appends the records of an OUT command to dst. The error wraps
// ErrLength or ErrRecord.
func ParseOut(dst []Out, data []byte) ([]Out, error) {
	if err := records(data, "OUT", outSize); err != nil {
		return dst, err
	}
	for ; len(data) > 0; data = data[outSize:] {
		o := Out{Number: data[0], Control: OutControl(data[1]), Time: ofTicks16(data[2:])}
		if o.Control > OutPulseOff {
			return dst, fmt.Errorf("OUT control code %d: %w", o.Control, ErrRecord)
		}
		dst = append(dst, o)
	}
	return dst, nil
}

// Color is what an LED can show. PDs from before v2.2 know the first five.
type Color byte

const (
	Black   Color = 0
	Red     Color = 1
	Green   Color = 2
	Amber   Color = 3
	Blue    Color = 4
	Magenta Color = 5
	Cyan    Color = 6
	White   Color = 7
)

// Blink is what an LED does: a colour for a time, another for a time, again.
type Blink struct {
	On, Off           time.Duration // in steps of Tick, at most 25.5 s; not both zero
	OnColor, OffColor Color
}

// Steady is the most portable way to say that an LED does not blink.
func Steady(c Color) Blink { return Blink{On: 5 * Tick, OnColor: c, OffColor: c} }

// TempControl says what happens to an LED's temporary state, which hides the
// permanent one until its time is over.
type TempControl byte

const (
	TempKeep   TempControl = 0
	TempCancel TempControl = 1 // show the permanent state now
	TempSet    TempControl = 2
)

// PermControl says what happens to an LED's permanent state.
type PermControl byte

const (
	PermKeep PermControl = 0
	PermSet  PermControl = 1
)

// LED is one record of an LED command.
type LED struct {
	Reader, Number byte
	Temp           TempControl
	TempBlink      Blink
	TempTime       time.Duration // in steps of Tick, with TempSet at least one
	Perm           PermControl
	PermBlink      Blink
}

// AppendLED appends the data of an LED command.
func AppendLED(b []byte, leds ...LED) []byte {
	for i := range leds {
		l := &leds[i]
		b = appendBlink(append(b, l.Reader, l.Number, byte(l.Temp)), &l.TempBlink)
		span := l.TempTime
		if l.Temp == TempSet {
			span = max(span, Tick) // PDs disagree on what 0 means
		}
		b = appendTicks16(b, span)
		b = appendBlink(append(b, byte(l.Perm)), &l.PermBlink)
	}
	return b
}

func appendBlink(b []byte, l *Blink) []byte {
	return append(b, ticks8(l.On), ticks8(l.Off), byte(l.OnColor), byte(l.OffColor))
}

func parseBlink(b []byte) Blink {
	return Blink{On: ofTicks(int(b[0])), Off: ofTicks(int(b[1])), OnColor: Color(b[2]), OffColor: Color(b[3])}
}

// ParseLED appends the records of an LED command to dst. A state that is set
// must have a time on or off and colours that exist. The error wraps ErrLength
// or ErrRecord.
func ParseLED(dst []LED, data []byte) ([]LED, error) {
	if err := records(data, "LED", ledSize); err != nil {
		return dst, err
	}
	for ; len(data) > 0; data = data[ledSize:] {
		l := LED{
			Reader: data[0], Number: data[1],
			Temp: TempControl(data[2]), TempBlink: parseBlink(data[3:]), TempTime: ofTicks16(data[7:]),
			Perm: PermControl(data[9]), PermBlink: parseBlink(data[10:]),
		}
		if l.Temp > TempSet || l.Perm > PermSet ||
			l.Temp == TempSet && !l.TempBlink.valid() || l.Perm == PermSet && !l.PermBlink.valid() {
			return dst, fmt.Errorf("LED %d: %w", l.Number, ErrRecord)
		}
		dst = append(dst, l)
	}
	return dst, nil
}

func (l *Blink) valid() bool {
	return (l.On > 0 || l.Off > 0) && l.OnColor <= White && l.OffColor <= White
}

// Tone is what a buzzer shall do.
type Tone byte

const (
	ToneNone    Tone = 0 // obsolete way of saying ToneOff
	ToneOff     Tone = 1
	ToneDefault Tone = 2
)

// Buz is one record of a BUZ command.
type Buz struct {
	Reader  byte
	Tone    Tone
	On, Off time.Duration // in steps of Tick, at most 25.5 s
	Count   byte          // repetitions; 0 = until told otherwise
}

// AppendBuz appends the data of a BUZ command.
func AppendBuz(b []byte, buz ...Buz) []byte {
	for _, z := range buz {
		b = append(b, z.Reader, byte(z.Tone), ticks8(z.On), ticks8(z.Off), z.Count)
	}
	return b
}

// ParseBuz appends the records of a BUZ command to dst. The error wraps
// ErrLength or ErrRecord.
func ParseBuz(dst []Buz, data []byte) ([]Buz, error) {
	if err := records(data, "BUZ", buzSize); err != nil {
		return dst, err
	}
	for ; len(data) > 0; data = data[buzSize:] {
		z := Buz{Reader: data[0], Tone: Tone(data[1]), On: ofTicks(int(data[2])), Off: ofTicks(int(data[3])), Count: data[4]}
		if z.Tone > ToneDefault || z.Tone == ToneDefault && z.On == 0 {
			return dst, fmt.Errorf("BUZ tone %d: %w", z.Tone, ErrRecord)
		}
		dst = append(dst, z)
	}
	return dst, nil
}

// TextMode says how long a text stays and whether it wraps.
type TextMode byte

const (
	TextPermanent     TextMode = 1
	TextPermanentWrap TextMode = 2
	TextTemporary     TextMode = 3
	TextTemporaryWrap TextMode = 4
)

// Text is a TEXT command.
type Text struct {
	Reader      byte
	Mode        TextMode
	Time        time.Duration // of a temporary text, in seconds, at most 255
	Row, Column byte          // from 1
	// Characters are printable ASCII, at most MaxText where the PD does not
	// say that it takes more.
	Characters string
}

// AppendText appends the data of a TEXT command. More than MaxText characters
// are cut off and those that are not printable ASCII become question marks.
func AppendText(b []byte, t *Text) []byte {
	n := min(len(t.Characters), MaxText)
	seconds := min(max((t.Time+time.Second-1)/time.Second, 0), 0xff)
	b = append(b, t.Reader, byte(t.Mode), byte(seconds), t.Row, t.Column, byte(n))
	for i := range n {
		c := t.Characters[i]
		if !printable(c) {
			c = '?'
		}
		b = append(b, c)
	}
	return b
}

func printable(c byte) bool { return c >= 0x20 && c <= 0x7e }

// ParseText reads the data of a TEXT command. The error wraps ErrLength or
// ErrRecord.
func ParseText(data []byte) (Text, error) {
	if len(data) < textHead || int(data[5]) != len(data)-textHead {
		return Text{}, fmt.Errorf("TEXT of %d bytes: %w", len(data), ErrLength)
	}
	t := Text{Reader: data[0], Mode: TextMode(data[1]), Time: time.Duration(data[2]) * time.Second, Row: data[3], Column: data[4]}
	if t.Mode < TextPermanent || t.Mode > TextTemporaryWrap || t.Row == 0 || t.Column == 0 || len(data)-textHead > MaxText {
		return Text{}, fmt.Errorf("TEXT mode %d at row %d column %d with %d characters: %w", t.Mode, t.Row, t.Column, data[5], ErrRecord)
	}
	for _, c := range data[textHead:] {
		if !printable(c) {
			return Text{}, fmt.Errorf("TEXT character %02X: %w", c, ErrRecord)
		}
	}
	t.Characters = string(data[textHead:])
	return t, nil
}
