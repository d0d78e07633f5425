package simulator

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gateline/drivers/osdp"
	"gateline/gateway"
)

// testLine is a line in virtual time, at 9600 baud a little over a millisecond
// a byte.
type testLine struct {
	t   *testing.T
	m   medium
	now time.Time
	got []arrival // what the box's port received
}

// arrival is some bytes and when they were there.
type arrival struct {
	at    time.Time
	bytes []byte
}

const testTurn = 5 * time.Millisecond

func newTestLine(t *testing.T, n int, f faults, keys []osdp.Key) *testLine {
	t.Helper()
	l := &testLine{t: t, now: noon}
	l.m = newMedium(readersConfig{n: n, baud: testBaud, turnaround: testTurn, keys: keys, faults: f, r: rand.New(rand.NewPCG(7, 7))}, noon)
	return l
}

// until lets the line live until an instant, at the instants that it names.
func (l *testLine) until(end time.Time) {
	for {
		out, wake := l.m.step(l.now)
		if len(out) > 0 {
			l.got = append(l.got, arrival{l.now, bytes.Clone(out)})
		}
		if wake.IsZero() || wake.After(end) {
			l.now = end
			return
		}
		if wake.Before(l.now) {
			l.t.Fatalf("at %v the line wants to have been woken at %v", l.now.Sub(noon), wake.Sub(noon))
		}
		l.now = wake
	}
}

// heard returns all that the box has received.
func (l *testLine) heard() (all []byte) {
	for _, a := range l.got {
		all = append(all, a.bytes...)
	}
	return all
}

// frames returns the codes of all good replies in what the box has received.
func (l *testLine) frames() (codes []byte) {
	var s osdp.Scanner
	in := l.heard()
	for {
		raw, rest, _ := s.Next(in)
		if raw == nil {
			return codes
		}
		if f, err := osdp.ParseFrame(raw); err == nil && f.Reply {
			codes = append(codes, f.Code)
		}
		in = rest
	}
}

func poll(address, sqn byte) []byte {
	return osdp.AppendFrame(nil, &osdp.Frame{Address: address, SQN: sqn, CRC: true, Code: osdp.CmdPOLL})
}

func onWire(n int) time.Duration { return time.Duration(n) * byteTime(testBaud) }

// Time on the wire is charged once each way: the answer begins its turnaround
// after the question's last byte, and its bytes are there when the wire has
// carried them, eight at a time.
func TestMediumTiming(t *testing.T) {
	question := poll(0, 0)
	for name, say := range map[string]func(*testLine){
		"at once": func(l *testLine) { l.m.say(l.now, question) },
		"in two reads": func(l *testLine) {
			l.m.say(l.now, question[:4])
			l.until(l.now.Add(onWire(3)))
			l.m.say(l.now, question[4:])
		},
		"byte by byte": func(l *testLine) {
			for i := range question {
				l.m.say(l.now, question[i:i+1])
			}
		},
	} {
		l := newTestLine(t, 3, faults{}, nil)
		say(l)
		l.until(noon.Add(time.Second))
		ends := noon.Add(onWire(len(question)))
		begins := ends.Add(testTurn)
		const answer = 9 // mark, head, ACK, CRC
		want := []time.Time{begins.Add(onWire(8)), begins.Add(onWire(answer))}
		var got []time.Time
		for _, a := range l.got {
			got = append(got, a.at)
		}
		if !slices.EqualFunc(got, want, time.Time.Equal) || len(l.heard()) != answer || !bytes.Equal(l.frames(), []byte{osdp.ReplyACK}) {
			t.Errorf("%s: % x at %v, want at %v", name, l.heard(), got, want)
		}
	}
}

