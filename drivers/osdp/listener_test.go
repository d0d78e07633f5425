package osdp

import (
	"bytes"
	"testing"
	"time"

	"gateline/drivers"
)

// Two readers with one address of which one takes longer: its answers fall into
// those of others. Kept quiet, the line shows them; taken off, it is forgotten.
func TestSlowDoubleIsHeard(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for _, later := range []time.Duration{5 * time.Millisecond, 8 * time.Millisecond, 40 * time.Millisecond, 150 * time.Millisecond} {
			b := settled(t, 4, secure)
			suspected := func(i int) bool { return b.cp.cfg.Gates.At(uint8(i)).Trouble()&drivers.TroubleDuplicate != 0 }
			there := true
			b.onReply = func(reply []byte) {
				f, err := ParseFrame(bytes.TrimLeft(reply, "\xff"))
				if err != nil || f.Address != 2 || !there {
					return
				}
				late := bytes.Clone(reply)
				b.events = append(b.events, simEvent{b.now.Add(later), func() {
					if b.cp.asked >= 0 {
						late = []byte{0x17, 0x53} // it meets somebody else's voice
					}
					b.step(late)
				}})
			}
			b.until(b.now.Add(2 * time.Minute))
			for i := range 4 {
				if suspected(i) != (i == 2) {
					t.Errorf("secure %v, %v later: reader %d suspected: %v", secure, later, i, suspected(i))
				}
			}
			there = false
			b.until(b.now.Add(2 * time.Minute))
			if suspected(2) {
				t.Errorf("secure %v, %v later: suspected two minutes after it was taken off", secure, later)
			}
		}
	}
}

// The line is kept quiet only when much is wrong, at most once a second.
func TestListenSeldom(t *testing.T) {
	at := simStart
	l := newListener(8)
	quiets := func(damage int) (n int) {
		for k := range 10_000 { // some thirty seconds
			at = at.Add(3 * time.Millisecond)
			if damage > 0 && k%damage == 0 {
				l.disturbed()
			}
			if l.answered(k%8, 0, false, at) {
				n++
			}
		}
		return n
	}
	if n := quiets(0); n != 0 {
		t.Errorf("a good line is kept quiet %d times", n)
	}
	if n := quiets(100); n != 0 {
		t.Errorf("one answer of a hundred damaged: kept quiet %d times", n)
	}
	if n := quiets(10); n == 0 || n > 16 {
		t.Errorf("one answer of ten damaged: kept quiet %d times", n)
	}
	if l.answered(0, 0, true, at.Add(time.Hour)) {
		t.Error("kept quiet after an answer that may be the second one")
	}
}
