package osdp

import (
	"bytes"
	"testing"
	"time"
)

// Somebody else's voice while a slow reader takes its time does not end the wait
// for it.
func TestBabbleBeforeASlowAnswer(t *testing.T) {
	b := newSimBus(t, 14, 2, 115200, true, 150*time.Millisecond)
	b.until(simStart.Add(20 * time.Second))
	missed := func() (n uint64) {
		for _, g := range b.cp.cfg.Gates.All() {
			n += g.Counters.Missed.Load() + g.Counters.Damaged.Load()
		}
		return n
	}
	before := missed()
	babble := AppendFrame(nil, &Frame{Address: 77, Reply: true, SQN: 1, CRC: true, Code: ReplyACK})
	b.onSend = func([]byte) { b.step(babble) }
	b.present(1, b.now.Add(time.Second), someCard)
	b.until(b.now.Add(3 * time.Second))
	if b.taps != 1 || len(b.tapped) != 0 || missed() != before {
		t.Errorf("%d taps, %d wait, %d answers missed", b.taps, len(b.tapped), missed()-before)
	}
}

// ask lets the line live until the CP has put a question.
func (b *simBus) ask() []byte {
	for {
		out := b.step(nil)
		if len(out.Send) > 0 {
			return bytes.Clone(out.Send)
		}
		b.now = out.Wake
	}
}

// Somebody who goes on and on, in bytes or in frames of a box, does not hold the
// line.
func TestBabblerDoesNotHoldTheLine(t *testing.T) {
	stranger := AppendFrame(nil, &Frame{Address: 77, SQN: 1, CRC: true, Code: CmdPOLL})
	for name, babble := range map[string][]byte{"bytes": {0x17}, "frames": stranger} {
		b := settled(t, 2, true)
		b.ask()
		for end := b.now.Add(time.Second); len(b.step(babble).Send) == 0; b.now = b.now.Add(3 * time.Millisecond) {
			if b.now.After(end) {
				t.Fatalf("%s: nobody else is asked", name)
			}
		}
	}
}

// An answer that stands behind what looks like the start of a frame is found.
func TestAnswerBehindAFalseStart(t *testing.T) {
	b := settled(t, 1, true)
	question := b.ask()
	answer := b.pds[0].Step(b.now, question)
	if len(answer) == 0 {
		t.Fatal("the reader does not answer")
	}
	gate := &b.cp.cfg.Gates.At(0).Counters
	before, heard := gate.Damaged.Load()+gate.Missed.Load(), b.counters.Heartbeats.Load()
	b.step(append([]byte{0x53, 0x80, 0x40, 0x00}, answer...))
	b.now = b.cp.deadline
	b.step(nil)
	if gate.Damaged.Load()+gate.Missed.Load() != before || b.counters.Heartbeats.Load() != heard+1 {
		t.Error("it is taken for damaged")
	}
}
