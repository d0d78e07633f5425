package direct

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"testing"
	"time"

	"gateline/drivers"
	"gateline/gateway"
)

// coded frames a raw body: check and stuffing, without delimiters.
func coded(body []byte) []byte {
	body = binary.LittleEndian.AppendUint32(body, crc32.Checksum(body, castagnoli))
	block := append([]byte{0}, body...)
	encodeCOBS(block)
	return block
}

func wired(body []byte) []byte { return append(append([]byte{0}, coded(body)...), 0) }

var start = time.Date(2022, 5, 30, 8, 0, 0, 0, gateway.Zone)

type bench struct {
	t        *testing.T
	box      *Box
	counters drivers.Counters
	table    *drivers.GateTable
}

func newBench(t *testing.T, keys map[uint8][KeySize]byte, addresses ...uint8) *bench {
	t.Helper()
	var gates []*drivers.Gate
	for _, a := range addresses {
		gates = append(gates, &drivers.Gate{Name: string('A' + rune(a)), Address: a})
	}
	table, err := drivers.NewGateTable(gates...)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, table: table}
	b.box = NewBox(BoxConfig{Gates: table, Keys: keys, Counters: &b.counters})
	return b
}

// serve gives the bytes to the box and answers every tap with answer, as a
// line does.
func (b *bench) serve(now time.Time, in []byte, answer gateway.Answer) (sent []byte, taps []gateway.Tap) {
	for {
		out := b.box.Step(now, in)
		in = nil
		for _, tap := range out.Taps {
			taps = append(taps, tap)
			b.box.Answer(now, tap, answer)
		}
		sent = append(sent, out.Send...)
		if len(out.Taps) == 0 && len(out.Send) == 0 {
			return sent, taps
		}
	}
}

var passing = gateway.Answer{Verdict: gateway.VerdictPass, Open: true, TTL: 3 * time.Second}

func step(g *Gate, now time.Time, in []byte) (*Result, []byte) {
	result, send, _ := g.Step(now, in)
	return result, bytes.Clone(send)
}

func TestTapIsAnswered(t *testing.T) {
	for name, keys := range map[string]map[uint8][KeySize]byte{"plain": nil, "proven": {1: workedKey}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, keys, 1, 2)
			var key *[KeySize]byte
			if keys != nil {
				key = &workedKey
			}
			g := NewGate(start, 1, key, 0)
			card := credential(t, "tunion:3104770012345678901")
			number := g.Tap(start, gateway.PurposeEntry, card)
			_, ask := step(g, start, nil)
			sent, taps := b.serve(start, ask, passing)
			if len(taps) != 1 || taps[0] != (gateway.Tap{Gate: 1, Number: number, Credential: card}) {
				t.Fatalf("taps: %+v", taps)
			}
			result, _ := step(g, start, sent)
			if result == nil || !result.Answered || result.Answer != passing || result.Number != number || result.Tries != 1 {
				t.Fatalf("result: %+v", result)
			}
		})
	}
}

// A repeated tap number within the verdict's lifetime gets the identical
// answer, later or with another question a new one (IMP-24).
func TestRepeats(t *testing.T) {
	b := newBench(t, nil, 1)
	tap := Frame{Kind: KindTap, Address: 1, Number: 7, Credential: credential(t, "tunion:3104770012345678901")}
	ask := appendFrame(nil, &tap, nil)
	first, taps := b.serve(start, ask, passing)
	if len(taps) != 1 {
		t.Fatal("not asked")
	}
	refusing := gateway.Answer{Verdict: gateway.VerdictRefuse, Reason: gateway.R10, TTL: 3 * time.Second}
	again, taps := b.serve(start.Add(3*time.Second-1), ask, refusing)
	if len(taps) != 0 || !bytes.Equal(again, first) {
		t.Errorf("within its lifetime: asked %d times, answer %x, first %x", len(taps), again, first)
	}
	// A port that was opened anew changes nothing about it.
	b.box.Reset()
	if again, taps = b.serve(start.Add(time.Second), ask, refusing); len(taps) != 0 || !bytes.Equal(again, first) {
		t.Error("after a reset: not the identical answer")
	}
	if _, taps = b.serve(start.Add(3*time.Second), ask, refusing); len(taps) != 1 {
		t.Error("after its lifetime: not asked anew")
	}
	// The number alone does not make a repeat: a gate that restarted may use
	// it for another rider.
	other := tap
	other.Credential = credential(t, "ride:10017")
	if _, taps = b.serve(start.Add(3*time.Second), appendFrame(nil, &other, nil), refusing); len(taps) != 1 {
		t.Error("another rider got the answer of the one before")
	}
	// Doubled within one read, before it is decided: answered once.
	tap.Number++
	ask = appendFrame(nil, &tap, nil)
	sent, taps := b.serve(start.Add(4*time.Second), append(bytes.Clone(ask), ask...), passing)
	if len(taps) != 1 || bytes.Count(sent, []byte{0}) != 2 {
		t.Errorf("doubled: asked %d times, sent %x", len(taps), sent)
	}
}

