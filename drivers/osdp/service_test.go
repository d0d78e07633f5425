package osdp

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"gateline/drivers"
	"gateline/gateway"
)

// settled is a line of readers in service.
func settled(t *testing.T, readers int, secure bool) *simBus {
	t.Helper()
	b := newSimBus(t, 3, readers, 115200, secure, time.Millisecond)
	b.until(simStart.Add(2 * time.Second))
	if n := b.online(); n != readers {
		t.Fatalf("%d of %d readers are online", n, readers)
	}
	return b
}

// shows collects what one reader is told from now on.
func (b *simBus) shows(address uint8) *[]Show {
	all := new([]Show)
	b.onShown = func(a uint8, s Show) {
		if a == address {
			*all = append(*all, s)
		}
	}
	return all
}

// An answer that nobody may act on any more opens no gate: neither one that was
// never sent nor one whose command may have been lost (GATE-07).
func TestLateAnswerOpensNothing(t *testing.T) {
	for name, dies := range map[string]func(b *simBus){
		"deaf when it is sent": func(b *simBus) { b.dead[1] = true },
		"nobody hears":         func(b *simBus) { b.errors = 0.2 },
	} {
		for _, secure := range []bool{false, true} {
			b := settled(t, 3, secure)
			opened := b.shows(1)
			b.answer = func(tap gateway.Tap) gateway.Answer {
				dies(b)
				return gateway.Answer{Verdict: gateway.VerdictPass, Open: true, TTL: time.Second}
			}
			b.present(1, b.now.Add(100*time.Millisecond), someCard)
			b.until(b.now.Add(3 * time.Second))
			b.dead[1], b.errors = false, 0
			b.until(b.now.Add(10 * time.Second))
			if b.taps == 0 {
				t.Fatalf("%s: nobody tapped", name)
			}
			for _, s := range *opened {
				if s.Code == CmdOUT && s.Out.Control == OutPulseOn && s.At.Sub(simStart) > 3300*time.Millisecond {
					t.Errorf("%s, secure %v: the gate opened %v after the start", name, secure, s.At.Sub(simStart))
				}
			}
		}
	}
}

// What a reader read while the box was away is for a rider who is gone.
func TestReadFromBeforeIsNoTap(t *testing.T) {
	b := newSimBus(t, 4, 2, 115200, true, time.Millisecond)
	b.pds[0].Report(b.now, ReplyLSTATR, AppendLocalStatus(nil, LocalStatus{Power: true})) // many say so first
	b.pds[0].Present(b.now, Read{Bits: 80, Data: someCard})
	b.pds[0].Present(b.now, Read{Bits: 80, Data: someCard})
	b.until(simStart.Add(time.Second))
	if stale := b.cp.cfg.Gates.At(0).Counters.Stale.Load(); b.taps != 0 || stale != 2 {
		t.Errorf("%d taps, %d stale reads", b.taps, stale)
	}
	b.present(0, b.now.Add(time.Second), someCard)
	b.until(b.now.Add(2 * time.Second))
	if b.taps != 1 {
		t.Errorf("a read in service: %d taps", b.taps)
	}
}

// So is a read whose report was lost again and again, and one that waited while
// the box stood still.
func TestReadThatIsLateIsNoTap(t *testing.T) {
	for name, late := range map[string]func(b *simBus){
		"lost": func(b *simBus) {
			b.present(1, b.now, someCard)
			b.mute = map[int]bool{1: true}
			b.until(b.now.Add(5 * time.Second))
			b.mute = nil
		},
		"started over before it has told all": func(b *simBus) {
			b.dead[1] = true
			b.until(b.now.Add(20 * time.Second))
			b.dead[1] = false
			b.pds[1].PowerCycle(b.now)
			for !b.cp.links[1].draining || b.cp.links[1].served.Before(b.now.Add(-time.Second)) {
				b.pds[1].Report(b.now, ReplyLSTATR, AppendLocalStatus(nil, LocalStatus{}))
				b.until(b.now.Add(time.Millisecond))
			}
			b.cp.links[1].again()
			b.pds[1].Present(b.now, Read{Bits: 80, Data: someCard})
		},
		"the box stands still": func(b *simBus) {
			b.now = b.now.Add(5 * time.Second)
			b.pds[1].Present(b.now, Read{Bits: 80, Data: someCard}) // it keeps what it read, however old
		},
	} {
		for _, secure := range []bool{false, true} {
			b := settled(t, 3, secure)
			late(b)
			b.until(b.now.Add(2 * time.Second))
			if stale := b.cp.cfg.Gates.At(1).Counters.Stale.Load(); b.taps != 0 || stale != 1 {
				t.Errorf("%s, secure %v: %d taps, %d stale reads", name, secure, b.taps, stale)
			}
			b.present(1, b.now, someCard)
			b.until(b.now.Add(time.Second))
			if b.taps != 1 {
				t.Errorf("%s, secure %v: the next read is %d taps", name, secure, b.taps)
			}
		}
	}
}

