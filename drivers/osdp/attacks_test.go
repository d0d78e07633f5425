package osdp

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"gateline/drivers"
	"gateline/gateway"
)

// The published attacks on OSDP, each with a reader, or somebody on the wire in
// its place, that carries it out against a box in service.

// attacked is a secure line of three readers, of which 0 is replaced.
type attacked struct {
	*simBus
	asked []uint8 // the gates of all taps
	wire  []byte  // everything the box has said
}

func newAttacked(t *testing.T, hostile PDConfig) *attacked {
	a := &attacked{simBus: newSimBus(t, 8, 3, 115200, true, time.Millisecond)}
	if hostile.Capabilities == (Capabilities{}) {
		hostile.Capabilities = simCapabilities()
	}
	hostile.Rand = zeroes{a.r}
	a.pds[0] = NewPD(hostile)
	a.answer = func(tap gateway.Tap) gateway.Answer {
		a.asked = append(a.asked, tap.Gate)
		return gateway.Answer{Verdict: gateway.VerdictPass, Open: true, TTL: time.Second}
	}
	a.onSend = func(b []byte) { a.wire = append(a.wire, b...) }
	return a
}

// unserved lets riders tap everywhere; only the honest readers' taps may come
// through, and the technician sees which reader it is.
func (a *attacked) unserved(t *testing.T) {
	t.Helper()
	for i := range 3 {
		a.present(i, a.now.Add(3*time.Second), someCard)
	}
	a.until(a.now.Add(10 * time.Second))
	slices.Sort(a.asked)
	if !slices.Equal(a.asked, []uint8{1, 2}) {
		t.Errorf("taps at gates %v were answered", a.asked)
	}
	gate := a.cp.cfg.Gates.At(0)
	if a.pds[0].InSession() || gate.State(a.now) == drivers.GateServing {
		t.Error("the hostile reader is served")
	}
	if gate.Trouble()&drivers.TroubleKey == 0 || a.counters.Unproven.Load() == 0 {
		t.Error("nobody is told of it")
	}
}

// Clear text: a reader that knows no key reports cards in clear.
func TestAttackClearText(t *testing.T) {
	newAttacked(t, PDConfig{Address: 0}).unserved(t)
}

// Clear text, within a session: somebody on the wire answers a POLL in the
// reader's place with a card in clear.
func TestAttackClearTextInASession(t *testing.T) {
	b := settled(t, 2, true)
	out := b.step(nil)
	for len(out.Send) == 0 || out.Send[2] != 1 { // until reader 1 is asked
		if len(out.Send) > 0 {
			b.exchange(out.Send, out.Wake)
		} else {
			b.now = out.Wake
		}
		out = b.step(nil)
	}
	forged := AppendFrame(nil, &Frame{Address: 1, Reply: true, SQN: b.cp.links[1].sqn, CRC: true, Code: ReplyRAW,
		Data: AppendRead(nil, &Read{Bits: 80, Data: someCard})})
	b.now = b.now.Add(3 * time.Millisecond)
	b.step(forged)
	b.until(b.now.Add(time.Second))
	if b.taps != 0 {
		t.Error("a card in clear was taken for the reader's")
	}
	if n := b.online(); n != 2 {
		t.Errorf("%d readers are online afterwards", n)
	}
}

// Capability downgrade: a reader, or somebody on the wire, says in PDCAP that it
// knows no Secure Channel.
func TestAttackCapabilityDowngrade(t *testing.T) {
	lame := simCapabilities()
	lame.AES = false
	newAttacked(t, PDConfig{Address: 0, Capabilities: lame}).unserved(t)

	// One that has the key and says so all the same is served in session only.
	key := simKey(0)
	a := newAttacked(t, PDConfig{Address: 0, Capabilities: lame, Key: &key})
	a.until(simStart.Add(2 * time.Second))
	if !a.pds[0].InSession() {
		t.Error("the reader is served in clear because it said so")
	}
}

// Install mode: a reader that pretends to be new wants the default key. The box
// never asks for it in service.
func TestAttackInstallMode(t *testing.T) {
	fresh := simCapabilities()
	fresh.DefaultKey = true
	a := newAttacked(t, PDConfig{Address: 0, Capabilities: fresh})
	a.unserved(t)
	for _, f := range framesOf(t, a.wire) {
		if f.Block == SCS11 && DefaultAsked(&f) || f.Block == SCS13 && DefaultAsked(&f) {
			t.Fatal("the box offers the default key")
		}
	}
}

// Weak keys: those that the makers' manuals show and attackers try first are
// refused, whatever reader they are for, before anybody speaks.
func TestAttackWeakKeys(t *testing.T) {
	var weak []Key
	for first := range 256 {
		for _, step := range []byte{0, 1, 0xff, 0x11, 0xef, 2, 0x10} {
			var k Key
			for i := range k {
				k[i] = byte(first) + byte(i)*step
			}
			weak = append(weak, k)
		}
	}
	weak = append(weak, DefaultKey())
	for _, k := range weak {
		gates, err := drivers.NewGateTable(&drivers.Gate{Name: "A", Address: 1})
		if err != nil {
			t.Fatal(err)
		}
		_, err = NewCP(CPConfig{
			Baud: 9600, Devices: []Device{{Address: 1, Key: &k, Signals: DefaultSignals()}}, Gates: gates, Reads: DefaultReadMap(),
			Counters: new(drivers.Counters), Random: func() (r [8]byte) { return r },
		}, simStart)
		if err == nil {
			t.Fatalf("a key that begins with %02X %02X is accepted", k[0], k[1])
		}
	}
	// A reader with such a key is not served by a box with a good one.
	newAttacked(t, PDConfig{Address: 0, Key: &weak[100], RequireSecure: true}).unserved(t)
}

// Key on the line: a reader that forgets its key, or pretends to, must not make
// the box send the key again, for whoever listens knows the default key under
// which that would be. In service no KEYSET is ever sent.
func TestAttackKeyOnTheLine(t *testing.T) {
	key := simKey(0)
	a := newAttacked(t, PDConfig{Address: 0, Key: &key, RequireSecure: true})
	a.until(simStart.Add(2 * time.Second))
	if !a.pds[0].InSession() {
		t.Fatal("the reader is not in session at first")
	}
	a.pds[0] = NewPD(PDConfig{Address: 0, Rand: zeroes{a.r}, Capabilities: simCapabilities(), RequireSecure: true}) // reset by hand
	a.unserved(t)
	for _, f := range framesOf(t, a.wire) {
		if f.Code == CmdKEYSET || f.Code == CmdCOMSET {
			t.Fatalf("in service the box sends %s", CommandName(f.Code))
		}
	}
	for i := range 3 {
		if k := simKey(i); bytes.Contains(a.wire, k[:]) {
			t.Errorf("the key of reader %d is on the line", i)
		}
	}
}

// framesOf cuts what the box has said into frames.
func framesOf(t *testing.T, wire []byte) (all []Frame) {
	t.Helper()
	var s Scanner
	for raw, rest, _ := s.Next(wire); raw != nil; raw, rest, _ = s.Next(rest) {
		f, err := ParseFrame(bytes.Clone(raw))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	if len(all) == 0 {
		t.Fatal("the box has said nothing")
	}
	return all
}
