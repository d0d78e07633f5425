package osdp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gateline/drivers"
	"gateline/gateway"
)

// simBus is a half-duplex line in virtual time: a CP, readers behind one pair
// of wires, bytes that take their time, a turnaround, damage.
type simBus struct {
	t        testing.TB
	now      time.Time
	r        *rand.Rand
	cp       *CP
	pds      []*PD
	dead     map[int]bool
	mute     map[int]bool           // readers that hear and are not heard
	turn     time.Duration          // the readers' turnaround
	slow     map[int]time.Duration  // of readers that differ
	think    map[byte]time.Duration // of commands that take longer, by code
	software time.Duration          // the box's and its host's part of each exchange
	errors   float64                // rate of damaged bits
	// nextError is how many bits are good until the next one that is not.
	nextError, damaged, exchanges int
	echo                          bool // the box's adapter hears itself
	char                          time.Duration
	counters                      drivers.Counters

	// answer decides; taps that came to the box, and when.
	answer  func(gateway.Tap) gateway.Answer
	tapped  map[uint8]time.Time // presented and not shown yet
	waits   []time.Duration     // tap → first sign at the reader
	taps    int
	instead func(i int, f *Frame) []byte // nil, or what a reader answers that does not take the command in
	onShown func(address uint8, s Show)
	onSend  func([]byte) // nil, or told of all that the box says
	onReply func([]byte) // nil, or told of every answer, empty = none
	// events are things that happen at the readers, in order of time.
	events []simEvent
}

type simEvent struct {
	at time.Time
	do func()
}

var simStart = time.Date(2022, 5, 30, 8, 0, 0, 0, gateway.Zone)

func simKey(i int) Key { return Key{byte(i), 9, 7, 3, 200, byte(i * 3)} }

func newSimBus(t testing.TB, seed uint64, readers, baud int, secure bool, turn time.Duration) *simBus {
	t.Helper()
	b := &simBus{
		t: t, now: simStart, r: rand.New(rand.NewPCG(seed, 1)), dead: map[int]bool{}, turn: turn,
		software: time.Millisecond, char: 10 * time.Second / time.Duration(baud), tapped: map[uint8]time.Time{},
	}
	b.answer = func(gateway.Tap) gateway.Answer {
		return gateway.Answer{Verdict: gateway.VerdictPass, Open: true, TTL: 3 * time.Second}
	}
	var gates []*drivers.Gate
	var devices []Device
	for i := range readers {
		gates = append(gates, &drivers.Gate{Name: fmt.Sprint(i), Address: uint8(i)})
		d := Device{Address: byte(i), Signals: DefaultSignals()}
		cfg := PDConfig{Address: byte(i), Rand: zeroes{b.r}, Capabilities: simCapabilities(), RequireSecure: secure}
		if key := simKey(i); secure {
			d.Key, cfg.Key = &key, &key
		}
		devices = append(devices, d)
		b.pds = append(b.pds, NewPD(cfg))
	}
	table, err := drivers.NewGateTable(gates...)
	if err != nil {
		t.Fatal(err)
	}
	b.cp, err = NewCP(CPConfig{
		Baud: baud, Devices: devices, Gates: table, Reads: DefaultReadMap(), Counters: &b.counters,
		Random: func() (a [8]byte) { _, _ = zeroes{b.r}.Read(a[:]); return a },
	}, b.now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range readers {
		b.cp.Show(byte(i), gateway.LaneAuto)
	}
	return b
}

func simCapabilities() Capabilities {
	c := DefaultCapabilities()
	c.Outputs, c.OutputLevel, c.LEDs, c.LEDLevel, c.BuzzerLevel, c.CRC, c.AES = 1, 4, 1, 4, 2, true, true
	return c
}

// zeroes reads from a seeded source; a simulation repeats itself.
type zeroes struct{ r *rand.Rand }

func (z zeroes) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(z.r.Uint32())
	}
	return len(b), nil
}

