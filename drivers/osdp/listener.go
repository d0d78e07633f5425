package osdp

import (
	"time"

	"gateline/drivers/bus"
)

const (
	// listenFrom is the unrest of a line from which it is listened to: some three
	// answers damaged, late or between others within a hundred. Noise at a bit error rate
	// of 1e-4 stays below.
	listenFrom = 120
	// listenDamage is what one of them adds; a clean one takes one
	// off. listenMost bounds it.
	listenDamage = 50
	listenMost   = 400
	// After the answer of a reader the line is quiet for as long as another with
	// its address may take. That is a stall for the others, so at most one in
	// listenEvery, and one in listenAgain for each reader unless something was
	// heard.
	listenEvery = time.Second
	listenAgain = 20 * time.Second
	// A second answer heard counts listenHeard, none takes one off; two readers
	// are suspected from listenSure on. A question may reach one of the two only.
	listenHeard = 2
	listenSure  = 3
	listenMax   = 6
)

// listener keeps the line quiet after an answer now and then, when much is
// damaged on it: a second reader with the same address that takes longer then
// shows, instead of damaging the answers of others.
type listener struct {
	unrest int
	last   time.Time   // when the line was last kept quiet
	each   []time.Time // and after whose answer
	after  int         // the reader after whose answer it is quiet; -1 = none
	second bool        // a second answer came
}

func newListener(readers int) listener { return listener{each: make([]time.Time, readers), after: -1} }

// disturbed notes a damaged answer, one that nobody waited for, or noise.
func (l *listener) disturbed() { l.unrest = min(l.unrest+listenDamage, listenMost) }

// answered notes a good answer of reader i, whose double.heard is given. An
// answer behind noise may be the second one already. It reports whether the line
// is to be quiet for a while now.
func (l *listener) answered(i, heard int, noisy bool, now time.Time) bool {
	l.unrest = max(l.unrest-1, 0)
	again := listenAgain
	if heard > 0 && heard < listenSure {
		again = listenEvery
	}
	if noisy || l.unrest < listenFrom && heard == 0 || now.Sub(l.last) < listenEvery || now.Sub(l.each[i]) < again {
		return false
	}
	l.last, l.each[i], l.after, l.second = now, now, i, false
	return true
}

// quiet is how long the line is kept so.
const quiet = bus.MaxTimeout