func TestProofIsDemanded(t *testing.T) {
	b := newBench(t, map[uint8][KeySize]byte{1: workedKey}, 1, 2)
	mac, wrong := newProver(workedKey), newProver([KeySize]byte{1})
	card := credential(t, "tunion:3104770012345678901")
	tap := func(address uint8, number uint16, counter uint32, m *prover) []byte {
		return appendFrame(nil, &Frame{Kind: KindTap, Address: address, Number: number, Credential: card, Proven: m != nil, Counter: counter}, m)
	}
	for _, c := range []struct {
		name     string
		ask      []byte
		answered bool
		unproven uint64
		replayed uint64
	}{
		{"proven", tap(1, 1, 100, mac), true, 0, 0},
		{"without proof", tap(1, 2, 0, nil), false, 1, 0},
		{"wrong key", tap(1, 2, 101, wrong), false, 2, 0},
		{"old counter", tap(1, 2, 100, mac), false, 2, 1},
		{"lower counter", tap(1, 3, 99, mac), false, 2, 2},
		{"next", tap(1, 4, 101, mac), true, 2, 2},
		{"proof not expected", tap(2, 1, 1, mac), false, 3, 2},
		{"plain gate", tap(2, 2, 0, nil), true, 3, 2},
	} {
		sent, _ := b.serve(start, c.ask, passing)
		if (len(sent) > 0) != c.answered || b.counters.Unproven.Load() != c.unproven || b.counters.Replayed.Load() != c.replayed {
			t.Errorf("%s: sent %x, unproven %d, replayed %d", c.name, sent, b.counters.Unproven.Load(), b.counters.Replayed.Load())
		}
	}
	// After the answer's lifetime even the identical frame is a replay.
	if sent, _ := b.serve(start.Add(time.Minute), tap(1, 4, 101, mac), passing); len(sent) > 0 {
		t.Error("an old tap is answered again")
	}
}

// A gate takes no verdict but that of its tap in the air, from its own box.
func TestGateTakesOnlyItsVerdict(t *testing.T) {
	mac := newProver(workedKey)
	g := NewGate(start, 1, &workedKey, 41)
	number := g.Tap(start, gateway.PurposeEntry, credential(t, "tunion:3104770012345678901"))
	step(g, start, nil)
	good := Frame{Kind: KindVerdict, Address: 1, Number: number, Verdict: gateway.VerdictPass, Open: true, TTL: 3 * time.Second, Proven: true, Counter: 42}
	edit := func(f func(*Frame)) []byte { other := good; f(&other); return appendFrame(nil, &other, mac) }
	for name, wire := range map[string][]byte{
		"another gate":    edit(func(f *Frame) { f.Address = 2 }),
		"another tap":     edit(func(f *Frame) { f.Number++ }),
		"another counter": edit(func(f *Frame) { f.Counter-- }),
		"no proof":        edit(func(f *Frame) { f.Proven, f.Counter = false, 0 }),
		"wrong key":       appendFrame(nil, &good, newProver([KeySize]byte{1})),
	} {
		if result, _ := step(g, start, wire); result != nil {
			t.Errorf("%s: taken as %+v", name, result)
		}
	}
	if result, _ := step(g, start, appendFrame(nil, &good, mac)); result == nil || !result.Answered {
		t.Error("the right verdict is not taken")
	}
}

func TestGateRetriesAndGivesUp(t *testing.T) {
	g := NewGate(start, 1, nil, 0)
	number := g.Tap(start, gateway.PurposeEntry, gateway.Credential{})
	var sent [][]byte
	now := start
	for range 100 {
		result, send, wake := g.Step(now, nil)
		if len(send) > 0 {
			sent = append(sent, bytes.Clone(send))
		}
		if result != nil {
			if result.Answered || result.Number != number || now.Sub(start) != GiveUpAfter || result.Tries != 10 {
				t.Errorf("after %v: %+v", now.Sub(start), result)
			}
			if g.Lane(now) != gateway.LaneManual {
				t.Error("a gate without a box does not show the manual lane")
			}
			break
		}
		now = wake
	}
	for _, s := range sent {
		if !bytes.Equal(s, sent[0]) {
			t.Error("a retry is not the identical frame")
		}
	}
}

func TestHeartbeatTellsTheLane(t *testing.T) {
	b := newBench(t, nil, 1)
	g := NewGate(start, 1, nil, 0)
	if g.Lane(start) != gateway.LaneManual {
		t.Error("a new gate does not start in the manual lane")
	}
	for i, lane := range []gateway.Lane{gateway.LaneAuto, gateway.LaneManual, gateway.LaneOpen} {
		now := start.Add(time.Duration(i) * HeartbeatEvery)
		b.box.Show(1, lane)
		_, beat := step(g, now, nil)
		sent, _ := b.serve(now, beat, passing)
		step(g, now, sent)
		if g.Lane(now) != lane {
			t.Errorf("shows %v, not %v", g.Lane(now), lane)
		}
		if !b.table.At(1).Heard().Equal(now) {
			t.Error("the box did not note the sign of life")
		}
	}
	silent := start.Add(2*HeartbeatEvery + SilenceLimit)
	if g.Lane(silent) != gateway.LaneManual {
		t.Error("without a box the gate does not fall back to the manual lane")
	}
}