// until lets the line live until t.
func (b *simBus) until(t time.Time) {
	for b.now.Before(t) {
		b.happen()
		out := b.step(nil)
		if len(out.Send) == 0 {
			next := t
			if !out.Wake.IsZero() && out.Wake.Before(next) {
				next = out.Wake
			}
			if len(b.events) > 0 && b.events[0].at.Before(next) {
				next = b.events[0].at
			}
			b.now = maxTime(next, b.now.Add(time.Microsecond))
			continue
		}
		b.exchange(out.Send, out.Wake)
	}
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// step is what a line does with its session.
func (b *simBus) step(in []byte) drivers.Output {
	for {
		out := b.cp.Step(b.now, in)
		in = nil
		if len(out.Taps) == 0 {
			return out
		}
		for _, tap := range slices.Clone(out.Taps) {
			b.taps++
			b.now = b.now.Add(b.software)
			b.cp.Answer(b.now, tap, b.answer(tap))
		}
	}
}

func (b *simBus) happen() {
	for len(b.events) > 0 && !b.events[0].at.After(b.now) {
		b.events[0].do()
		b.events = b.events[1:]
	}
}

// exchange puts a question on the wire and brings the answer, if there is one.
func (b *simBus) exchange(send []byte, deadline time.Time) {
	b.exchanges++
	if b.onSend != nil {
		b.onSend(send)
	}
	heard := b.damage(send)
	arrived := b.now.Add(time.Duration(len(send)) * b.char)
	b.now = arrived
	b.happen()
	var reply []byte
	turn := b.turn
	for i := range b.pds {
		if b.dead[i] {
			continue
		}
		said := b.hear(i, arrived, heard)
		if t, ok := b.slow[i]; ok && len(said) > 0 {
			turn = t
		}
		if f, err := ParseFrame(send[1:]); err == nil && len(said) > 0 {
			turn = max(turn, b.think[f.Code])
		}
		if !b.mute[i] {
			reply = b.collide(reply, said)
		}
		for _, s := range b.pds[i].Shown() {
			b.shown(uint8(i), s)
		}
	}
	if b.onReply != nil {
		b.onReply(reply)
	}
	if len(reply) == 0 {
		if b.echo {
			b.step(send)
		}
		b.now = maxTime(deadline, b.now)
		return
	}
	if b.echo {
		b.step(send)
	}
	begin := arrived.Add(max(turn, 2*b.char))
	if deadline = b.cp.deadline; begin.After(deadline) { // what came meanwhile may have changed it
		b.now = deadline
		b.step(nil) // given up before it began
	}
	b.now = begin.Add(time.Duration(len(reply)) * b.char)
	b.happen()
	b.now = b.now.Add(300 * time.Microsecond) // drivers and scheduling
	if out := b.step(b.damage(reply)); len(out.Send) > 0 {
		b.exchange(out.Send, out.Wake)
	}
}

// hear lets a reader hear a question.
func (b *simBus) hear(i int, at time.Time, heard []byte) []byte {
	if f, err := ParseFrame(heard[1:]); b.instead != nil && err == nil {
		if said := b.instead(i, &f); said != nil {
			return said
		}
	}
	return b.pds[i].Step(at, heard)
}

// collide is what two senders at once make of each other's bytes.
func (b *simBus) collide(one, other []byte) []byte {
	if len(one) == 0 || len(other) == 0 {
		return append(one, other...)
	}
	out := bytes.Clone(one)
	for i, c := range other {
		if i == len(out) {
			return append(out, other[i:]...)
		}
		if out[i] != c {
			out[i] = byte(b.r.Uint32())
		}
	}
	return out
}

// damage flips bits and loses bytes at the rate of errors.
func (b *simBus) damage(in []byte) []byte {
	if b.errors == 0 {
		return in
	}
	out, bits := in, 8*len(in)
	for ; b.nextError < bits; b.nextError += 1 + int(b.r.ExpFloat64()/b.errors) {
		if b.damaged++; &out[0] == &in[0] {
			out = bytes.Clone(in)
		}
		out[b.nextError/8] ^= 1 << (b.nextError % 8)
	}
	b.nextError -= bits
	if len(out) > 1 && &out[0] != &in[0] && b.r.IntN(8) == 0 {
		out = slices.Delete(out, 1, 2)
	}
	return out
}

// present lays a card on reader i at t.
func (b *simBus) present(i int, t time.Time, card []byte) {
	b.events = append(b.events, simEvent{t, func() {
		b.tapped[uint8(i)] = t
		b.pds[i].Present(t, Read{Bits: 80, Data: card})
	}})
}

func (b *simBus) sortEvents() {
	slices.SortStableFunc(b.events, func(a, c simEvent) int { return a.at.Compare(c.at) })
}

func (b *simBus) shown(address uint8, s Show) {
	if b.onShown != nil {
		b.onShown(address, s)
	}
	sign := s.Code == CmdOUT && s.Out.Control == OutPulseOn ||
		s.Code == CmdLED && s.LED.Temp == TempSet && s.LED.TempTime == DefaultSignals().For
	if at, ok := b.tapped[address]; ok && sign {
		b.waits = append(b.waits, b.now.Sub(at))
		delete(b.tapped, address)
	}
}

func (b *simBus) online() (n int) {
	for i := range b.pds {
		if s, _ := b.cp.State(byte(i)); s == StateOnline {
			n++
		}
	}
	return n
}

var someCard = []byte{0x03, 0x10, 0x47, 0x70, 0x01, 0x23, 0x45, 0x67, 0x89, 0x01}