// A reader that reports its status again and again, and never has nothing to say,
// is served.
func TestEndlessStatus(t *testing.T) {
	b := newSimBus(t, 17, 2, 115200, false, time.Millisecond)
	b.instead = func(i int, f *Frame) []byte {
		if i != 1 || f.Code != CmdPOLL {
			return nil
		}
		return AppendFrame(nil, &Frame{Address: 1, Reply: true, SQN: f.SQN, CRC: true, Code: ReplyLSTATR, Data: AppendLocalStatus(nil, LocalStatus{})})
	}
	b.until(simStart.Add(time.Second))
	if b.cp.links[1].draining {
		t.Error("its reads would never be taps")
	}
}

// A reader that is started over after its read has arrived, and before it knows,
// reports it again: the rider gets the same answer and is not asked about twice
// (IMP-24).
func TestReadIsRepeatedAfterARestart(t *testing.T) {
	for _, secure := range []bool{false, true} {
		b := settled(t, 2, secure)
		told := b.shows(1)
		b.answer = func(gateway.Tap) gateway.Answer {
			b.dead[1] = true // the command that opens the gate does not arrive
			b.events = append(b.events, simEvent{b.now.Add(30 * time.Millisecond), func() { b.dead[1] = false; b.cp.links[1].again() }})
			return gateway.Answer{Verdict: gateway.VerdictRefuse, Reason: gateway.R10, TTL: 3 * time.Second}
		}
		b.present(1, b.now.Add(100*time.Millisecond), someCard)
		b.until(b.now.Add(time.Second))
		if b.taps != 1 || b.counters.Repeats.Load() == 0 {
			t.Errorf("secure %v: %d taps, %d repeats", secure, b.taps, b.counters.Repeats.Load())
		}
		if !slices.ContainsFunc(*told, func(s Show) bool { return s.Code == CmdLED && s.LED.TempBlink.OnColor == Red }) {
			t.Errorf("secure %v: the rider got no answer", secure)
		}
	}
}

// The end of an answer does not move with the reader's repeats: at last somebody
// else stands there.
func TestRepeatsHaveAnEnd(t *testing.T) {
	b := settled(t, 2, true)
	b.cp.links[1].answer(b.now, gateway.Tap{Gate: 1, Credential: b.cp.cfg.Reads.Credential(Read{Bits: 80, Data: someCard})},
		gateway.Answer{Verdict: gateway.VerdictPass, Open: true, TTL: 3 * time.Second}, b.now.Add(3*time.Second))
	for range 2 { // 1.6 s apart, so that the second comes when the answer has ended
		b.until(b.now.Add(1600 * time.Millisecond))
		b.cp.links[1].again()
		b.present(1, b.now, someCard)
	}
	b.until(b.now.Add(500 * time.Millisecond))
	if b.counters.Repeats.Load() != 1 || b.taps != 1 {
		t.Errorf("%d repeats, %d taps", b.counters.Repeats.Load(), b.taps)
	}
}

// A box that is gone is shown by the readers themselves: the lane's light is one
// that ends unless it is renewed, with the light of a lost box behind it.
func TestLostBoxShows(t *testing.T) {
	b := newSimBus(t, 5, 2, 115200, true, time.Millisecond)
	lost := b.shows(0)
	b.until(simStart.Add(time.Minute))
	var last time.Time
	renewed := 0
	for _, s := range *lost {
		if s.Code != CmdLED {
			continue
		}
		want := DefaultSignals()
		if s.LED.Temp != TempSet || s.LED.TempBlink != Steady(want.Auto.Light.Color) || s.LED.PermBlink != flashing(want.LinkLost.Light.Color, slowBlink) {
			t.Fatalf("the reader is told %+v", s.LED)
		}
		if gap := s.At.Sub(last); !last.IsZero() && gap >= s.LED.TempTime {
			t.Errorf("dark for %v", gap-s.LED.TempTime)
		}
		last = s.At
		renewed++
	}
	if renewed < 6 {
		t.Errorf("renewed %d times in a minute", renewed)
	}
	// After a tap the lane's light is back before the answer's has ended.
	b.present(0, b.now.Add(time.Second), someCard)
	*lost = nil
	b.until(b.now.Add(5 * time.Second))
	var sign, back time.Time
	for _, s := range *lost {
		if s.Code == CmdLED && s.LED.TempTime == DefaultSignals().For {
			sign = s.At
		} else if s.Code == CmdLED && !sign.IsZero() && back.IsZero() {
			back = s.At
		}
	}
	if sign.IsZero() || back.Before(sign.Add(DefaultSignals().For-lead)) || back.After(sign.Add(DefaultSignals().For)) {
		t.Errorf("the answer's light from %v, the lane's from %v", sign.Sub(simStart), back.Sub(simStart))
	}
}