// A machine that comes late to the wires does not change what was on them when:
// a question asked after an answer's end does not meet it.
func TestMediumLateMachine(t *testing.T) {
	l := newTestLine(t, 1, faults{}, nil)
	l.m.say(l.now, poll(0, 0))
	l.now = noon.Add(100 * time.Millisecond) // the answer is long over, and nobody has looked
	l.m.say(l.now, poll(0, 1))
	l.until(noon.Add(time.Second))
	want := noon.Add(100*time.Millisecond + onWire(9) + testTurn + onWire(9))
	if last := l.got[len(l.got)-1].at; !bytes.Equal(l.frames(), []byte{osdp.ReplyACK, osdp.ReplyACK}) || !last.Equal(want) {
		t.Errorf("% x, the last after %v", l.frames(), last.Sub(noon))
	}
	if c := l.m.counts; c.Questions != 2 || c.Unanswered != 0 || c.Collided != 0 {
		t.Errorf("%+v", c)
	}
}

// A question whose second part comes late has its last byte late, and a card
// is read by the first question that ends after it was presented.
func TestMediumLatePart(t *testing.T) {
	l := newTestLine(t, 1, faults{}, nil)
	question := poll(0, 0)
	l.m.say(l.now, question[:4])
	l.until(noon.Add(onWire(10)))
	l.m.say(l.now, question[4:])
	ends := noon.Add(onWire(10 + len(question) - 4))
	l.m.units[0].present(ends.Add(time.Microsecond), readOf(0))
	l.until(ends.Add(testTurn + onWire(9)))
	if last := l.got[len(l.got)-1].at; !last.Equal(ends.Add(testTurn+onWire(9))) || !bytes.Equal(l.frames(), []byte{osdp.ReplyACK}) {
		t.Errorf("% x at %v", l.frames(), last.Sub(noon))
	}
	l.m.say(l.now, poll(0, 1))
	l.until(l.now.Add(time.Second))
	if !bytes.Equal(l.frames(), []byte{osdp.ReplyACK, osdp.ReplyRAW}) {
		t.Errorf("% x", l.frames())
	}
}

// Two readers with one address: what they say at once is garbled, and no longer
// than what one says; what they say one after the other is there twice.
func TestMediumTwins(t *testing.T) {
	exact := newTestLine(t, 1, faults{readers: []readerFault{{kind: faultTwin, turnaround: testTurn}}}, nil)
	part := newTestLine(t, 1, faults{readers: []readerFault{{kind: faultTwin, turnaround: testTurn + onWire(5)}}}, nil)
	apart := newTestLine(t, 1, faults{readers: []readerFault{{kind: faultTwin, turnaround: testTurn + onWire(9)}}}, nil)
	for _, l := range []*testLine{exact, part, apart} {
		l.m.say(l.now, poll(0, 0))
		l.until(noon.Add(time.Second))
	}
	if len(exact.heard()) != 9 || len(exact.frames()) != 0 || exact.m.counts.Collided != 2 {
		t.Errorf("at once: % x, %+v", exact.heard(), exact.m.counts)
	}
	if len(part.heard()) != 14 || len(part.frames()) != 0 || part.m.counts.Collided != 2 {
		t.Errorf("overlapping: % x, %+v", part.heard(), part.m.counts)
	}
	if !bytes.Equal(apart.frames(), []byte{osdp.ReplyACK, osdp.ReplyACK}) || apart.m.counts.Collided != 0 {
		t.Errorf("one after the other: % x, %+v", apart.frames(), apart.m.counts)
	}
}

// A box that asks on while a slow reader answers is heard by nobody, and hears
// nothing of what was said at the same time.
func TestMediumBoxInterrupts(t *testing.T) {
	l := newTestLine(t, 2, faults{readers: []readerFault{{kind: faultSlow, turnaround: 100 * time.Millisecond}}}, nil)
	l.m.say(l.now, poll(0, 0))
	l.until(noon.Add(onWire(9) + 100*time.Millisecond - onWire(4)))
	l.m.say(l.now, poll(1, 0)) // the answer begins in the middle of it
	l.until(noon.Add(time.Second))
	if len(l.heard()) != 4 || len(l.frames()) != 0 {
		t.Errorf("the box heard % x", l.heard())
	}
	if c := l.m.counts; c.Collided != 2 || c.Questions != 2 || c.Unanswered != 1 {
		t.Errorf("%+v", c)
	}
}

