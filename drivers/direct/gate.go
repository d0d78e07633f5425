package direct

import (
	"time"

	"gateline/gateway"
)

// What a gate does by itself; docs/protocol.md asks it of every maker.
const (
	// HeartbeatEvery is how often a gate gives a sign of life.
	HeartbeatEvery = time.Second
	// RetryEvery is how long a gate waits for a verdict before it asks again.
	RetryEvery = 300 * time.Millisecond
	// GiveUpAfter is how long it goes on asking.
	GiveUpAfter = 3 * time.Second
	// SilenceLimit is how long a gate may hear nothing from the box before it
	// shows the manual lane by itself.
	SilenceLimit = 3 * time.Second
)

// Result is the end of one tap at the gate.
type Result struct {
	Number uint16
	// Answered is false where no verdict came in time; the gate then behaves
	// as for the manual lane, and Answer is the zero Answer.
	Answered bool
	Answer   gateway.Answer
	// Tries is how often the question was sent.
	Tries int
}

// Gate is the gate's end of a line, for the simulator and as the model of a
// gate's firmware. It has at most one tap in the air. Like Box it does no I/O.
type Gate struct {
	address uint8
	mac     *prover
	counter uint32
	number  uint16
	scan    scanner
	send    []byte

	inAir   bool
	asked   Frame
	frame   []byte // of the tap in the air, as sent
	tries   int
	retryAt time.Time
	giveUp  time.Time

	beatAt time.Time
	beat   Frame // the last heartbeat sent
	heard  time.Time
	lane   gateway.Lane
}

// NewGate returns a gate that was switched on at now. key may be nil; counter
// is the last counter that the gate has used under its key.
func NewGate(now time.Time, address uint8, key *[KeySize]byte, counter uint32) *Gate {
	g := &Gate{address: address, counter: counter, beatAt: now, heard: now}
	if key != nil {
		g.mac = newProver(*key)
	}
	return g
}

// Lane returns what the gate shows between taps at now.
func (g *Gate) Lane(now time.Time) gateway.Lane {
	if now.Sub(g.heard) >= SilenceLimit {
		return gateway.LaneManual
	}
	return g.lane
}

// Tap asks a question; the bytes come out of the next Step. It replaces one
// that is still in the air. It returns the tap's number.
func (g *Gate) Tap(now time.Time, purpose gateway.Purpose, credential gateway.Credential) uint16 {
	g.number++
	g.asked = g.next(Frame{Kind: KindTap, Number: g.number, Purpose: purpose, Credential: credential})
	g.frame = appendFrame(g.frame[:0], &g.asked, g.mac)
	g.inAir, g.tries = true, 0
	g.retryAt, g.giveUp = now, now.Add(GiveUpAfter)
	return g.number
}

func (g *Gate) next(f Frame) Frame {
	f.Address = g.address
	if g.mac != nil {
		g.counter++
		f.Proven, f.Counter = true, g.counter
	}
	return f
}

// Step takes bytes that arrived and returns what to send, when to be called
// again, and the result of a tap that has ended, if one has. send is valid
// until the next call.
func (g *Gate) Step(now time.Time, in []byte) (result *Result, send []byte, wake time.Time) {
	for len(in) > 0 {
		block, rest, tooLong := g.scan.next(in)
		if in = rest; block != nil && !tooLong {
			if r := g.receive(now, block); r != nil {
				result = r
			}
		}
	}
	g.send = g.send[:0]
	switch {
	case g.inAir && !now.Before(g.giveUp):
		result = &Result{Number: g.asked.Number, Tries: g.tries}
		g.inAir = false
	case g.inAir && !now.Before(g.retryAt):
		g.send = append(g.send, g.frame...)
		g.tries++
		g.retryAt = now.Add(RetryEvery)
	case !g.inAir && !now.Before(g.beatAt):
		g.number++
		g.beat = g.next(Frame{Kind: KindHeartbeat, Number: g.number})
		g.send = appendFrame(g.send, &g.beat, g.mac)
		g.beatAt = now.Add(HeartbeatEvery)
	}
	wake = g.beatAt
	if g.inAir {
		if wake = g.retryAt; g.giveUp.Before(wake) {
			wake = g.giveUp
		}
	}
	return result, g.send, wake
}

func (g *Gate) receive(now time.Time, block []byte) *Result {
	f, err := parse(block)
	if err != nil || f.Address != g.address || f.Proven != (g.mac != nil) || f.Proven && !g.mac.proves(f.signed, f.tag) {
		return nil
	}
	switch {
	case f.Kind == KindLane && f.Number == g.beat.Number && f.Counter == g.beat.Counter:
		g.heard, g.lane = now, f.Lane
	case f.Kind == KindVerdict && g.inAir && f.Number == g.asked.Number && f.Counter == g.asked.Counter:
		g.heard, g.inAir = now, false
		// A line full of taps is sign of life enough.
		g.beatAt = now.Add(HeartbeatEvery)
		return &Result{Number: f.Number, Answered: true, Tries: g.tries, Answer: gateway.Answer{
			Verdict: f.Verdict, Reason: f.Reason, Open: f.Open, Lamp: f.Lamp, TTL: f.TTL,
		}}
	}
	return nil
}