// The gate stands open while the lane does, and no longer; a rider who is
// passing is not shut out.
func TestOpenLane(t *testing.T) {
	b := settled(t, 2, true)
	b.present(1, b.now.Add(100*time.Millisecond), someCard)
	b.until(b.now.Add(500 * time.Millisecond))
	if !b.pds[1].OutputOn(b.now, 0) || b.pds[0].OutputOn(b.now, 0) {
		t.Fatal("the rider's gate is not open, or the other one is")
	}
	for _, lane := range []gateway.Lane{gateway.LaneOpen, gateway.LaneManual, gateway.LaneOpen, gateway.LaneAuto} {
		b.cp.Show(1, lane)
		b.until(b.now.Add(2 * time.Second))
		if on := b.pds[1].OutputOn(b.now, 0); on != (lane == gateway.LaneOpen) {
			t.Errorf("lane %v: the gate is open: %v", lane, on)
		}
	}
	// A new start of the session in the middle of a pulse lets it end.
	b.present(1, b.now.Add(100*time.Millisecond), someCard)
	b.until(b.now.Add(300 * time.Millisecond))
	b.cp.links[1].restart()
	b.until(b.now.Add(300 * time.Millisecond))
	if !b.pds[1].OutputOn(b.now, 0) {
		t.Error("the gate was shut before the rider was through")
	}
}

// A gate that cannot shut by itself is shut by the box, also one that goes.
func TestGateWithoutATimer(t *testing.T) {
	plain := simCapabilities()
	plain.OutputLevel, plain.LEDLevel = 1, 1
	start := func() *simBus {
		b := newSimBus(t, 6, 2, 115200, true, time.Millisecond)
		key := simKey(1)
		b.pds[1] = NewPD(PDConfig{Address: 1, Rand: zeroes{b.r}, Capabilities: plain, RequireSecure: true, Key: &key})
		b.until(simStart.Add(time.Second))
		b.present(1, b.now.Add(100*time.Millisecond), someCard)
		b.until(b.now.Add(400 * time.Millisecond))
		if !b.pds[1].OutputOn(b.now, 0) {
			t.Fatal("the gate is not open")
		}
		return b
	}
	b := start()
	b.until(b.now.Add(1100 * time.Millisecond))
	if b.pds[1].OutputOn(b.now, 0) {
		t.Error("the gate stays open")
	}
	b = start()
	b.cp.Leave(b.now)
	b.until(b.now.Add(time.Second))
	if b.pds[1].OutputOn(b.now, 0) {
		t.Error("the box went and left the gate open")
	}
}

// A box that stops tells every reader, and then has nothing more to say.
func TestLeave(t *testing.T) {
	b := newSimBus(t, 7, 4, 115200, true, time.Millisecond)
	told := map[uint8]LED{}
	texts := map[uint8]string{}
	b.onShown = func(a uint8, s Show) {
		switch s.Code {
		case CmdLED:
			told[a] = s.LED
		case CmdTEXT:
			texts[a] = s.Text.Characters
		}
	}
	capabilities := TypicalCapabilities()
	key := simKey(2)
	b.pds[2] = NewPD(PDConfig{Address: 2, Rand: zeroes{b.r}, Capabilities: capabilities, RequireSecure: true, Key: &key})
	b.until(simStart.Add(time.Second))
	if texts[2] != " " {
		t.Errorf("in service the text is %q", texts[2])
	}
	b.dead[3] = true
	b.cp.Leave(b.now)
	end := b.now.Add(2 * time.Second)
	for b.now.Before(end) {
		out := b.step(nil)
		if len(out.Send) == 0 && out.Wake.IsZero() {
			break
		}
		if len(out.Send) > 0 {
			b.exchange(out.Send, out.Wake)
		} else {
			b.now = out.Wake
		}
	}
	if !b.now.Before(end) {
		t.Error("the session never ends")
	}
	for a := range uint8(3) {
		if led := told[a]; led.Temp != TempCancel || led.PermBlink != flashing(Red, slowBlink) {
			t.Errorf("reader %d was told %+v at last", a, led)
		}
	}
	if texts[2] != "Out of service" {
		t.Errorf("the text is %q", texts[2])
	}
}

