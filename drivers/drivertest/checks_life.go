package drivertest

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"gateline/drivers"
	"gateline/gateway"
)

// Checks of ports that are opened anew, gates that are off, and of long runs.

// reopen does what a line does when its port was lost and is open again: what
// was on its way is gone.
func (w *world) reopen() {
	w.ear.queue = nil
	for _, p := range w.posts {
		p.ear.queue = nil
	}
	w.watch.session.Reset()
	w.wake = w.now
}

func checkResetFrame(p Protocol) error {
	reference := newWorld(p, 200, addresses[0])
	message, number := reference.tapMessage(0)
	if err := reference.verdict(); err != nil {
		return err
	}
	var faults []error
	for cut := 1; cut < len(message); cut += 3 {
		w := newWorld(p, 200, addresses[0])
		w.onNth(0, number, func(m []byte) []byte {
			w.after(time.Duration(cut)*w.wire.char+2*time.Millisecond, w.reopen)
			return m[:cut]
		})
		w.visit(0, credential(1), answers()[0])
		w.visit(0, credential(2), answers()[1])
		if err := w.verdict(); err != nil {
			faults = append(faults, fmt.Errorf("after %d bytes of the tap's message: %w", cut, err))
		}
	}
	return errors.Join(faults...)
}

// resetting opens the port anew at moments after the decision of a tap and
// judges what became of it.
func resetting(p Protocol, seed uint64, again bool, judge func(*world, *visit)) error {
	var faults []error
	for _, later := range []time.Duration{0, 1, 2, 3, 5, 8, 12, 20, 50, 100} {
		w := newWorld(p, seed, addresses[:2]...)
		w.decided = func(v *visit) {
			if v.asked == 1 {
				w.after(later*time.Millisecond, w.reopen)
			}
		}
		v := w.present(1, credential(1), answers()[0])
		v.again = again
		w.live(lifetime)
		judge(w, v)
		w.decided = nil
		w.visit(1, credential(2), answers()[1])
		if err := w.verdict(); err != nil {
			faults = append(faults, fmt.Errorf("port opened anew %v after the decision: %w", later*time.Millisecond, err))
		}
	}
	return errors.Join(faults...)
}

// checkResetAgain demands that a tap is not decided twice.
func checkResetAgain(p Protocol) error {
	return resetting(p, 210, false, func(*world, *visit) {})
}

// checkResetExchange allows that a tap whose answer came to nothing is decided
// anew. A rider never sees both.
func checkResetExchange(p Protocol) error {
	return resetting(p, 215, true, func(w *world, v *visit) {
		if doors, _ := v.counts(); doors > 1 || doors == 1 && !v.told() {
			w.fault("a tap opened the door %d times, and what was shown is of two different answers (IMP-24)", doors)
		}
	})
}

// What one dead gate may cost a tap at another: a longest wait for an answer,
// once in a while.
const (
	deadMedian = 10 * time.Millisecond
	deadMost   = 300 * time.Millisecond
)

// waits presents credentials at the gates that are on, at random moments, and
// returns in order of size how long each waited for the first sign.
func (w *world) waits(first, taps int) (waits []time.Duration) {
	for n := range taps {
		i := w.r.IntN(len(w.posts))
		for !w.posts[i].on {
			i = (i + 1) % len(w.posts)
		}
		w.live(100*time.Millisecond + time.Duration(w.r.Int64N(int64(200*time.Millisecond))))
		v := w.visit(i, credential(first+n), answers()[n%3])
		if w.broken != nil {
			return nil
		}
		waits = append(waits, v.signs()[0].at.Sub(v.at))
	}
	slices.Sort(waits)
	return waits
}

func checkDeadGate(p Protocol) error {
	const taps = 80
	w := newWorld(p, 220, addresses[:]...)
	before := w.waits(0, taps)
	w.off(2)
	after := w.waits(taps, taps)
	if w.broken != nil {
		return w.verdict()
	}
	if median := after[taps/2] - before[taps/2]; median > deadMedian {
		w.fault("with a dead gate on the line half the taps wait %v longer; the limit is %v", median, deadMedian)
	}
	if most := after[taps-1] - before[taps-1]; most > deadMost {
		w.fault("with a dead gate on the line a tap waits %v longer; the limit is %v", most, deadMost)
	}
	return w.verdict()
}