func TestTwoTapsOfOneGateInOneRead(t *testing.T) {
	b := newBench(t, nil, 1, 2)
	card, code := credential(t, "tunion:3104770012345678901"), credential(t, "ride:10017")
	var in []byte
	in = appendFrame(in, &Frame{Kind: KindTap, Address: 1, Number: 1, Credential: card}, nil)
	in = appendFrame(in, &Frame{Kind: KindTap, Address: 2, Number: 1, Credential: card}, nil)
	in = appendFrame(in, &Frame{Kind: KindTap, Address: 1, Number: 2, Credential: code}, nil)
	sent, taps := b.serve(start, in, passing)
	if len(taps) != 3 {
		t.Fatalf("%d taps", len(taps))
	}
	var answered []uint16
	var s scanner
	for len(sent) > 0 {
		block, rest, _ := s.next(sent)
		if sent = rest; block != nil {
			p, err := parse(block)
			if err != nil {
				t.Fatal(err)
			}
			answered = append(answered, uint16(p.Address)<<8|p.Number)
		}
	}
	if len(answered) != 2 || answered[0] != 0x201 || answered[1] != 0x102 {
		t.Errorf("answered %x: the gate's replaced tap must stay unanswered", answered)
	}
}

// Garbage never answers and never blocks the next good frame, however the
// bytes are cut into reads.
func TestGarbage(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	b := newBench(t, nil, 1)
	for round := range 2_000 {
		garbage := make([]byte, r.IntN(200))
		for i := range garbage {
			garbage[i] = byte(r.IntN(256))
		}
		tap := Frame{Kind: KindTap, Address: 1, Number: uint16(round), Credential: credential(t, "ride:10017")}
		in := append(garbage, appendFrame(nil, &tap, nil)...)
		var answers int
		for len(in) > 0 {
			n := 1 + r.IntN(len(in))
			_, taps := b.serve(start, in[:n], passing)
			for _, got := range taps {
				if got.Number != tap.Number {
					t.Fatalf("garbage was answered as tap %d", got.Number)
				}
				answers++
			}
			in = in[n:]
		}
		if answers != 1 {
			t.Fatalf("round %d: %d answers", round, answers)
		}
	}
	if b.counters.Noise.Load() == 0 {
		t.Error("noise was not counted")
	}
}

func TestFramesForNobody(t *testing.T) {
	b := newBench(t, nil, 1)
	for name, in := range map[string][]byte{
		"another address":    appendFrame(nil, &Frame{Kind: KindHeartbeat, Address: 9}, nil),
		"a verdict":          appendFrame(nil, &Frame{Kind: KindVerdict, Address: 1}, nil),
		"a lane answer":      appendFrame(nil, &Frame{Kind: KindLane, Address: 1}, nil),
		"another version":    wired([]byte{0x23, 1, 0, 0}),
		"longer than frames": append(bytes.Repeat([]byte{1}, 300), 0),
	} {
		if sent, taps := b.serve(start, in, passing); len(sent) > 0 || len(taps) > 0 {
			t.Errorf("%s is answered: %x", name, sent)
		}
	}
	if c := &b.counters; c.UnknownGate.Load() != 1 || c.Malformed.Load() != 3 || c.Noise.Load() != 1 {
		t.Errorf("unknown %d malformed %d noise %d", c.UnknownGate.Load(), c.Malformed.Load(), c.Noise.Load())
	}
}

func FuzzBox(f *testing.F) {
	f.Add(appendFrame(nil, &Frame{Kind: KindTap, Address: 1, Number: 1}, nil))
	f.Add([]byte{0, 1, 0, 2, 0, 3})
	f.Fuzz(func(t *testing.T, in []byte) {
		b := newBench(t, nil, 1)
		b.serve(start, in, passing)
		good := appendFrame(nil, &Frame{Kind: KindTap, Address: 1, Number: 500, Purpose: gateway.PurposeExit}, nil)
		// What came before may have been a whole frame but for its end.
		_, taps := b.serve(start.Add(time.Minute), good, passing)
		if len(taps) == 0 || taps[len(taps)-1].Number != 500 {
			t.Fatalf("after %x the next good frame is lost", in)
		}
	})
}

func TestTapDoesNotAllocate(t *testing.T) {
	b := newBench(t, map[uint8][KeySize]byte{1: workedKey}, 1)
	mac := newProver(workedKey)
	frame := Frame{Kind: KindTap, Address: 1, Credential: credential(t, "tunion:3104770012345678901"), Proven: true}
	var wire []byte
	if n := testing.AllocsPerRun(200, func() {
		frame.Number++
		frame.Counter++
		wire = appendFrame(wire[:0], &frame, mac)
		out := b.box.Step(start, wire)
		if len(out.Taps) != 1 {
			t.Fatal("no tap")
		}
		b.box.Answer(start, out.Taps[0], passing)
		if out = b.box.Step(start, nil); len(out.Send) == 0 {
			t.Fatal("no answer")
		}
	}); n != 0 {
		t.Errorf("a tap allocates %v times", n)
	}
}
