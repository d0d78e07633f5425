package simulator

import (
	"time"

	"gateline/drivers/osdp"
	"gateline/gateway"
)

// unit is one reader on a line as those see it who stand before it: a PD, its
// power, and what it shows.
type unit struct {
	pd         *osdp.PD
	fault      readerFault
	turnaround time.Duration
	off        bool
	cards      []card      // presented and not seen by the reader yet
	waits      chan<- sign // of the rider before it; nil = nobody waits
	nextBabble time.Time

	// Since it was switched on: when that was, when it answered first, when it
	// was first polled, from which on it serves; and that it was told what to
	// show between taps.
	powered, answered, served time.Time
	told                      bool
}

// card is a credential held to a reader.
type card struct {
	at   time.Time
	read osdp.Read
}

// maxCards is how many cards may be held to a reader at a time.
const maxCards = 8

// sign is the first thing that a reader shows for a tap.
type sign struct {
	verdict gateway.Verdict
	open    bool
	at      time.Time // the last byte of the command that brought it has arrived
	bytes   int       // of that command
	dark    bool      // no sign: the reader has lost its power
}

// signMost is the longest time that a light for one rider lasts; what lasts
// longer shows what the lane does between riders.
const signMost = 3 * time.Second

// signOf reads an answer from what a reader was told to show.
func signOf(s osdp.Show) (sign, bool) {
	if s.Code == osdp.CmdOUT && s.Out.Control == osdp.OutPulseOn {
		return sign{verdict: gateway.VerdictPass, open: true}, true
	}
	if s.Code != osdp.CmdLED || lane(s) || s.LED.Temp != osdp.TempSet {
		return sign{}, false
	}
	switch s.LED.TempBlink.OnColor {
	case osdp.Red:
		return sign{verdict: gateway.VerdictRefuse}, true
	case osdp.Amber:
		return sign{verdict: gateway.VerdictManual}, true
	}
	return sign{}, false
}

// lane reports whether a light shows what the lane does between riders.
func lane(s osdp.Show) bool {
	return s.Code == osdp.CmdLED && (s.LED.Perm == osdp.PermSet || s.LED.Temp == osdp.TempSet && s.LED.TempTime > signMost)
}

// present holds a card to the reader at an instant.
func (u *unit) present(at time.Time, read osdp.Read) {
	if len(u.cards) < maxCards {
		u.cards = append(u.cards, card{at, read})
	}
}

// hear gives the reader the part of a talk that has come up to an instant, with
// all that was heard of it, and returns what it answers.
func (u *unit) hear(at time.Time, part, whole []byte) []byte {
	for len(u.cards) > 0 && !u.cards[0].at.After(at) {
		u.pd.Present(u.cards[0].at, u.cards[0].read)
		u.cards = append(u.cards[:0], u.cards[1:]...)
	}
	reply := u.pd.Step(at, part)
	if len(reply) > 0 && u.answered.IsZero() {
		u.answered = at
	}
	for _, s := range u.pd.Shown() {
		u.told = u.told || lane(s)
		if first, ok := signOf(s); ok && u.waits != nil {
			first.at, first.bytes = at, len(whole)
			u.tell(first)
		}
	}
	if u.served.IsZero() && polled(whole) && answers(reply) {
		u.served = at
	}
	return reply
}

// tell gives the rider a sign.
func (u *unit) tell(s sign) {
	u.waits <- s
	u.waits = nil
}

// polled reports whether a question ends with a POLL; answers whether a reply
// is none of those that refuse one.
func polled(question []byte) bool {
	f, ok := frameOf(question)
	return ok && !f.Reply && f.Code == osdp.CmdPOLL
}

func answers(reply []byte) bool {
	f, ok := frameOf(reply)
	return ok && f.Code != osdp.ReplyNAK && f.Code != osdp.ReplyBUSY
}

// frameOf reads bytes that are one frame.
func frameOf(b []byte) (osdp.Frame, bool) {
	for len(b) > 0 && b[0] == mark {
		b = b[1:]
	}
	if len(b) == 0 {
		return osdp.Frame{}, false
	}
	f, err := osdp.ParseFrame(b)
	return f, err == nil
}

// mark is the byte that a sender may put before a frame.
const mark = 0xff

// switchOff takes the reader's power: what was held to it, and what the rider
// before it waits for, is gone.
func (u *unit) switchOff() {
	u.off, u.told = true, false
	u.cards = u.cards[:0]
	u.powered, u.answered, u.served = time.Time{}, time.Time{}, time.Time{}
	if u.waits != nil {
		u.tell(sign{dark: true})
	}
}

func (u *unit) switchOn(at time.Time) {
	u.off, u.powered = false, at
	u.pd.PowerCycle(at)
	u.pd.Shown() // what it was told before is dark
}