// off switches gate i off.
func (w *world) off(i int) {
	w.posts[i].on = false
	w.posts[i].ear.queue = nil
}

// back switches gate i on again.
func (w *world) back(i int) {
	p := w.posts[i]
	p.on, p.wake = true, w.now
	p.gate.Restart(w.now)
}

func (w *world) states(want ...drivers.GateState) {
	for i, s := range want {
		if got := w.table.At(addresses[i]).State(w.now); got != s {
			w.fault("the box takes gate %d for %v, and it is %v", i, got, s)
		}
	}
}

func checkState(p Protocol) error {
	w := newWorld(p, 230, addresses[:3]...)
	w.live(5 * time.Second)
	w.states(drivers.GateServing, drivers.GateServing, drivers.GateServing)
	w.off(1)
	w.live(drivers.SilentAfter + 2*time.Second)
	w.states(drivers.GateServing, drivers.GateSilent, drivers.GateServing)
	w.live(time.Minute)
	w.states(drivers.GateServing, drivers.GateSilent, drivers.GateServing)
	w.back(1)
	w.live(time.Minute)
	w.states(drivers.GateServing, drivers.GateServing, drivers.GateServing)
	return w.verdict()
}

// returnLimit is how long a gate that comes back may wait to be served: a bus
// looks after those that are long dead every half minute.
const returnLimit = 45 * time.Second

func checkReturn(p Protocol) error {
	var faults []error
	for _, away := range []time.Duration{500 * time.Millisecond, 5 * time.Second, 10 * time.Minute} {
		w := newWorld(p, 240, addresses[:3]...)
		w.off(1)
		w.live(away)
		w.visit(0, credential(1), answers()[1])
		w.back(1)
		w.wait(fmt.Sprintf("a gate that was off for %v shows its lane", away), returnLimit, func() bool {
			return w.posts[1].gate.Lane(w.now) == gateway.LaneAuto
		})
		for i, a := range answers()[:3] {
			w.visit(i, credential(10+i), a)
		}
		faults = append(faults, w.verdict())
	}
	return errors.Join(faults...)
}

// idleFree is how often in a second a session may be called for nothing beyond
// once for everything that is said.
const idleFree = 10

func checkQuiet(p Protocol) error {
	const seconds = 60
	w := newWorld(p, 250, addresses[:]...)
	quiet := func(what string) {
		w.watch.busy, w.watch.idle = 0, 0
		w.live(seconds * time.Second)
		if w.watch.idle > w.watch.busy+idleFree*seconds {
			w.fault("%s: in %d s the session wanted to be called %d times for nothing", what, seconds, w.watch.idle)
		}
	}
	quiet("gates on, no riders")
	for i := range w.posts {
		w.off(i)
	}
	quiet("gates off")
	return w.verdict()
}

const (
	garbage    = 1 << 20
	readLength = 512
	// memoryFree is how much the heap may grow meanwhile for reasons that are
	// not the session's.
	memoryFree = 128 << 10
)

func checkMemory(p Protocol) error {
	w := newWorld(p, 260, addresses[:2]...)
	for i := range w.posts {
		w.off(i)
	}
	read := make([]byte, readLength)
	before := heap()
	for range garbage / readLength {
		for i := range read {
			read[i] = byte(w.r.Uint32())
		}
		w.now = w.now.Add(readLength * w.wire.char)
		w.serve(read)
	}
	if grown := heap() - before; grown > memoryFree {
		w.fault("after %d bytes of noise the heap has grown by %d bytes", garbage, grown)
	}
	for i := range w.posts {
		w.back(i)
	}
	w.wait("the gates are served after the noise", returnLimit, func() bool {
		return !slices.ContainsFunc(w.table.All(), func(g *drivers.Gate) bool { return g.State(w.now) != drivers.GateServing })
	})
	w.live(time.Second) // a tap from before it was served need not be answered
	w.visit(1, credential(1), answers()[0])
	return w.verdict()
}

// heap returns how many bytes are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what the first one only marked for finalizers
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
