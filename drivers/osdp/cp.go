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
	Baud    int
	Devices []Device
	// Gates has a gate for each device.
	Gates    *drivers.GateTable
	Reads    ReadMap
	Counters *drivers.Counters
	// Random gives the challenge of a handshake from a cryptographically secure
	// source.
	Random func() [8]byte
}

const (
	// lampLeast is the shortest time that the lane's light lasts unrenewed.
	// lampShare is the part of a line's time that renewing all of them may take;
	// on a slow line with many readers they last longer for it.
	lampLeast = 10 * time.Second
	lampShare = 30
	// lampBytes and lampTurn are what renewing one costs: a command and its ACK
	// in Secure Channel, and a reader's turnaround.
	lampBytes = 47
	lampTurn  = 4 * time.Millisecond
	// lampSpace is how many questions at least lie between two renewals.
	lampSpace = 16
	// signsRest is how long after an answer's signs its reader has been told of
	// the lane again and is not asked more often than others any more.
	signsRest = time.Second
)

// CP is the box's end of a line of readers, a drivers.Session: it asks, one
// reader at a time, in the order that bus.Bus finds.
type CP struct {
	cfg     CPConfig
	bus     *bus.Bus
	links   []*link
	indexOf [256]int // by address, -1 = nobody
	states  []atomic.Uint32
	scan    Scanner
	doubles doubles
	listen  listener
	noisy   bool // noise was heard since the last question

	asked     int       // index of the reader whose answer is due, -1 = the line is free
	askedAt   time.Time // first byte of the question
	sentAt    time.Time // last byte of the question on the wire
	replyBy   time.Time // for the first byte of the answer
	deadline  time.Time // for the next byte, never before replyBy: what comes may be somebody else's voice
	firstByte time.Time // when the answer began; zero = not yet
	free      time.Time // the line may be used from then on
	stepped   time.Time // the last Step
	leaving   bool
	// polls is how many questions there were since something was told, signsEnd
	// when the signs of the last answer are over and the lane is shown again:
	// lights are renewed apart from that and from each other, so that no round
	// is much longer than another.
	polls    int
	signsEnd time.Time

	taps   []gateway.Tap
	number uint16 // of the last tap
}

var (
	_ drivers.Session = (*CP)(nil)
	_ drivers.Leaver  = (*CP)(nil)
)

// NewCP returns the session of a line, or every fault of its description at
// once.
func NewCP(cfg CPConfig, now time.Time) (*CP, error) {
	faults := []error{cfg.Reads.Validate()}
	n := len(cfg.Devices)
	c := &CP{cfg: cfg, asked: -1, states: make([]atomic.Uint32, n), doubles: make(doubles, n), listen: newListener(n)}
	c.bus = bus.New(n, cfg.Baud, now)
	lampFor := max(lampLeast, 2*lampShare*time.Duration(n)*(c.bus.Wire(lampBytes)+lampTurn))
	for i := range c.indexOf {
		c.indexOf[i] = -1
	}
	for i := range cfg.Devices {
		d := &cfg.Devices[i]
		gate := cfg.Gates.At(d.Address)
		switch {
		case d.Address > MaxAddress:
			faults = append(faults, fmt.Errorf("reader address %d is above %d", d.Address, MaxAddress))
			continue
		case c.indexOf[d.Address] >= 0:
			faults = append(faults, fmt.Errorf("reader address %d is there twice", d.Address))
		case gate == nil:
			faults = append(faults, fmt.Errorf("reader address %d is that of no gate", d.Address))
		case d.Key != nil && d.Key.Weak():
			faults = append(faults, fmt.Errorf("the key of reader %d is one that everybody tries: take a random one", d.Address))
		}
		if err := d.Signals.Validate(); err != nil {
			faults = append(faults, fmt.Errorf("reader %d: %w", d.Address, err))
		}
		c.indexOf[d.Address] = i
		if gate != nil {
			c.links = append(c.links, newLink(d, gate, lampFor, lampFor/4*time.Duration(i)/time.Duration(n), cfg.Random))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("line of readers: %w", err)
	}
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
		c.links[i].show.lane = lane
	}
}

// Leave implements drivers.Leaver: every reader in service is told that it is
// out of service. Nobody is asked for taps any more.
func (c *CP) Leave(time.Time) {
	c.leaving = true
	for _, l := range c.links {
		l.leave()
	}
}