// A reader that refuses a sequence number with the one it expects, and goes on
// refusing it, is started over at once.
func TestRefusedSequence(t *testing.T) {
	b := newSimBus(t, 8, 2, 115200, true, time.Millisecond)
	key := simKey(1)
	b.pds[1] = NewPD(PDConfig{Address: 1, Key: &key, Rand: zeroes{b.r}, Capabilities: simCapabilities(), RequireSecure: true, Quirks: LibOSDP()})
	b.until(simStart.Add(time.Second))
	b.cp.links[1].sqn = NextSQN(b.cp.links[1].sqn) // the two have lost each other
	b.present(1, b.now.Add(50*time.Millisecond), someCard)
	b.until(b.now.Add(300 * time.Millisecond))
	if b.taps != 1 || len(b.tapped) != 0 {
		t.Errorf("%d taps, %d wait", b.taps, len(b.tapped))
	}
	if c := &b.cp.cfg.Gates.At(1).Counters; c.Missed.Load()+c.Damaged.Load() != 0 {
		t.Error("its refusal was taken for no answer")
	}
}

// A reader that says its command came damaged gets the same bytes again.
func TestDamagedCommandIsGivenAgain(t *testing.T) {
	for _, secure := range []bool{false, true} {
		b := settled(t, 2, secure)
		told := b.shows(1)
		refusals := 2
		var sent [][]byte
		b.onSend = func(s []byte) {
			if f, err := ParseFrame(s[1:]); err == nil && f.Code == CmdOUT {
				sent = append(sent, bytes.Clone(s))
			}
		}
		b.instead = func(i int, f *Frame) []byte {
			if i != 1 || f.Code != CmdOUT || refusals == 0 {
				return nil
			}
			refusals--
			return AppendFrame(nil, &Frame{Address: 1, Reply: true, SQN: f.SQN, CRC: true, Code: ReplyNAK, Data: AppendNAK(nil, &NAK{Code: NAKCheck})})
		}
		b.present(1, b.now, someCard)
		b.until(b.now.Add(900 * time.Millisecond))
		opened := slices.ContainsFunc(*told, func(s Show) bool { return s.Code == CmdOUT && s.Out.Control == OutPulseOn })
		if !opened || len(sent) != 3 || !bytes.Equal(sent[0], sent[1]) || !bytes.Equal(sent[0], sent[2]) {
			t.Errorf("secure %v: the gate opened: %v, after %x", secure, opened, sent)
		}
	}
}

// Two readers with one address are reported; noise on the line is not taken for
// them, and they do not stop the others.
func TestDuplicateAddress(t *testing.T) {
	trouble := func(b *simBus) (all []uint8) {
		for _, g := range b.cp.cfg.Gates.All() {
			if g.Trouble()&drivers.TroubleDuplicate != 0 {
				all = append(all, g.Address)
			}
		}
		return all
	}
	b := newSimBus(t, 9, 6, 115200, true, time.Millisecond)
	other := simKey(40)
	twin := NewPD(PDConfig{Address: 2, Key: &other, Rand: zeroes{b.r}, Capabilities: TypicalCapabilities(), ID: PDID{Serial: 99}, RequireSecure: true})
	b.pds = append(b.pds, twin)
	b.present(4, simStart.Add(5*time.Second), someCard)
	b.until(simStart.Add(30 * time.Second))
	if got := trouble(b); !slices.Equal(got, []uint8{2}) {
		t.Errorf("suspected: %v", got)
	}
	if len(b.waits) != 1 || b.waits[0] > 300*time.Millisecond {
		t.Errorf("the others: %v", b.waits)
	}
	b.pds = b.pds[:6]
	b.until(b.now.Add(time.Minute))
	if got := trouble(b); len(got) != 0 || b.online() != 6 {
		t.Errorf("after it was taken off: %v are suspected, %d readers are online", got, b.online())
	}

	b = settled(t, 6, true)
	b.errors = 3e-4
	b.until(b.now.Add(time.Minute))
	if got := trouble(b); len(got) != 0 {
		t.Errorf("noise: %v are suspected", got)
	}
}

// A session gets new keys once a day, without a rider noticing.
func TestSessionIsRenewed(t *testing.T) {
	b := settled(t, 2, true)
	first := b.cp.links[1].channel
	b.cp.links[1].opened = b.now.Add(-sessionLife - 2*sessionSpread)
	b.present(1, b.now.Add(10*time.Millisecond), someCard)
	b.until(b.now.Add(time.Second))
	if l := b.cp.links[1]; l.channel == first || l.state != StateOnline {
		t.Error("the session goes on with its keys")
	}
	if b.taps != 1 || len(b.tapped) != 0 {
		t.Errorf("%d taps, %d wait", b.taps, len(b.tapped))
	}
}

