package drivertest

import (
	"math/rand/v2"
	"time"

	"gateline/drivers"
	"gateline/gateway"
)

// Protocol is what the suite needs to know of a protocol.
type Protocol struct {
	// Name stands in the suite's errors.
	Name string
	// Baud is the speed of the wire, ten bits to a byte.
	Baud int
	// HalfDuplex says that box and gates share one pair of wires: everybody
	// hears everybody, and who speaks while another does damages both. Without
	// it each direction has wires of its own, and what gates say at the same
	// time is put one after the other.
	HalfDuplex bool
	// Box returns the box's end of a line.
	Box func(BoxConfig) (drivers.Session, error)
	// Gate returns a simulated gate that is switched on at Now.
	Gate func(GateConfig) Gate
}

// BoxConfig is what a session is built from.
type BoxConfig struct {
	Gates    *drivers.GateTable
	Counters *drivers.Counters
	Baud     int
	Now      time.Time
	// Random is seeded; a session takes all its chance from it.
	Random *rand.Rand
}

// GateConfig is what a simulated gate is built from.
type GateConfig struct {
	Address uint8
	Baud    int
	Now     time.Time
	Random  *rand.Rand // as in BoxConfig
}

// Gate is the far end: a simulated gate as riders and the wire see it. It does
// no I/O and reads no clock.
type Gate interface {
	// Present lays a credential on the reader; the zero Credential stands for
	// something that cannot be read.
	Present(now time.Time, c gateway.Credential)
	// Step takes what the gate heard since the last call, possibly nothing, and
	// returns what it says, valid until the next call, and when it wants to be
	// called if it hears nothing; zero = only when it hears something.
	Step(now time.Time, in []byte) (send []byte, wake time.Time)
	// Signs returns what the gate did about answers since the last call, in
	// order.
	Signs() []Sign
	// Public returns what riders saw and heard because of answers since the
	// last call, in words of the gate's own: lights, sounds, texts.
	Public() []string
	// Lane returns what the gate shows between taps.
	Lane(now time.Time) gateway.Lane
	// Restart switches the gate off and on. What its maker keeps in memory that
	// survives a power cut, it keeps.
	Restart(now time.Time)
}

// Sign is one thing that a gate does because of an answer: it opens its door,
// or it shows a verdict.
type Sign struct {
	// Door says that the door opens; Verdict then means nothing.
	Door    bool
	Verdict gateway.Verdict
}

// String says what the gate does.
func (s Sign) String() string {
	if s.Door {
		return "door"
	}
	return s.Verdict.String()
}

// fits reports whether an answer tells a gate to give this sign.
func (s Sign) fits(a gateway.Answer) bool {
	if s.Door {
		return a.Open
	}
	return s.Verdict == a.Verdict
}