// A box that speaks in the middle of an answer hears no more of it.
func TestMediumBoxSpeaksLast(t *testing.T) {
	l := newTestLine(t, 2, faults{}, nil)
	l.m.say(l.now, poll(0, 0))
	l.until(noon.Add(onWire(9) + testTurn + onWire(3)))
	l.m.say(l.now, poll(1, 0))
	l.until(noon.Add(time.Second))
	if len(l.heard()) != 3 || l.m.counts.Collided != 2 {
		t.Errorf("the box heard % x, %+v", l.heard(), l.m.counts)
	}
}

// A slow reader that is asked again and again answers two questions, one after
// the other.
func TestMediumSlowReader(t *testing.T) {
	l := newTestLine(t, 1, faults{readers: []readerFault{{kind: faultSlow, turnaround: 200 * time.Millisecond}}}, nil)
	for range 4 {
		l.m.say(l.now, poll(0, 0))
		l.until(l.now.Add(20 * time.Millisecond))
	}
	l.until(noon.Add(2 * time.Second))
	second := noon.Add(onWire(9) + 2*(200*time.Millisecond+onWire(9)))
	if last := l.got[len(l.got)-1].at; !bytes.Equal(l.frames(), []byte{osdp.ReplyACK, osdp.ReplyACK}) || !last.Equal(second) {
		t.Errorf("% x, the last after %v", l.frames(), last.Sub(noon))
	}
	if c := l.m.counts; c.Questions != 4 || c.Retries != 3 || c.Unanswered != 3 {
		t.Errorf("%+v", c)
	}
}

// Half a frame hides the question behind it until nobody speaks any more.
func TestMediumHalfAFrame(t *testing.T) {
	l := newTestLine(t, 1, faults{}, nil)
	l.m.say(l.now, []byte{0x53, 0, 100, 0, 4})
	l.until(noon.Add(15 * time.Millisecond))
	data := osdp.AppendLED(nil, osdp.LED{Perm: osdp.PermSet, PermBlink: osdp.Steady(osdp.Blue)})
	question := osdp.AppendFrame(nil, &osdp.Frame{CRC: true, Code: osdp.CmdLED, Data: data})
	l.m.say(l.now, question)
	l.until(noon.Add(time.Second))
	want := noon.Add(15*time.Millisecond + onWire(len(question)) + osdp.InterByte + testTurn + onWire(9))
	if last := l.got[len(l.got)-1].at; !bytes.Equal(l.frames(), []byte{osdp.ReplyACK}) || !last.Equal(want) {
		t.Errorf("% x after %v, want after %v", l.frames(), last.Sub(noon), want.Sub(noon))
	}
	if !l.m.units[0].told {
		t.Error("the reader was not told its lane")
	}
}

// A mute reader, one without power and one at another speed say nothing; the
// others do not mind.
func TestMediumSilent(t *testing.T) {
	l := newTestLine(t, 4, faults{readers: []readerFault{{kind: faultMute}, {kind: faultSpeed, baud: 19200}}}, nil)
	l.m.switches = []powerSwitch{{at: noon, reader: 2}}
	for i := range 4 {
		l.m.say(l.now, poll(byte(i), 0))
		l.until(l.now.Add(time.Second))
	}
	if !bytes.Equal(l.frames(), []byte{osdp.ReplyACK}) || l.m.counts.Unanswered != 3 {
		t.Errorf("% x, %+v", l.heard(), l.m.counts)
	}
	l.m.baud = 19200 // the box speaks at the second reader's speed
	l.got = nil
	l.m.say(l.now, poll(1, 0))
	l.until(l.now.Add(time.Second))
	l.m.say(l.now, poll(3, 1))
	l.until(l.now.Add(time.Second))
	if !bytes.Equal(l.frames(), []byte{osdp.ReplyACK}) {
		t.Errorf("at 19200 baud: % x", l.heard())
	}
}

