package direct

import (
	"bytes"
	"errors"
	"time"

	"gateline/drivers"
	"gateline/gateway"
)

// BoxConfig describes the gates of a line.
type BoxConfig struct {
	Gates *drivers.GateTable
	// Keys holds the key of every gate that proves its frames, by address. A
	// gate with a key is answered only if its frames are proven, one without
	// only if they are not.
	Keys     map[uint8][KeySize]byte
	Counters *drivers.Counters
}

// Box is the box's end of a line, a drivers.Session.
type Box struct {
	cfg   BoxConfig
	peers [256]*peer
	scan  scanner
	taps  []gateway.Tap
	// send collects what the next Step hands out, out is what the last one
	// did. What one Step adds is bounded by the bytes given to it.
	send, out []byte
}

// peer is what the box remembers of one gate.
type peer struct {
	gate *drivers.Gate
	mac  *prover // nil = the gate does not prove its frames
	lane gateway.Lane

	counter uint32 // the last one accepted
	counted bool   // one has been accepted

	// The last tap, its whole body, its answer as sent, and until when a
	// repeat gets that answer. waiting = handed out and not answered yet.
	tap     Frame
	asked   []byte
	answer  []byte
	until   time.Time
	waiting bool
}

var _ drivers.Session = (*Box)(nil)

// NewBox returns the session of a line.
func NewBox(cfg BoxConfig) *Box {
	b := &Box{cfg: cfg}
	for _, g := range cfg.Gates.All() {
		p := &peer{gate: g, asked: make([]byte, 0, maxBody), answer: make([]byte, 0, MaxFrame)}
		if key, ok := cfg.Keys[g.Address]; ok {
			p.mac = newProver(key)
		}
		b.peers[g.Address] = p
	}
	return b
}

// Show sets what the gate shows between taps; it is told in the answer to its
// next heartbeat, within a second.
func (b *Box) Show(address uint8, lane gateway.Lane) {
	if p := b.peers[address]; p != nil {
		p.lane = lane
	}
}

// Reset forgets half a frame and what was not sent. The last answers and the
// counters stay.
func (b *Box) Reset() {
	b.scan.reset()
	b.send = b.send[:0]
}

// Step implements drivers.Session. It never asks to be woken: here the box
// only answers.
func (b *Box) Step(now time.Time, in []byte) drivers.Output {
	b.taps = b.taps[:0]
	for len(in) > 0 {
		block, rest, tooLong := b.scan.next(in)
		if in = rest; tooLong {
			b.cfg.Counters.Noise.Add(1)
		} else if block != nil {
			b.receive(now, block)
		}
	}
	b.out, b.send = b.send, b.out[:0]
	return drivers.Output{Taps: b.taps, Send: b.out}
}

// receive handles what stood between two delimiters.
func (b *Box) receive(now time.Time, block []byte) {
	f, err := parse(block)
	switch {
	case errors.Is(err, errNoise):
		b.cfg.Counters.Noise.Add(1)
		return
	case err != nil || f.Kind != KindTap && f.Kind != KindHeartbeat:
		b.cfg.Counters.Malformed.Add(1)
		return
	}
	p := b.peers[f.Address]
	if p == nil {
		b.cfg.Counters.UnknownGate.Add(1)
		return
	}
	if f.Proven != (p.mac != nil) || f.Proven && !p.mac.proves(f.signed, f.tag) {
		b.cfg.Counters.Unproven.Add(1)
		p.gate.SetTrouble(drivers.TroubleKey, true)
		return
	}
	p.gate.SetTrouble(drivers.TroubleKey, false)
	if f.Kind == KindTap && bytes.Equal(f.body, p.asked) && (p.waiting || now.Before(p.until)) {
		b.repeat(now, p)
		return
	}
	if f.Proven && p.counted && f.Counter <= p.counter {
		b.cfg.Counters.Replayed.Add(1)
		return
	}
	p.counter, p.counted = f.Counter, f.Proven
	p.gate.MarkHeard(now, drivers.GateServing)
	if f.Kind == KindHeartbeat {
		b.cfg.Counters.Heartbeats.Add(1)
		b.send = appendFrame(b.send, &Frame{
			Kind: KindLane, Address: f.Address, Number: f.Number, Lane: p.lane, Proven: f.Proven, Counter: f.Counter,
		}, p.mac)
		return
	}
	b.cfg.Counters.Taps.Add(1)
	p.gate.Counters.Taps.Add(1)
	p.tap, p.asked, p.waiting = f.Frame, append(p.asked[:0], f.body...), true
	b.taps = append(b.taps, gateway.Tap{Gate: f.Address, Number: f.Number, Purpose: f.Purpose, Credential: f.Credential})
}

// repeat answers a tap that is asked again: with the very bytes of the first
// answer, or not yet where the first is still being decided.
func (b *Box) repeat(now time.Time, p *peer) {
	b.cfg.Counters.Repeats.Add(1)
	p.gate.MarkHeard(now, drivers.GateServing)
	if !p.waiting {
		b.send = append(b.send, p.answer...)
	}
}

// Answer implements drivers.Session. A tap that the gate has meanwhile
// replaced by another is not answered any more.
func (b *Box) Answer(now time.Time, tap gateway.Tap, a gateway.Answer) {
	p := b.peers[tap.Gate]
	if p == nil || !p.waiting || p.tap.Number != tap.Number || p.tap.Credential != tap.Credential || p.tap.Purpose != tap.Purpose {
		return
	}
	p.waiting, p.until = false, now.Add(a.TTL)
	p.answer = appendFrame(p.answer[:0], &Frame{
		Kind: KindVerdict, Address: tap.Gate, Number: tap.Number,
		Verdict: a.Verdict, Reason: a.Reason, Open: a.Open, Lamp: a.Lamp, TTL: a.TTL,
		Proven: p.tap.Proven, Counter: p.tap.Counter,
	}, p.mac)
	b.send = append(b.send, p.answer...)
}
