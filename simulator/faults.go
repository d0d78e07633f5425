package simulator

import (
	"math/rand/v2"
	"time"

	"gateline/drivers/osdp"
)

// faults is what is wrong with a line of readers, as data: the same seed makes
// the same. The zero faults is a line on which all is well.
type faults struct {
	errorRate float64 // of damaged bits
	echo      bool    // the box's adapter hears the box itself
	readers   []readerFault
}

// readerFault is what is wrong with one reader. The zero readerFault is a
// reader that is well.
type readerFault struct {
	kind       faultKind
	turnaround time.Duration // with faultSlow and faultTwin: the reader's, or its twin's
	every      time.Duration // with faultBabble: mean pause between what it says unasked
	baud       int           // with faultSpeed: the reader's
}

// faultKind is one thing that may be wrong with a reader.
type faultKind uint8

const (
	faultNone       faultKind = iota
	faultMute                 // it never answers
	faultSlow                 // it takes long to answer
	faultTwin                 // a second reader has its address
	faultBabble               // it speaks unasked
	faultWrongKey             // it holds another key than the box
	faultDefaultKey           // it holds no key, offers the default one and would talk in clear
	faultSpeed                // it listens at another speed than the box's
)

// serves reports whether riders at the reader are to be answered.
func (f readerFault) serves() bool {
	return f.kind == faultNone || f.kind == faultSlow && f.turnaround < osdp.ReplyTime
}

// fault returns what is wrong with reader i.
func (f *faults) fault(i int) readerFault {
	if i < len(f.readers) {
		return f.readers[i]
	}
	return readerFault{}
}

// deadReaders makes the last dead of n readers mute.
func deadReaders(n, dead int) []readerFault {
	all := make([]readerFault, n)
	for i := range min(dead, n) {
		all[n-1-i].kind = faultMute
	}
	return all
}

const (
	// misfitSlow is close to what a reader may take at most, misfitLate above.
	misfitSlow = 180 * time.Millisecond
	misfitLate = 260 * time.Millisecond
	// misfitTwin is the turnaround of a second reader with the same address.
	misfitTwin = 3 * time.Millisecond
	// misfitEvery is how often a babbling reader speaks.
	misfitEvery = 400 * time.Millisecond
)

// misfits returns one reader of every kind of fault.
func misfits(baud int) []readerFault {
	other := 9600
	if baud == other {
		other = 19200
	}
	return []readerFault{
		{kind: faultSlow, turnaround: misfitSlow},
		{kind: faultSlow, turnaround: misfitLate},
		{kind: faultTwin, turnaround: misfitTwin},
		{kind: faultBabble, every: misfitEvery},
		{kind: faultWrongKey},
		{kind: faultDefaultKey},
		{kind: faultSpeed, baud: other},
		{kind: faultMute},
	}
}

// powerSwitch switches a reader off or on at an instant.
type powerSwitch struct {
	at     time.Time
	reader int
	on     bool
}

// Bounds of a plan of powerSwitches: how long a reader is on and off between.
const (
	onLeast, onMost   = time.Second, 6 * time.Second
	offLeast, offMost = 200 * time.Millisecond, 12 * time.Second
	// maxCycles bounds a plan.
	maxCycles = 1000
)

// powerCycles switches a reader off and on again, again and again, from start
// on. The last thing it does is on.
func powerCycles(r *rand.Rand, reader int, start time.Time) (plan []powerSwitch) {
	at := start
	for range maxCycles {
		at = at.Add(spanBetween(r, onLeast, onMost))
		plan = append(plan, powerSwitch{at: at, reader: reader})
		at = at.Add(spanBetween(r, offLeast, offMost))
		plan = append(plan, powerSwitch{at: at, reader: reader, on: true})
	}
	return plan
}

func spanBetween(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)))
}