// A reader that loses its power in the middle of a word is heard no further,
// its rider sees it go dark, and it has forgotten its card when it is back.
func TestMediumPower(t *testing.T) {
	l := newTestLine(t, 1, faults{}, nil)
	u := l.m.units[0]
	signs := make(chan sign, 1)
	u.waits = signs
	u.present(noon, readOf(0))
	l.m.say(l.now, poll(0, 0))
	off := noon.Add(onWire(9) + testTurn + onWire(8))
	on := off.Add(time.Second)
	l.m.switches = []powerSwitch{{at: off.Add(time.Microsecond), reader: 0}, {at: on, reader: 0, on: true}}
	l.until(on.Add(time.Millisecond))
	if s := <-signs; !s.dark || len(l.heard()) != 8 || u.off {
		t.Errorf("sign %+v, % x, off %v", s, l.heard(), u.off)
	}
	l.got = nil
	asked := l.now
	for sqn := range byte(2) {
		l.m.say(l.now, poll(0, sqn))
		l.until(l.now.Add(100 * time.Millisecond))
	}
	first := asked.Add(onWire(9))
	if !bytes.Equal(l.frames(), []byte{osdp.ReplyACK, osdp.ReplyACK}) || !u.answered.Equal(first) || !u.served.Equal(first) || len(l.m.back.back) != 1 || l.m.back.found[0] != first.Sub(on) {
		t.Errorf("% x, answered %v, served %v, %+v", l.frames(), u.answered.Sub(noon), u.served.Sub(noon), l.m.back)
	}
}

// Readers with another key, with none, and well ones, as a handshake finds
// them.
func TestMediumKeys(t *testing.T) {
	keys := []osdp.Key{{1, 2}, {3, 4}, {5, 6}}
	l := newTestLine(t, 3, faults{readers: []readerFault{{kind: faultWrongKey}, {kind: faultDefaultKey}}}, keys)
	for i, want := range []bool{false, false, true} {
		var f osdp.Frame
		l.got = nil
		hand := osdp.NewCPHandshake(keys[i], [8]byte{byte(i)})
		f = osdp.Frame{Address: byte(i), CRC: true}
		hand.Challenge(&f)
		l.m.say(l.now, osdp.AppendFrame(nil, &f))
		l.until(l.now.Add(time.Second))
		answer, ok := frameOf(l.heard())
		if !ok {
			t.Fatalf("reader %d says % x", i, l.heard())
		}
		if proved := hand.Accept(&answer, &f) == nil; proved != want {
			t.Errorf("reader %d proves its key: %v", i, proved)
		}
	}
	l.got = nil
	l.m.say(l.now, poll(1, 0)) // in clear
	l.until(l.now.Add(time.Second))
	if !bytes.Equal(l.frames(), []byte{osdp.ReplyACK}) {
		t.Errorf("the reader without a key does not talk in clear: % x", l.frames())
	}
}

// An adapter that hears itself hands the box its own bytes first.
func TestMediumEcho(t *testing.T) {
	l := newTestLine(t, 1, faults{echo: true}, nil)
	question := poll(0, 0)
	l.m.say(l.now, question)
	l.until(noon.Add(time.Second))
	if !bytes.HasPrefix(l.heard(), question) || !bytes.Equal(l.frames(), []byte{osdp.ReplyACK}) {
		t.Errorf("the box heard % x", l.heard())
	}
	if l.got[1].at != noon.Add(onWire(len(question))) {
		t.Errorf("its own last byte was there after %v", l.got[1].at.Sub(noon))
	}
}