// What a reader reports of itself reaches the technician.
func TestTamperIsReported(t *testing.T) {
	b := settled(t, 2, true)
	gate := b.cp.cfg.Gates.At(1)
	for _, open := range []bool{true, false} {
		b.pds[1].Tamper(b.now, open)
		b.until(b.now.Add(time.Second))
		if got := gate.Trouble()&drivers.TroubleTamper != 0; got != open {
			t.Errorf("case open %v: trouble %v", open, gate.Trouble().Names())
		}
	}
	// One that was opened while nobody asked is found at the start.
	b.pds[0].status.Tamper = true
	b.cp.Reset()
	b.until(b.now.Add(time.Second))
	if b.cp.cfg.Gates.At(0).Trouble()&drivers.TroubleTamper == 0 {
		t.Error("an open case is not found at the start")
	}
	if gate.State(b.now) != drivers.GateServing || gate.RoundTrip() <= 0 || gate.Counters.Asked.Load() == 0 {
		t.Error("the gate's state, round trip or count is missing")
	}
}

// An adapter that hears itself changes nothing, also before a slow reader.
func TestEcho(t *testing.T) {
	for _, turn := range []time.Duration{time.Millisecond, 60 * time.Millisecond} {
		b := newSimBus(t, 10, 2, 115200, true, turn)
		b.echo = true
		b.until(simStart.Add(5 * time.Second))
		b.present(1, b.now.Add(100*time.Millisecond), someCard)
		b.until(b.now.Add(2 * time.Second))
		if b.taps != 1 || len(b.tapped) != 0 || b.online() != 2 {
			t.Errorf("turnaround %v: %d taps, %d wait, %d online", turn, b.taps, len(b.tapped), b.online())
		}
		if n := b.counters.Noise.Load(); n != 0 {
			t.Errorf("turnaround %v: noise is counted %d times", turn, n)
		}
	}
}

// Reads that come as characters are taken where the configuration says so, in
// the order of the card; else nobody knows what they are (R25).
func TestFormattedRead(t *testing.T) {
	for _, wanted := range []bool{false, true} {
		b := newSimBus(t, 11, 2, 115200, true, time.Millisecond)
		if wanted {
			b.cp.cfg.Reads = append(ReadMap{{Bits: 152, As: ReadTUnionASCII, Formatted: true}}, b.cp.cfg.Reads...)
		}
		var got []gateway.Credential
		b.answer = func(tap gateway.Tap) gateway.Answer {
			got = append(got, tap.Credential)
			return gateway.Answer{TTL: time.Second}
		}
		b.until(simStart.Add(time.Second))
		backward := []byte("1098765432100774013")
		b.pds[1].Report(b.now, ReplyFMT, AppendFormatted(nil, &Formatted{Backward: true, Characters: bytes.Clone(backward)}))
		b.until(b.now.Add(time.Second))
		want := gateway.Credential{}
		if wanted {
			var err error
			if want, err = gateway.ParsePrinted("3104770012345678901"); err != nil {
				t.Fatal(err)
			}
		}
		if len(got) != 1 || got[0] != want {
			t.Errorf("wanted %v: %d taps, or another card", wanted, len(got))
		}
	}
}

// A reader that knows the checksum only is found and served, and again after it
// was away.
func TestReaderWithoutCRC(t *testing.T) {
	b := newSimBus(t, 6, 3, 115200, false, time.Millisecond)
	caps := simCapabilities()
	caps.CRC = false
	b.pds[1] = NewPD(PDConfig{Address: 1, Rand: zeroes{b.r}, Capabilities: caps, Quirks: Quirks{SumOnly: true}})
	for range 2 {
		b.until(b.now.Add(30 * time.Second))
		if n := b.online(); n != 3 {
			t.Fatalf("%d of 3 readers are online", n)
		}
		b.present(1, b.now.Add(100*time.Millisecond), someCard)
		b.until(b.now.Add(time.Second))
		b.dead[1] = true
		b.until(b.now.Add(20 * time.Second))
		b.dead[1] = false
	}
	if b.taps != 2 || len(b.tapped) != 0 {
		t.Errorf("%d taps, %d wait", b.taps, len(b.tapped))
	}
	if b.cp.links[0].sum || b.cp.links[2].sum {
		t.Error("the others are spoken to with the checksum")
	}
}
