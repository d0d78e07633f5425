package drivertest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Checks of what a wire does to messages.

// lostMessages is how many messages after a tap are lost one by one, each in a
// run of its own: the question, the answer, and what a bus of two says around them.
const lostMessages = 16

// loseFrom loses every message for a time, from the nth after now on.
func (w *world) loseFrom(n int, span time.Duration) {
	var until time.Time
	count := 0
	w.wire.change = func(_ int, message []byte) []byte {
		if count++; count == n+1 {
			until = w.now.Add(span)
		}
		if count > n && !w.now.After(until) {
			return nil
		}
		return message
	}
}

// losing runs do in a world for each message that may be the first to be lost.
func losing(p Protocol, seed uint64, span time.Duration, do func(*world)) error {
	var faults []error
	for n := range lostMessages {
		w := newWorld(p, seed+uint64(n), addresses[:2]...)
		w.loseFrom(n, span)
		do(w)
		if err := w.verdict(); err != nil {
			faults = append(faults, fmt.Errorf("message %d after the tap lost: %w", n, err))
		}
	}
	return errors.Join(faults...)
}

func checkLost(p Protocol) error {
	return losing(p, 20, 0, func(w *world) { w.visit(1, credential(1), answers()[0]) })
}

func checkOutage(p Protocol) error {
	return losing(p, 40, 600*time.Millisecond, func(w *world) { w.visit(1, credential(1), answers()[1]) })
}

// checkLifetime loses everything for longer than an answer is good for. The tap
// may be asked anew after that, and what is shown must not be older.
func checkLifetime(p Protocol) error {
	return losing(p, 60, 2*time.Second, func(w *world) {
		a := answers()[0]
		a.TTL = time.Second
		v := w.present(1, credential(1), a)
		v.again = true
		w.live(patience)
		w.visit(1, credential(2), answers()[1])
	})
}

func checkOneByOne(p Protocol) error { return reads(p, 80, reading{most: 1}) }

func checkOddReads(p Protocol) error {
	return reads(p, 81, reading{most: 13, hold: time.Millisecond, odd: true})
}

func checkLumps(p Protocol) error {
	return reads(p, 82, reading{most: 512, hold: 8 * time.Millisecond})
}

// readLimit is how long a tap may take however reads are cut: less than a gate
// waits before it asks again, for nothing is lost.
const readLimit = 250 * time.Millisecond

// reads lets all gates tap while the box's port reads in its own way.
func reads(p Protocol, seed uint64, how reading) error {
	w := newWorldReading(p, seed, how, addresses[:]...)
	for round := range 8 {
		for _, v := range w.rush(round) {
			if signs := v.signs(); len(signs) > 0 && signs[0].at.Sub(v.at) > readLimit {
				w.fault("a tap at gate %d waited %v although nothing was lost", v.post.index, signs[0].at.Sub(v.at))
			}
		}
	}
	return w.verdict()
}

