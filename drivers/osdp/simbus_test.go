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
	turn     time.Duration // the readers' turnaround
	software time.Duration // the box's and its host's part of each exchange
	errors   float64       // rate of damaged bits
	char     time.Duration
	counters drivers.Counters

	// answer decides; taps that came to the box, and when.
	answer  func(gateway.Tap) gateway.Answer
	tapped  map[uint8]time.Time // presented and not shown yet
	waits   []time.Duration     // tap → first sign at the reader
	taps    int
	wrong   int
	onShown func(address uint8, s Show)
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
		software: 1300 * time.Microsecond, char: 10 * time.Second / time.Duration(baud), tapped: map[uint8]time.Time{},
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
	heard := b.damage(send)
	arrived := b.now.Add(time.Duration(len(send)) * b.char)
	b.now = arrived
	b.happen()
	var reply []byte
	for i, pd := range b.pds {
		if b.dead[i] {
			continue
		}
		if r := pd.Step(arrived, heard); len(r) > 0 {
			reply = append(reply, r...) // two at once collide
		}
		for _, s := range pd.Shown() {
			b.shown(uint8(i), s)
		}
	}
	if len(reply) == 0 {
		b.now = maxTime(deadline, b.now)
		return
	}
	begin := arrived.Add(max(b.turn, 2*b.char))
	if begin.After(deadline) {
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

// damage flips bits and loses bytes at the rate of errors.
func (b *simBus) damage(in []byte) []byte {
	if b.errors == 0 {
		return in
	}
	out := bytes.Clone(in)
	for i := range out {
		for bit := range 8 {
			if b.r.Float64() < b.errors {
				out[i] ^= 1 << bit
			}
		}
	}
	if b.r.Float64() < b.errors*float64(len(out)) && len(out) > 1 {
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
	sign := s.Code == CmdOUT || s.Code == CmdLED && s.LED.Temp == TempSet
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

func TestReadersComeOnline(t *testing.T) {
	for _, secure := range []bool{false, true} {
		b := newSimBus(t, 1, 8, 115200, secure, time.Millisecond)
		b.until(simStart.Add(time.Second))
		if n := b.online(); n != 8 {
			t.Fatalf("secure %v: %d of 8 readers are online", secure, n)
		}
		for i, pd := range b.pds {
			if pd.InSession() != secure {
				t.Errorf("secure %v: reader %d in a session: %v", secure, i, pd.InSession())
			}
		}
	}
}

// A tap is answered at the reader: the gate first, then light and sound.
func TestTapAtAReader(t *testing.T) {
	b := newSimBus(t, 2, 4, 115200, true, time.Millisecond)
	var codes []byte
	b.onShown = func(address uint8, s Show) {
		if address == 2 && (s.Code != CmdLED || s.LED.Temp == TempSet) {
			codes = append(codes, s.Code)
		}
	}
	var got gateway.Tap
	b.answer = func(tap gateway.Tap) gateway.Answer {
		got = tap
		return gateway.Answer{Verdict: gateway.VerdictPass, Open: true, TTL: time.Second}
	}
	b.present(2, simStart.Add(time.Second), someCard)
	b.until(simStart.Add(2 * time.Second))
	want, err := gateway.ParsePrinted("3104770012345678901")
	if err != nil {
		t.Fatal(err)
	}
	if b.taps != 1 || got.Gate != 2 || got.Credential != want {
		t.Errorf("%d taps, the last from %d", b.taps, got.Gate)
	}
	if !bytes.Equal(codes, []byte{CmdOUT, CmdLED, CmdBUZ}) {
		t.Errorf("the reader was told %x", codes)
	}
}

// busFigures measures taps at random moments; each reader's next comes when
// the last is answered.
func busFigures(t testing.TB, b *simBus, taps int, mean time.Duration) (p50, most time.Duration) {
	b.until(simStart.Add(3 * time.Second))
	at := b.now
	var living []int
	for i := range b.pds {
		if !b.dead[i] {
			living = append(living, i)
		}
	}
	for range taps {
		at = at.Add(mean/2 + time.Duration(b.r.Int64N(int64(mean))))
		b.present(living[b.r.IntN(len(living))], at, someCard)
	}
	b.sortEvents()
	b.until(at.Add(3 * time.Second))
	slices.Sort(b.waits)
	if len(b.tapped) > 0 || len(b.waits) < taps*9/10 {
		t.Fatalf("%d of %d taps were shown, %d wait", len(b.waits), taps, len(b.tapped))
	}
	return b.waits[len(b.waits)/2], b.waits[len(b.waits)-1]
}

func TestBusFigures(t *testing.T) {
	for _, c := range []struct {
		name    string
		readers int
		secure  bool
		dead    int
	}{
		{"8 secure", 8, true, 0}, {"8 clear", 8, false, 0}, {"8 secure, 1 dead", 8, true, 1}, {"8 secure, 2 dead", 8, true, 2},
	} {
		b := newSimBus(t, 7, c.readers, 115200, c.secure, time.Millisecond)
		b.until(simStart.Add(time.Second))
		for i := range c.dead {
			b.dead[i] = true
		}
		b.until(simStart.Add(2 * time.Second))
		p50, most := busFigures(t, b, 1000, time.Second)
		t.Logf("%-18s p50 %v max %v", c.name, p50.Round(100*time.Microsecond), most.Round(100*time.Microsecond))
	}
}

// Bit errors damage frames; no tap is answered wrongly, none is lost.
func TestNoise(t *testing.T) {
	taps := 1500
	if testing.Short() {
		taps = 300
	}
	b := newSimBus(t, 11, 8, 115200, true, time.Millisecond)
	b.errors = 1e-4 // ten times what a bad line has
	asked := map[uint8]gateway.Credential{}
	b.answer = func(tap gateway.Tap) gateway.Answer {
		if tap.Credential != asked[tap.Gate] {
			t.Errorf("reader %d: another card than the one presented", tap.Gate)
		}
		return gateway.Answer{Verdict: gateway.VerdictPass, Open: true, TTL: time.Second}
	}
	b.until(simStart.Add(3 * time.Second))
	at, shown := b.now, 0
	b.onShown = func(_ uint8, s Show) {
		if s.Code == CmdOUT {
			shown++
		}
	}
	for i := range taps {
		at = at.Add(300*time.Millisecond + time.Duration(b.r.Int64N(int64(400*time.Millisecond))))
		reader, card := i%8, bytes.Clone(someCard)
		card[8], card[9] = byte(i/100%10)<<4|byte(i/10%10), byte(i%10)<<4|1
		c, err := gateway.NewCredential(gateway.SchemeTUnion, digitsOf(card))
		if err != nil {
			t.Fatal(err)
		}
		b.events = append(b.events, simEvent{at, func() { asked[uint8(reader)] = c }})
		b.present(reader, at, card)
	}
	b.sortEvents()
	b.until(at.Add(5 * time.Second))
	if b.taps != taps || shown != taps || len(b.tapped) != 0 {
		t.Errorf("%d taps presented, %d asked, %d opened", taps, b.taps, shown)
	}
	if b.counters.Noise.Load() == 0 || b.online() != 8 {
		t.Errorf("noise counted %d times, %d readers online", b.counters.Noise.Load(), b.online())
	}
}

func digitsOf(packed []byte) (digits []byte) {
	for _, p := range packed {
		digits = append(digits, '0'+p>>4, '0'+p&15)
	}
	return digits
}
