package osdp

import (
	"bytes"
	"testing"
	"time"

	"gateline/gateway"
)

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

// After the port was opened anew all readers are in service again at once.
func TestReadersAfterReset(t *testing.T) {
	b := newSimBus(t, 13, 32, 115200, true, time.Millisecond)
	b.until(simStart.Add(3 * time.Second))
	for i := range b.pds {
		b.dead[i] = true
	}
	b.until(b.now.Add(time.Minute))
	clear(b.dead)
	b.cp.Reset()
	b.until(b.now.Add(2 * time.Second))
	if n := b.online(); n != 32 {
		t.Errorf("%d of 32 readers are online", n)
	}
}

// A slow reader is found by its late answer, although nobody is made to wait for
// one that may not be there.
func TestSlowReaderIsFound(t *testing.T) {
	b := newSimBus(t, 15, 8, 115200, true, time.Millisecond)
	b.slow = map[int]time.Duration{3: 150 * time.Millisecond}
	b.until(simStart.Add(10 * time.Second))
	if n := b.online(); n != 8 {
		t.Errorf("%d of 8 readers are online", n)
	}
	b.present(3, b.now.Add(100*time.Millisecond), someCard)
	b.until(b.now.Add(3 * time.Second))
	if b.taps != 1 || len(b.tapped) != 0 {
		t.Errorf("%d taps, %d wait", b.taps, len(b.tapped))
	}
}

// A reader that answers at once as a rule may still take long for what it has to
// compute or to store.
func TestReaderTakesLongForSomeCommands(t *testing.T) {
	for _, long := range []time.Duration{40 * time.Millisecond, 150 * time.Millisecond} {
		b := newSimBus(t, 16, 4, 115200, true, time.Millisecond)
		b.think = map[byte]time.Duration{CmdCHLNG: long, CmdSCRYPT: long, CmdOUT: long}
		b.until(simStart.Add(20 * time.Second))
		if n := b.online(); n != 4 {
			t.Errorf("%v: %d of 4 readers are online", long, n)
		}
		b.present(3, b.now.Add(100*time.Millisecond), someCard)
		b.until(b.now.Add(3 * time.Second))
		if b.taps != 1 || len(b.tapped) != 0 {
			t.Errorf("%v: %d taps, %d wait", long, b.taps, len(b.tapped))
		}
	}
}