// noise returns up to most random bytes.
func noise(r *rand.Rand, most int) []byte {
	b := make([]byte, r.IntN(most+1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// spared is how many messages after a disturbed one pass as they are. Several
// in a row make a gate one that does not answer, and that is another check.
const spared = 3

// disturb puts noise before and after some messages.
func (w *world) disturb() {
	since := spared
	w.wire.change = func(from int, message []byte) []byte {
		if since++; since <= spared || w.r.IntN(4) > 0 {
			return message
		}
		since = 0
		if from == fromBox {
			return append(noise(w.r, 6), message...)
		}
		return append(append(noise(w.r, 40), message...), noise(w.r, 40)...)
	}
}

func checkNoise(p Protocol) error {
	var faults []error
	for seed := range uint64(4) {
		w := newWorld(p, 90+seed, addresses[:2]...)
		w.disturb()
		for round := range 8 {
			w.ear.hear(noise(w.r, 300), w.now, w.wire.char)
			w.live(50 * time.Millisecond)
			w.rush(round)
		}
		if errorsOf(w) == 0 {
			w.fault("no counter of errors has risen")
		}
		faults = append(faults, w.verdict())
	}
	return errors.Join(faults...)
}

// errorsOf adds up the line's counters of errors.
func errorsOf(w *world) (sum uint64) {
	w.counters.Errors(func(_ string, n uint64) { sum += n })
	return sum
}

// tapMessage presents a credential at gate i and returns the message that
// carried it to the box, and the how many-th of the gate it was from then on.
func (w *world) tapMessage(i int) (message []byte, number int) {
	before := w.posts[i].said
	w.decided = func(v *visit) { message, number = v.post.last, v.post.said-before }
	w.visit(i, credential(1), answers()[0])
	w.decided = nil
	if message == nil {
		w.fault("no message carried the tap")
	}
	return message, number
}

// onNth replaces the nth message that gate i says from now on.
func (w *world) onNth(i, n int, replace func(message []byte) []byte) {
	w.wire.change = func(from int, message []byte) []byte {
		if from == i {
			if n--; n == 0 {
				return replace(message)
			}
		}
		return message
	}
}

func checkBits(p Protocol) error {
	reference := newWorld(p, 100, addresses[0])
	message, number := reference.tapMessage(0)
	if err := reference.verdict(); err != nil {
		return err
	}
	const enough = 4 // faults; one may have as many as the message has bits
	var faults []error
	for bit := range 8 * len(message) {
		w := newWorld(p, 100, addresses[0])
		w.onNth(0, number, func(m []byte) []byte {
			m[bit/8] ^= 1 << (bit % 8)
			return m
		})
		w.visit(0, credential(1), answers()[0])
		if err := w.verdict(); err != nil {
			faults = append(faults, fmt.Errorf("bit %d of the tap's message flipped: %w", bit, err))
		}
		if len(faults) == enough {
			break
		}
	}
	return errors.Join(faults...)
}

func checkStranger(p Protocol) error {
	there := newWorld(p, 110, addresses[0], strangerAddress)
	message, _ := there.tapMessage(1)
	if err := there.verdict(); err != nil {
		return err
	}
	w := newWorld(p, 110, addresses[:2]...)
	stranger := w.add(strangerAddress, nil)
	stranger.gate.Present(w.now, credential(1))
	for round := range 20 {
		w.ear.hear(message, w.now, w.wire.char)
		w.live(time.Duration(w.r.Int64N(int64(50 * time.Millisecond))))
		w.onNth(0, 1, func([]byte) []byte { return message })
		w.live(50 * time.Millisecond)
		w.visit(1, credential(10+round), answers()[round%3])
	}
	if len(stranger.signs) > 0 {
		w.fault("the gate that is not configured was answered")
	}
	if w.counters.UnknownGate.Load() == 0 {
		w.fault("frames of an unknown gate are not counted as such")
	}
	return w.verdict()
}

func checkEcho(p Protocol) error {
	w := newWorld(p, 120, addresses[:]...)
	w.wire.echo = true
	for round := range 8 {
		w.rush(round)
	}
	return w.verdict()
}

// checkBounds gives a session more than a line ever reads at once, and answers
// a tap while what the same Step wants to send is still to be written.
func checkBounds(p Protocol) error {
	reference := newWorld(p, 130, addresses[:2]...)
	one, _ := reference.tapMessage(0)
	other, _ := reference.tapMessage(1)
	if err := reference.verdict(); err != nil {
		return err
	}
	w := newWorld(p, 130, addresses[:2]...)
	w.expect(0, credential(1), answers()[0])
	w.expect(1, credential(1), answers()[0])
	w.serve(bytes.Repeat(one, 4096))
	w.serve(append(one, other...))
	w.live(lifetime)
	w.visit(0, credential(2), answers()[1])
	return w.verdict()
}
