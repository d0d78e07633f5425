package osdp

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"gateline/drivers"
	"gateline/drivers/bus"
	"gateline/gateway"
)

// Device is one reader on the line.
type Device struct {
	// Address is the reader's, 0 to MaxAddress, and the gate's in the table.
	Address byte
	// Key is the reader's own key. Nil = it is spoken to in clear, which the
	// configuration has to ask for. A reader with a key is never spoken to in
	// clear or under the default key, whatever it says of itself.
	Key     *Key
	Signals Signals
	// Purpose is what the gate asks for; OSDP has no word for it.
	Purpose gateway.Purpose
}

// CPConfig describes a line.
type CPConfig struct {
	Baud     int
	Devices  []Device
	Gates    *drivers.GateTable
	Reads    ReadMap
	Counters *drivers.Counters
	// Random gives the challenge of a handshake from a cryptographically secure
	// source.
	Random func() [8]byte
}

// CP is the box's end of a line of readers, a drivers.Session: it asks, one
// reader at a time, in the order that bus.Bus finds.
type CP struct {
	cfg     CPConfig
	bus     *bus.Bus
	links   []*link
	indexOf [256]int // by address, -1 = nobody
	states  []atomic.Uint32
	scan    Scanner

	asked     int       // index of the reader whose answer is due, -1 = the line is free
	sentAt    time.Time // last byte of the question on the wire
	deadline  time.Time // for the next byte of the answer
	firstByte time.Time // when the answer began; zero = not yet
	free      time.Time // the line may be used from then on

	taps   []gateway.Tap
	number uint16 // of the last tap
}

var _ drivers.Session = (*CP)(nil)

// NewCP returns the session of a line, or every fault of its description at
// once.
func NewCP(cfg CPConfig, now time.Time) (*CP, error) {
	faults := []error{cfg.Reads.Validate()}
	c := &CP{cfg: cfg, asked: -1, states: make([]atomic.Uint32, len(cfg.Devices))}
	for i := range c.indexOf {
		c.indexOf[i] = -1
	}
	for i := range cfg.Devices {
		d := &cfg.Devices[i]
		switch {
		case d.Address > MaxAddress:
			faults = append(faults, fmt.Errorf("reader address %d is above %d", d.Address, MaxAddress))
			continue
		case c.indexOf[d.Address] >= 0:
			faults = append(faults, fmt.Errorf("reader address %d is there twice", d.Address))
		case d.Key != nil && d.Key.Weak():
			faults = append(faults, fmt.Errorf("the key of reader %d is one that everybody tries: take a random one", d.Address))
		}
		c.indexOf[d.Address] = i
		c.links = append(c.links, newLink(d.Address, d.Key, &d.Signals, cfg.Random))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("line of readers: %w", err)
	}
	c.bus = bus.New(len(c.links), cfg.Baud, now)
	return c, nil
}

// State returns how far the CP is with the reader at this address, and whether
// there is one. It may be called at any time.
func (c *CP) State(address byte) (State, bool) {
	i := c.indexOf[address]
	if i < 0 {
		return StateProbe, false
	}
	return State(c.states[i].Load()), true
}

// Show implements drivers.Session.
func (c *CP) Show(address uint8, lane gateway.Lane) {
	if i := c.indexOf[address]; i >= 0 {
		c.links[i].lane = lane
	}
}

// Reset implements drivers.Session. Every reader is started over: what it heard
// meanwhile nobody knows.
func (c *CP) Reset() {
	c.scan.Reset()
	c.asked, c.free = -1, time.Time{}
	for i, l := range c.links {
		l.restart()
		c.noteState(i)
	}
}

// Answer implements drivers.Session. It goes before everything else that waits
// on the line.
func (c *CP) Answer(now time.Time, tap gateway.Tap, a gateway.Answer) {
	i := c.indexOf[tap.Gate]
	if i < 0 {
		return
	}
	l := c.links[i]
	l.answer(now, tap.Purpose, a)
	c.bus.SetUrgent(i, l.urgent, now)
}

