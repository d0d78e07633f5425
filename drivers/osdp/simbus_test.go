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
		if address == 2 && len(b.tapped)+len(b.waits) > 0 {
			codes = append(codes, s.Code)
		}
	}
	var got gateway.Tap
	b.answer = func(tap gateway.Tap) gateway.Answer {
		got = tap
		return gateway.Answer{Verdict: gateway.VerdictPass, Open: true, TTL: time.Second}
	}
	b.present(2, simStart.Add(time.Second), someCard)
	b.until(simStart.Add(1500 * time.Millisecond))
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

// In virtual time a tap is answered at the reader within what the arithmetic of
// the line allows: 115200 baud, a turnaround of 1 ms, 1 ms of software for each
// verdict, 0.3 ms for each exchange. The limits are those of a round robin
// (mean 26, worst 42 ms secure; 20, 32 in clear) and a tenth or two more.
func TestBusFigures(t *testing.T) {
	for _, c := range []struct {
		name      string
		secure    bool
		dead      int
		p50, most time.Duration
	}{
		{"8 secure", true, 0, 28 * time.Millisecond, 50 * time.Millisecond},
		{"8 in clear", false, 0, 22 * time.Millisecond, 38 * time.Millisecond},
		{"8 secure, 1 dead", true, 1, 30 * time.Millisecond, 80 * time.Millisecond},
		{"8 secure, 2 dead", true, 2, 32 * time.Millisecond, 90 * time.Millisecond},
	} {
		b := newSimBus(t, 7, 8, 115200, c.secure, time.Millisecond)
		b.until(simStart.Add(time.Second))
		for i := range c.dead {
			b.dead[i] = true
		}
		b.until(simStart.Add(2 * time.Second))
		p50, most := busFigures(t, b, 300, time.Second)
		t.Logf("%-18s p50 %v max %v", c.name, p50.Round(100*time.Microsecond), most.Round(100*time.Microsecond))
		if p50 > c.p50 || most > c.most {
			t.Errorf("%s: more than %v and %v", c.name, c.p50, c.most)
		}
	}
}

// All 32 readers of a line are tapped at once: the last verdict is out within a
// tenth more than the arithmetic's 351 ms.
func TestAllTapAtOnce(t *testing.T) {
	b := newSimBus(t, 5, 32, 115200, true, time.Millisecond)
	b.until(simStart.Add(4 * time.Second))
	at := b.now
	for i := range 32 {
		b.present(i, at.Add(time.Duration(b.r.Int64N(int64(10*time.Millisecond)))), someCard)
	}
	b.sortEvents()
	b.until(at.Add(5 * time.Second))
	slices.Sort(b.waits)
	if len(b.waits) != 32 {
		t.Fatalf("%d of 32 were answered", len(b.waits))
	}
	t.Logf("last verdict after %v", b.waits[31])
	if b.waits[31] > 386*time.Millisecond {
		t.Errorf("the last verdict took %v", b.waits[31])
	}
}

// A reader that was off is back within two seconds of its first answer.
func TestReaderComesBack(t *testing.T) {
	b := newSimBus(t, 6, 4, 115200, true, time.Millisecond)
	b.until(simStart.Add(2 * time.Second))
	b.dead[2] = true
	b.until(simStart.Add(5 * time.Minute))
	if s, _ := b.cp.State(2); s != StateProbe {
		t.Errorf("a dead reader is taken for %v", s)
	}
	b.dead[2] = false
	b.pds[2].PowerCycle(b.now)
	first := time.Time{}
	for limit := b.now.Add(time.Minute); b.now.Before(limit); b.until(b.now.Add(10 * time.Millisecond)) {
		s, _ := b.cp.State(2)
		if s != StateProbe && first.IsZero() {
			first = b.now
		}
		if s == StateOnline {
			if took := b.now.Sub(first); took > 2*time.Second {
				t.Errorf("online %v after its first answer", took)
			}
			return
		}
	}
	t.Error("it never came back")
}