// Reset implements drivers.Session. Every reader is started over: what it heard
// meanwhile nobody knows.
func (c *CP) Reset() {
	c.scan.Reset()
	c.bus.Reset()
	c.asked, c.firstByte, c.free = -1, time.Time{}, time.Time{}
	c.listen.after = -1
	for i, l := range c.links {
		l.restart()
		c.noteState(i)
	}
}

// Answer implements drivers.Session. It goes before everything else that waits
// on the line.
func (c *CP) Answer(now time.Time, tap gateway.Tap, a gateway.Answer) {
	if i := c.indexOf[tap.Gate]; i >= 0 {
		c.links[i].answer(now, tap, a, now.Add(a.TTL))
		c.bus.SetUrgent(i, c.links[i].urgent, now)
		c.signsEnd = now.Add(c.cfg.Devices[i].Signals.For + signsRest)
	}
}

// Step implements drivers.Session.
func (c *CP) Step(now time.Time, in []byte) drivers.Output {
	c.taps = c.taps[:0]
	if now.Sub(c.stepped) >= MaxReadAge { // the box stood still
		for _, l := range c.links {
			l.draining = true
		}
	}
	c.stepped = now
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
		c.wait(now.Add(InterByte))
	}
	c.frames(now, in)
}

// wait sets the deadline. Who babbles does not hold the line: it is never after
// the end of an answer twice as long as a box has to take that names no size.
func (c *CP) wait(until time.Time) {
	last := c.replyBy.Add(max(bus.MaxTimeout, c.bus.Wire(2*MinRxBuffer)))
	switch c.deadline = until; {
	case until.Before(c.replyBy):
		c.deadline = c.replyBy
	case until.After(last):
		c.deadline = last
	}
}

// frames takes what has come to its end.
func (c *CP) frames(now time.Time, in []byte) {
	for {
		raw, rest, noise := c.scan.Next(in)
		c.count(now, noise)
		if in = rest; raw == nil {
			return
		}
		f, err := ParseFrame(raw)
		switch {
		case err != nil && !errors.Is(err, ErrBlock):
			c.cfg.Counters.Malformed.Add(1)
		case !f.Reply:
			c.echo(now, len(rest))
		case c.asked < 0 || c.links[c.asked].address != f.Address:
			c.stranger(&f)
		default:
			c.answered(now, &f, raw)
		}
	}
}

// echo handles our own voice, on an adapter that hears itself: the answer has
// not begun with it. more bytes came behind it.
func (c *CP) echo(now time.Time, more int) {
	if c.asked < 0 {
		return
	}
	c.firstByte = time.Time{}
	if more > 0 {
		c.firstByte = now.Add(-c.bus.Wire(more))
		return
	}
	c.wait(now.Add(c.bus.Timeout(c.asked)))
}

func (c *CP) count(now time.Time, n Noise) {
	if n.Skipped > 0 || n.Damaged > 0 {
		c.cfg.Counters.Noise.Add(1)
		c.listen.disturbed()
		c.noisy = true
		c.bus.Stray(now)
	}
}

// stranger counts a reply that nobody waits for: of a reader that is not
// configured, a late one, or a second one to the same question.
func (c *CP) stranger(f *Frame) {
	i := c.indexOf[f.Address]
	if i < 0 {
		c.cfg.Counters.UnknownGate.Add(1)
		return
	}
	c.cfg.Counters.Late.Add(1)
	c.bus.Late(i)
	c.doubles.again(i)
	c.listen.disturbed()
	c.listen.second = c.listen.second || i == c.listen.after
	c.noteDoubles()
}

// listened ends a time that the line was quiet to listen for a second answer.
func (c *CP) listened() {
	d := &c.doubles[c.listen.after]
	if d.heard--; c.listen.second {
		d.heard += 1 + listenHeard
	}
	d.heard = min(max(d.heard, 0), listenMax)
	c.listen.after = -1
	c.noteDoubles()
}