// A babbling reader speaks unasked, about as often as it was told to and never
// without a pause; all faults together repeat themselves with their seed.
func TestMediumBabble(t *testing.T) {
	play := func(seed uint64) *testLine {
		l := newTestLine(t, 3, faults{errorRate: 1e-3, readers: []readerFault{{kind: faultBabble, every: 200 * time.Millisecond}, {kind: faultTwin, turnaround: testTurn}}}, nil)
		l.m.air = newNoise(1e-3, rand.New(rand.NewPCG(seed, 1)))
		for i := range 500 {
			l.m.say(l.now, poll(byte(i%3), 0))
			l.until(l.now.Add(100 * time.Millisecond))
		}
		return l
	}
	a, b, other := play(1), play(1), play(2)
	if c := a.m.counts; c.Babbled < 180 || c.Babbled > 320 || c.Damaged == 0 || c.Collided == 0 || c.Questions != 500 {
		t.Errorf("%+v", c)
	}
	if !bytes.Equal(a.heard(), b.heard()) || a.m.counts != b.m.counts {
		t.Error("the same seed makes other faults")
	}
	if bytes.Equal(a.heard(), other.heard()) {
		t.Error("another seed makes the same faults")
	}
	if n := len(a.m.talks); n > 8 {
		t.Errorf("%d talks are remembered", n)
	}
}

// Every command that may be a rider's first sign, and the ways to show a lane
// that must not be taken for one.
func TestSignOf(t *testing.T) {
	led := func(l osdp.LED) osdp.Show { return osdp.Show{Code: osdp.CmdLED, LED: l} }
	steady := osdp.Steady
	for name, c := range map[string]struct {
		show osdp.Show
		lane bool
		sign bool
		want gateway.Verdict
	}{
		"pulse":      {osdp.Show{Code: osdp.CmdOUT, Out: osdp.Out{Control: osdp.OutPulseOn, Time: time.Second}}, false, true, gateway.VerdictPass},
		"off":        {osdp.Show{Code: osdp.CmdOUT, Out: osdp.Out{Control: osdp.OutOff}}, false, false, 0},
		"red":        {led(osdp.LED{Temp: osdp.TempSet, TempTime: 2 * time.Second, TempBlink: steady(osdp.Red)}), false, true, gateway.VerdictRefuse},
		"amber":      {led(osdp.LED{Temp: osdp.TempSet, TempTime: 2 * time.Second, TempBlink: steady(osdp.Amber)}), false, true, gateway.VerdictManual},
		"green":      {led(osdp.LED{Temp: osdp.TempSet, TempTime: 2 * time.Second, TempBlink: steady(osdp.Green)}), false, false, 0},
		"lane":       {led(osdp.LED{Perm: osdp.PermSet, PermBlink: steady(osdp.Amber)}), true, false, 0},
		"timed lane": {led(osdp.LED{Temp: osdp.TempSet, TempTime: 10 * time.Second, TempBlink: steady(osdp.Amber)}), true, false, 0},
		"both": {led(osdp.LED{Temp: osdp.TempSet, TempTime: 3 * time.Second, TempBlink: steady(osdp.Amber),
			Perm: osdp.PermSet, PermBlink: steady(osdp.Amber)}), true, false, 0},
	} {
		got, ok := signOf(c.show)
		if ok != c.sign || ok && (got.verdict != c.want || got.open != (c.want == gateway.VerdictPass)) || lane(c.show) != c.lane {
			t.Errorf("%s: sign %v %v, lane %v", name, ok, got.verdict, lane(c.show))
		}
	}
}

// A plan of power cuts is the same with the same seed, in order, and leaves the
// reader on.
func TestPowerCycles(t *testing.T) {
	plan := func(seed uint64) []powerSwitch { return powerCycles(rand.New(rand.NewPCG(seed, 3)), 1, noon) }
	a := plan(1)
	if !slices.Equal(a, plan(1)) || slices.Equal(a, plan(2)) {
		t.Error("the plan does not go by its seed")
	}
	last := noon
	for i, s := range a {
		least, most := onLeast, onMost
		if s.on {
			least, most = offLeast, offMost
		}
		if d := s.at.Sub(last); d < least || d > most || s.on != (i%2 == 1) || s.reader != 1 {
			t.Fatalf("switch %d: %+v after %v", i, s, d)
		}
		last = s.at
	}
	if !a[len(a)-1].on {
		t.Error("the reader stays off")
	}
}
