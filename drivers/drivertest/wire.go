package drivertest

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"time"
)

// fromBox is the box as a speaker; gates are their index.
const fromBox = -1

// reading says how bytes that arrive are cut into reads: there is one when most
// bytes are there, or hold after the first.
type reading struct {
	most int
	hold time.Duration
	// odd draws a new most, 1 to the one given, for every read.
	odd bool
}

// uart is how a serial port usually reads: its buffer is emptied every so many
// bytes or once it has been quiet.
func uart() reading { return reading{most: 16, hold: time.Millisecond} }

// ear is where bytes arrive.
type ear struct {
	reading
	r     *rand.Rand
	next  int // most of the next read
	queue []arrival
}

type arrival struct {
	b  byte
	at time.Time
}

func newEar(how reading, r *rand.Rand) *ear {
	e := &ear{r: r, reading: how}
	e.draw()
	return e
}

func (e *ear) draw() {
	e.next = e.most
	if e.odd {
		e.next = 1 + e.r.IntN(e.most)
	}
}

// hear puts bytes into the ear, one each span from start on.
func (e *ear) hear(b []byte, start time.Time, span time.Duration) {
	for _, c := range b {
		start = start.Add(span)
		e.queue = append(e.queue, arrival{c, start})
	}
	slices.SortStableFunc(e.queue, func(a, b arrival) int { return a.at.Compare(b.at) })
}

// due returns when there is something to read.
func (e *ear) due() (at time.Time, ok bool) {
	if len(e.queue) == 0 {
		return at, false
	}
	at = e.queue[0].at.Add(e.hold)
	if len(e.queue) >= e.next && e.queue[e.next-1].at.Before(at) {
		at = e.queue[e.next-1].at
	}
	return at, true
}

// take reads what has arrived.
func (e *ear) take(now time.Time) (b []byte) {
	n := 0
	for n < len(e.queue) && n < e.next && !e.queue[n].at.After(now) {
		b = append(b, e.queue[n].b)
		n++
	}
	e.queue = slices.Delete(e.queue, 0, n)
	e.draw()
	return b
}

// spoil garbles what is still on its way.
func (e *ear) spoil(now time.Time) {
	for i := range e.queue {
		if e.queue[i].at.After(now) {
			e.queue[i].b ^= byte(1 + e.r.IntN(255))
		}
	}
}

// wire is what lies between the box and its gates.
type wire struct {
	half bool
	char time.Duration // one byte's time
	// free is from when the wires may be used, by direction: what the box says
	// and what gates say; on shared wires both are the first.
	free    [2]time.Time
	speaker [2]int
	// echo lets the box hear itself, as some adapters do.
	echo bool
	// change sees every message before it goes on the wire and returns what
	// goes there instead; nil = it goes as it is.
	change func(from int, message []byte) []byte
}

// say puts a message on the wire.
func (w *world) say(from int, message []byte) {
	message = bytes.Clone(message)
	if from != fromBox {
		w.posts[from].said++
		w.posts[from].last = message
	}
	if w.wire.change != nil {
		message = w.wire.change(from, bytes.Clone(message))
	}
	w.carry(from, message)
}

// carry lets a message pass the wire.
func (w *world) carry(from int, message []byte) {
	if len(message) == 0 {
		return
	}
	way := 0
	if from != fromBox && !w.wire.half {
		way = 1
	}
	start := w.now
	if free := w.wire.free[way]; free.After(start) {
		if w.wire.half && w.wire.speaker[way] != from {
			w.collide(message, free)
		} else {
			start = free
		}
	}
	end := start.Add(time.Duration(len(message)) * w.wire.char)
	if end.After(w.wire.free[way]) {
		w.wire.free[way] = end
	}
	w.wire.speaker[way] = from
	if from != fromBox || w.wire.echo {
		w.ear.hear(message, start, w.wire.char)
	}
	for i, p := range w.posts {
		if i != from && p.on && (from == fromBox || w.wire.half) {
			p.ear.hear(message, start, w.wire.char)
		}
	}
}

// collide garbles what is on the wire and as much of a message as begins before
// the wire is free.
func (w *world) collide(message []byte, free time.Time) {
	w.ear.spoil(w.now)
	for _, p := range w.posts {
		p.ear.spoil(w.now)
	}
	overlap := min(len(message), int(free.Sub(w.now)/w.wire.char)+1)
	for i := range message[:overlap] {
		message[i] ^= byte(1 + w.r.IntN(255))
	}
}