// answered handles a frame of the reader whose answer is due.
func (c *CP) answered(now time.Time, f *Frame, raw []byte) {
	i := c.asked
	l := c.links[i]
	before := l.failures
	out, read := l.take(now, f, raw)
	if out == outcomeNone {
		return // the right answer may still come
	}
	if l.failures > before {
		c.cfg.Counters.Unproven.Add(1)
	}
	room := c.polls >= max(len(c.links), lampSpace) && now.After(c.signsEnd)
	more := out == outcomeGood && l.goesOn(now, room)
	c.bus.Answered(i, now, max(c.firstByte.Sub(c.sentAt), 0), out == outcomeEvent, more)
	c.bus.SetUrgent(i, l.urgent, now)
	if c.doubles.clean(i) {
		c.noteDoubles()
	}
	c.finish(now)
	if c.listen.answered(i, c.doubles[i].heard, c.noisy, now) {
		c.free = now.Add(quiet)
	}
	c.noteState(i)
	l.missed = 0
	l.gate.MarkHeard(now, l.gateState())
	l.gate.NoteRoundTrip(now.Sub(c.askedAt))
	if read == nil {
		c.cfg.Counters.Heartbeats.Add(1)
		return
	}
	c.tapped(now, i, c.cfg.Reads.Credential(*read))
}

// tapped asks for an answer, or gives the last one again to a reader that
// reports the same read once more.
func (c *CP) tapped(now time.Time, i int, credential gateway.Credential) {
	l := c.links[i]
	if l.repeats(now, credential) {
		c.cfg.Counters.Repeats.Add(1)
		l.answer(now, l.lastTap, l.lastAnswer, l.same) // its end stays
		c.bus.SetUrgent(i, l.urgent, now)
		return
	}
	c.number++
	c.cfg.Counters.Taps.Add(1)
	l.gate.Counters.Taps.Add(1)
	c.taps = append(c.taps, gateway.Tap{
		Gate: l.address, Number: c.number, Purpose: c.cfg.Devices[i].Purpose, Credential: credential,
	})
}

// expire ends the wait for an answer that did not come, or not to its end.
func (c *CP) expire(now time.Time) {
	c.scan.Gap()
	if c.frames(now, nil); c.asked < 0 || now.Before(c.deadline) {
		return // the answer stood behind noise
	}
	i := c.asked
	gate := c.links[i].gate
	damaged := !c.firstByte.IsZero()
	if !damaged {
		gate.Counters.Missed.Add(1)
		if c.doubles.missed(i) {
			c.noteDoubles()
		}
	} else {
		gate.Counters.Damaged.Add(1)
		c.doubles.damaged(i)
		c.listen.disturbed()
		c.noteDoubles()
	}
	l := c.links[i]
	l.unheard()
	if c.bus.Missed(i, now, damaged) || c.leaving && l.missed > 1 {
		l.restart()
		c.bus.SetUrgent(i, false, now)
	}
	c.finish(now)
	c.noteState(i)
}

// finish frees the line.
func (c *CP) finish(now time.Time) {
	c.asked, c.firstByte = -1, time.Time{}
	c.free = now.Add(c.bus.Gap())
}

// left reports whether every reader has been told that the box goes.
func (c *CP) left(now time.Time) bool {
	for _, l := range c.links {
		if !l.left(now) {
			return false
		}
	}
	return true
}

func (c *CP) noteState(i int) { c.states[i].Store(uint32(c.links[i].state)) }

func (c *CP) noteDoubles() {
	for i, l := range c.links {
		l.gate.SetTrouble(drivers.TroubleDuplicate, c.doubles.suspect(i))
	}
}

// ask returns the next question, or when there will be one.
func (c *CP) ask(now time.Time) (send []byte, wake time.Time) {
	if c.asked >= 0 {
		return nil, c.deadline
	}
	if now.Before(c.free) {
		return nil, c.free
	}
	if c.listen.after >= 0 {
		c.listened()
	}
	if c.leaving && c.left(now) {
		return nil, time.Time{}
	}
	for i, l := range c.links {
		ready, at := l.ready(now)
		if c.leaving && l.left(now) {
			ready, at = false, now.Add(time.Hour)
		}
		c.bus.Hold(i, at, !ready)
	}
	i, wake := c.bus.Next(now)
	if i < 0 {
		return nil, wake
	}
	l := c.links[i]
	send = l.next(now)
	if c.polls++; l.order {
		c.polls = 0
	}
	c.bus.SetUrgent(i, l.urgent, now)
	l.gate.Counters.Asked.Add(1)
	c.asked, c.askedAt, c.noisy = i, now, false
	c.sentAt = now.Add(c.bus.Wire(len(send)))
	c.replyBy = c.sentAt.Add(c.bus.Timeout(i))
	c.deadline = c.replyBy
	return send, c.deadline
}