// Step implements drivers.Session.
func (c *CP) Step(now time.Time, in []byte) drivers.Output {
	c.taps = c.taps[:0]
	if len(in) > 0 {
		c.receive(now, in)
	}
	if c.asked >= 0 && !now.Before(c.deadline) {
		c.expire(now)
	}
	out := drivers.Output{Taps: c.taps}
	if len(c.taps) == 0 { // else the answers come first
		out.Send, out.Wake = c.ask(now)
	}
	return out
}

// receive takes bytes from the line.
func (c *CP) receive(now time.Time, in []byte) {
	if c.asked >= 0 {
		if c.firstByte.IsZero() {
			c.firstByte = now.Add(-c.bus.Wire(len(in)))
		}
		c.deadline = now.Add(InterByte)
	}
	for {
		raw, rest, noise := c.scan.Next(in)
		c.count(noise)
		if in = rest; raw == nil {
			return
		}
		f, err := ParseFrame(raw)
		switch {
		case err != nil && !errors.Is(err, ErrBlock):
			c.cfg.Counters.Malformed.Add(1)
		case !f.Reply: // our own voice, on an adapter that hears itself
		case c.asked < 0 || c.links[c.asked].address != f.Address:
			c.stranger(&f)
		default:
			c.answered(now, &f, raw)
		}
	}
}

func (c *CP) count(n Noise) {
	if n.Skipped > 0 || n.Damaged > 0 {
		c.cfg.Counters.Noise.Add(1)
	}
}

// stranger counts a reply that nobody waits for: a late one, or one of a reader
// that is not configured.
func (c *CP) stranger(f *Frame) {
	if c.indexOf[f.Address] < 0 {
		c.cfg.Counters.UnknownGate.Add(1)
		return
	}
	c.cfg.Counters.Repeats.Add(1)
}

// answered handles a frame of the reader whose answer is due.
func (c *CP) answered(now time.Time, f *Frame, raw []byte) {
	i := c.asked
	l := c.links[i]
	inSession := l.channel != nil
	out, read := l.take(now, f, raw)
	if out == outcomeNone {
		return // the right answer may still come
	}
	if inSession && l.channel == nil || l.failures > 0 && l.state == StateChallenge {
		c.cfg.Counters.Unproven.Add(1)
	}
	took := max(c.firstByte.Sub(c.sentAt), 0)
	c.bus.Answered(i, now, took, out == outcomeEvent)
	c.bus.SetUrgent(i, l.urgent, now)
	c.finish(now)
	c.noteState(i)
	if g := c.cfg.Gates.At(l.address); g != nil {
		g.MarkHeard(now, drivers.GateServing)
	}
	if read != nil {
		c.number++
		c.cfg.Counters.Taps.Add(1)
		c.taps = append(c.taps, gateway.Tap{
			Gate: l.address, Number: c.number, Purpose: c.cfg.Devices[i].Purpose, Credential: c.cfg.Reads.Credential(*read),
		})
		return
	}
	c.cfg.Counters.Heartbeats.Add(1)
}

// expire ends the wait for an answer that did not come, or not to its end.
func (c *CP) expire(now time.Time) {
	i := c.asked
	c.scan.Gap()
	_, _, noise := c.scan.Next(nil)
	c.count(noise)
	if c.bus.Missed(i, now) {
		c.links[i].restart()
	}
	c.finish(now)
	c.noteState(i)
}

// finish frees the line.
func (c *CP) finish(now time.Time) {
	c.asked, c.firstByte = -1, time.Time{}
	c.free = now.Add(c.bus.Gap())
}

func (c *CP) noteState(i int) { c.states[i].Store(uint32(c.links[i].state)) }

// ask returns the next question, or when there will be one.
func (c *CP) ask(now time.Time) (send []byte, wake time.Time) {
	if c.asked >= 0 {
		return nil, c.deadline
	}
	if now.Before(c.free) {
		return nil, c.free
	}
	for i, l := range c.links {
		ready, at := l.ready(now)
		c.bus.Hold(i, at, !ready)
	}
	i, wake := c.bus.Next(now)
	if i < 0 {
		return nil, wake
	}
	send = c.links[i].next(now)
	c.asked = i
	c.sentAt = now.Add(c.bus.Wire(len(send)))
	c.deadline = c.sentAt.Add(c.bus.Timeout(i))
	return send, c.deadline
}
