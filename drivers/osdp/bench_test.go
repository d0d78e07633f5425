package osdp

import (
	"testing"
	"time"
)

// exchange is one command and its reply in a session, as both ends build and
// read them, in reused buffers.
type exchange struct {
	t           testing.TB
	box, reader *Channel
	scan        Scanner
	wire        []byte
	data        []byte
}

func newExchange(t testing.TB) *exchange {
	box, reader := shake(t, newKey)
	return &exchange{t: t, box: box, reader: reader, data: someReadB}
}

// over sends f over the line and returns what arrives.
func (e *exchange) over(f *Frame) (raw []byte, got Frame) {
	e.wire = AppendFrame(e.wire[:0], f)
	raw, _, _ = e.scan.Next(e.wire)
	got, err := ParseFrame(raw)
	if err != nil {
		e.t.Fatal(err)
	}
	return raw, got
}

func (e *exchange) run() {
	f := Frame{Address: 1, SQN: 1, CRC: true, Code: CmdPOLL}
	e.box.SealCommand(&f)
	raw, got := e.over(&f)
	if err := e.reader.OpenCommand(&got, raw); err != nil {
		e.t.Fatal(err)
	}
	f = Frame{Address: 1, SQN: 1, CRC: true, Code: ReplyRAW, Data: e.data}
	e.reader.SealReply(&f)
	raw, got = e.over(&f)
	if err := e.box.OpenReply(&got, raw); err != nil {
		e.t.Fatal(err)
	}
	if r, err := ParseRead(got.Data); err != nil || r.Bits != 80 {
		e.t.Fatal("the read is lost")
	}
}

// TestExchangeDoesNotAllocate covers encode, scan, parse, seal, open and the
// decoder of a read.
func TestExchangeDoesNotAllocate(t *testing.T) {
	e := newExchange(t)
	e.run()
	if n := testing.AllocsPerRun(200, e.run); n != 0 {
		t.Errorf("an exchange in a session allocates %v times", n)
	}
}

func TestPDDoesNotAllocate(t *testing.T) {
	p := NewPD(PDConfig{Address: 1, Capabilities: TypicalCapabilities()})
	var wire []byte
	var sqn byte
	poll := func() {
		wire = AppendFrame(wire[:0], &Frame{Address: 1, SQN: sqn, CRC: true, Code: CmdPOLL})
		if len(p.Step(talkStart, wire)) == 0 {
			t.Fatal("no answer")
		}
		sqn = NextSQN(sqn)
	}
	poll()
	if n := testing.AllocsPerRun(200, poll); n != 0 {
		t.Errorf("a POLL to the PD allocates %v times", n)
	}
}

func BenchmarkAppendFrame(b *testing.B) {
	b.ReportAllocs()
	f := Frame{Address: 1, SQN: 1, CRC: true, Code: CmdLED, Data: greenLED}
	var wire []byte
	for b.Loop() {
		wire = AppendFrame(wire[:0], &f)
	}
}

func BenchmarkScanAndParse(b *testing.B) {
	b.ReportAllocs()
	wire := AppendFrame(nil, &Frame{Address: 1, SQN: 1, CRC: true, Code: CmdLED, Data: greenLED})
	var s Scanner
	for b.Loop() {
		raw, _, _ := s.Next(wire)
		if _, err := ParseFrame(raw); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkExchange is a POLL and a read in a session, both ends of it.
func BenchmarkExchange(b *testing.B) {
	b.ReportAllocs()
	e := newExchange(b)
	for b.Loop() {
		e.run()
	}
}

// BenchmarkChannel is the Secure Channel alone, without a frame's bytes: the read
// of a card encrypted and its MAC made, and the MAC compared and the read in clear
// again.
func BenchmarkChannel(b *testing.B) {
	box, reader := shake(b, newKey)
	poll := Frame{Address: 1, SQN: 1, CRC: true, Code: CmdPOLL}
	box.SealCommand(&poll)
	raw := AppendFrame(nil, &poll)[1:] // without the mark
	if err := reader.OpenCommand(&poll, raw); err != nil {
		b.Fatal(err)
	}
	read := Frame{Address: 1, SQN: 1, CRC: true, Code: ReplyRAW, Data: someReadB}
	b.Run("seal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f := read
			reader.SealReply(&f)
		}
	})
	sealed := read
	reader.SealReply(&sealed)
	raw = AppendFrame(nil, &sealed)[1:]
	b.Run("open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f := sealed
			if err := box.OpenReply(&f, raw); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkHandshake(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		shake(b, newKey)
	}
}

// BenchmarkPD is a POLL to a PD and its ACK, with the repeat of the POLL.
func BenchmarkPD(b *testing.B) {
	b.ReportAllocs()
	p := NewPD(PDConfig{Address: 1, Capabilities: TypicalCapabilities()})
	var wires [4][]byte
	for sqn := range wires {
		wires[sqn] = AppendFrame(nil, &Frame{Address: 1, SQN: byte(sqn), CRC: true, Code: CmdPOLL})
	}
	p.Step(talkStart, wires[0])
	sqn, now := byte(0), talkStart
	for b.Loop() {
		sqn, now = NextSQN(sqn), now.Add(time.Millisecond)
		p.Step(now, wires[sqn])
		if len(p.Step(now, wires[sqn])) == 0 {
			b.Fatal("no answer")
		}
	}
}
