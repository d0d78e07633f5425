package drivers

import (
	"time"

	"gateline/gateway"
)

// Session is the box's end of a protocol on one line. It does no I/O, reads no
// clock and starts no goroutine; one goroutine calls it.
type Session interface {
	// Step takes the bytes that have arrived since the last call, possibly
	// none, and returns what is to be done now. The slices of the result are
	// valid until the next call. Whatever bytes come, Step does not fail: what
	// it cannot understand it counts and skips.
	Step(now time.Time, in []byte) Output
	// Answer gives the answer to a tap that Step returned. What is to be sent
	// for it comes out of the next Step.
	Answer(now time.Time, tap gateway.Tap, answer gateway.Answer)
	// Show sets what the gate with this address shows between taps.
	Show(address uint8, lane gateway.Lane)
	// Reset forgets half-received bytes and what was to be sent, because the
	// port was opened anew. What makes a repeated tap get its identical answer
	// is kept.
	Reset()
}

// Leaver is a Session that has last words: before a line is closed for good, its
// gates are told that the box goes.
type Leaver interface {
	// Leave lets the session say its last words in the following Steps. It has
	// said them when a Step returns neither Send nor Wake.
	Leave(now time.Time)
}

// Output is what a Session wants done.
type Output struct {
	// Taps are questions to be answered, in the order of their arrival.
	Taps []gateway.Tap
	// Send is to be written to the port at once.
	Send []byte
	// Wake is when Step wants to be called even if nothing arrives; zero =
	// only when something arrives.
	Wake time.Time
}

// Station is what a line asks of the box.
type Station interface {
	// Decide answers a tap. It returns in microseconds and does not fail: what
	// cannot be decided is the manual lane.
	Decide(now time.Time, tap gateway.Tap) gateway.Answer
	// Lane returns what the gate with this address shows between taps.
	Lane(now time.Time, address uint8) gateway.Lane
	// Answered is called once the answers to a batch of taps have been written.
	// Both times count from the read that completed the taps: handed until the
	// answers were handed to the port, written until the port had taken them.
	Answered(handed, written time.Duration)
}
