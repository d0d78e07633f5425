package osdp

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"
)

// A round robin is what the figures are measured against: how long a tap waits
// where every reader is polled in its turn and the verdict goes out at once.
type roundRobin struct {
	readers, baud int
	secure        bool
	turn          time.Duration
}

// Bytes on the wire with one mark: POLL, ACK, a read of 80 bits, OUT.
func (r roundRobin) bytes() (poll, ack, card, out int) {
	if r.secure {
		return 15, 15, 31, 31
	}
	return 9, 9, 23, 13
}

// What the box's software and its host take: once for a decision, once for each
// exchange.
const (
	decideTime = time.Millisecond
	hostTime   = 300 * time.Microsecond
)

func (r roundRobin) String() string {
	form := "clear"
	if r.secure {
		form = "secure"
	}
	return fmt.Sprintf("%2d %-6s %6d baud, %v", r.readers, form, r.baud, r.turn)
}

// cycle is how long a round of empty polls takes, floor what a tap takes whose
// reader is polled at once.
func (r roundRobin) cycle() time.Duration {
	poll, ack, _, _ := r.bytes()
	return time.Duration(r.readers) * (r.wire(poll+ack) + r.turnaround() + r.gap() + hostTime)
}

func (r roundRobin) floor() time.Duration {
	poll, _, card, out := r.bytes()
	return r.wire(poll+card+out) + r.turnaround() + r.gap() + hostTime + decideTime
}

func (r roundRobin) wire(n int) time.Duration {
	return time.Duration(n) * 10 * time.Second / time.Duration(r.baud)
}
func (r roundRobin) gap() time.Duration        { return r.wire(2) }
func (r roundRobin) turnaround() time.Duration { return max(r.turn, r.wire(2)) }
func (r roundRobin) mean() time.Duration       { return r.floor() + r.cycle()/2 }
func (r roundRobin) worst() time.Duration      { return r.floor() + r.cycle() }

func (r roundRobin) bus(t testing.TB, seed uint64) *simBus {
	b := newSimBus(t, seed, r.readers, r.baud, r.secure, r.turn)
	b.until(simStart.Add(10 * time.Second))
	if n := b.online(); n != r.readers {
		t.Fatalf("%v: %d readers are online after ten seconds", r, n)
	}
	return b
}

// waits lets riders tap one after another, least to twice mean minus least apart,
// and returns what they wait, from the card on the reader to the command that
// opens the gate, in rising order.
func waits(t testing.TB, b *simBus, taps int, least, mean time.Duration) []time.Duration {
	t.Helper()
	at := b.now
	var living []int
	for i := range b.pds {
		if !b.dead[i] {
			living = append(living, i)
		}
	}
	for range taps {
		at = at.Add(least + time.Duration(b.r.Int64N(int64(2*(mean-least)))))
		b.present(living[b.r.IntN(len(living))], at, someCard)
	}
	b.sortEvents()
	b.until(at.Add(10 * time.Second))
	slices.Sort(b.waits)
	if len(b.tapped) > 0 || len(b.waits) != taps {
		t.Fatalf("%d of %d taps were shown, %d wait", len(b.waits), taps, len(b.tapped))
	}
	return b.waits
}

// alone is after what time nothing on the line is about a rider any more.
const alone = 3500 * time.Millisecond

func tenth(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

var allFigures = flag.Bool("figures", false, "print the figures of every line, from more taps")

// TestFiguresBesideTheArithmetic prints for each line what taps wait beside what
// they would in a round robin, in virtual time, and holds the median to a tenth
// more than its mean and the worst to a fifth more than its worst.
func TestFiguresBesideTheArithmetic(t *testing.T) {
	if raceEnabled {
		t.Skip("minutes under the race detector, which sees nothing in one goroutine")
	}
	taps := 100
	if *allFigures {
		taps = 1000
	}
	t.Log("                                    p50      mean     max      worst")
	for _, secure := range []bool{true, false} {
		for _, turn := range []time.Duration{time.Millisecond, 3 * time.Millisecond} {
			for _, baud := range []int{9600, 38400, 115200, 230400} {
				for _, readers := range []int{8, 16, 32} {
					if readers > 8 && !*allFigures {
						continue
					}
					r := roundRobin{readers, baud, secure, turn}
					// The arithmetic knows one rider at a time: the signs for the
					// one before are over.
					w := waits(t, r.bus(t, 7), taps, alone, alone+max(500*time.Millisecond, 2*r.cycle()))
					p50, most := w[taps/2], w[taps-1]
					t.Logf("%v  %8v  %8v  %8v %8v", r, tenth(p50), tenth(r.mean()), tenth(most), tenth(r.worst()))
					// Of few taps the median is a matter of luck.
					if *allFigures && p50 > r.mean()*11/10 || most > r.worst()*12/10 {
						t.Errorf("%v: worse than the arithmetic allows", r)
					}
				}
			}
		}
	}
}

// Dead readers do not make the others' riders wait.
func TestFiguresWithDeadReaders(t *testing.T) {
	const taps = 300
	for dead, limit := range []struct{ p50, most time.Duration }{
		{28 * time.Millisecond, 50 * time.Millisecond},
		{30 * time.Millisecond, 80 * time.Millisecond},
		{32 * time.Millisecond, 90 * time.Millisecond},
	} {
		b := roundRobin{8, 115200, true, time.Millisecond}.bus(t, 7)
		for i := range dead {
			b.dead[i] = true
		}
		b.until(b.now.Add(time.Second))
		w := waits(t, b, taps, time.Second/2, time.Second)
		p50, most := w[taps/2], w[taps-1]
		t.Logf("%d of 8 dead: p50 %v, max %v", dead, tenth(p50), tenth(most))
		if p50 > limit.p50 || most > limit.most {
			t.Errorf("%d dead: more than %v and %v", dead, limit.p50, limit.most)
		}
	}
}

// All 32 readers of a line are tapped at once: the last verdict is out within a
// tenth more than what each exchange takes at least.
func TestAllTapAtOnce(t *testing.T) {
	r := roundRobin{32, 115200, true, time.Millisecond}
	b := r.bus(t, 5)
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
	// The arithmetic has 351 ms.
	t.Logf("last verdict after %v", tenth(b.waits[31]))
	if b.waits[31] > 386*time.Millisecond {
		t.Errorf("the last verdict took %v", b.waits[31])
	}
}