// A reader with another key, one that offers the default key and one that
// wants to be spoken to in clear are not served, and do not stop the others.
func TestHostileReaders(t *testing.T) {
	b := newSimBus(t, 8, 4, 115200, true, time.Millisecond)
	wrong := Key{1, 2, 4}
	capabilities := simCapabilities()
	capabilities.AES, capabilities.DefaultKey = false, true // PDCAP says that it cannot, or that it is new
	b.pds[0] = NewPD(PDConfig{Address: 0, Key: &wrong, Rand: zeroes{b.r}, Capabilities: simCapabilities(), RequireSecure: true})
	b.pds[1] = NewPD(PDConfig{Address: 1, Rand: zeroes{b.r}, Capabilities: capabilities})
	wild := NewPD(PDConfig{Address: 2, Rand: zeroes{b.r}, Capabilities: capabilities})
	b.pds[2] = wild
	for i := range 3 {
		b.present(i, simStart.Add(3*time.Second), someCard)
	}
	b.present(3, simStart.Add(3*time.Second), someCard)
	var asked []uint8
	b.answer = func(tap gateway.Tap) gateway.Answer {
		asked = append(asked, tap.Gate)
		return gateway.Answer{Verdict: gateway.VerdictPass, Open: true, TTL: time.Second}
	}
	b.until(simStart.Add(10 * time.Second))
	if !slices.Equal(asked, []uint8{3}) {
		t.Errorf("taps of readers %v were asked", asked)
	}
	for i := range 3 {
		if s, _ := b.cp.State(byte(i)); s == StateOnline || b.pds[i].InSession() {
			t.Errorf("reader %d is served", i)
		}
	}
	if b.counters.Unproven.Load() == 0 {
		t.Error("nobody counted it")
	}
}

// Bit errors damage frames; no tap is answered wrongly, none is lost.
func TestNoise(t *testing.T) {
	const taps = 400
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
		if s.Code == CmdOUT && s.Out.Control == OutPulseOn {
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

// Whatever a reader says, the CP does not fail, and goes on with the others.
func FuzzCP(f *testing.F) {
	f.Add([]byte{0x53, 0x80, 0x08, 0x00, 0x04, 0x40, 0x00, 0x00}, uint64(1))
	f.Add([]byte{0xff, 0x53, 0x80, 0xff, 0xff, 0x0c, 0x03, 0x12, 0x01}, uint64(2))
	f.Fuzz(func(t *testing.T, noise []byte, seed uint64) {
		b := newSimBus(t, seed, 2, 115200, seed%2 == 0, time.Millisecond)
		b.until(simStart.Add(50 * time.Millisecond))
		for len(noise) > 0 {
			n := 1 + b.r.IntN(len(noise))
			b.now = b.now.Add(time.Duration(b.r.IntN(30)) * time.Millisecond)
			b.step(noise[:n])
			noise = noise[n:]
		}
		b.present(1, b.now.Add(12*time.Second), someCard)
		before := b.taps
		b.until(b.now.Add(15 * time.Second))
		if b.taps == before {
			t.Error("after noise on the line a tap is lost")
		}
	})
}

func TestReadMap(t *testing.T) {
	m := DefaultReadMap()
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	chip := []byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}
	for _, c := range []struct {
		name string
		r    Read
		want string // empty = unreadable
	}{
		{"card", Read{Bits: 80, Data: someCard}, "tunion:3104770012345678901"},
		{"chip", Read{Bits: 64, Data: chip}, "chip:0123456789ABCDEF"},
		{"ride", Read{Bits: 128, Data: []byte("1001000000000042")}, "ride:1001000000000042"},
		{"26-bit Wiegand", Read{Bits: 26, Data: []byte{1, 2, 3, 0x40}}, ""},
		{"letters in a card", Read{Bits: 80, Data: []byte{0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0}}, ""},
		{"nothing", Read{}, ""},
		{"too long", Read{Bits: 1024, Data: make([]byte, 128)}, ""},
	} {
		got := m.Credential(c.r)
		if c.want == "" {
			if got.Readable() {
				t.Errorf("%s: readable", c.name)
			}
			continue
		}
		if want, err := gateway.ParseCredential(c.want); err != nil || got != want {
			t.Errorf("%s: not %s", c.name, c.want)
		}
	}
	for name, bad := range map[string]ReadMap{
		"none": {}, "short card": {{Bits: 20, As: ReadTUnion}}, "long chip": {{Bits: 80, As: ReadChip}}, "odd ride": {{Bits: 12, As: ReadRide}},
		"issuer only": {{Bits: 32, As: ReadRide}}, "twice": {{Bits: 80, As: ReadTUnion}, {Bits: 80, As: ReadTUnion}}, "as nothing": {{Bits: 80}},
		"characters of a chip": {{Bits: 64, As: ReadChip, Formatted: true}},
	} {
		if bad.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
