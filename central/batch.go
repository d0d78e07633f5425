package central

import (
	"fmt"

	"gateline/central/rules"
	"gateline/gateway"
)

const (
	// maxBatchBytes is the size of encoded events from which a batch is full.
	maxBatchBytes = 256 << 10
	// maxEventBytes is the size of the largest event's line: a schedule.
	maxEventBytes = gateway.MaxScheduleSize + 8
)

// batch is one ledger message and the one feed entry that follows from it.
// Because the two correspond one to one, a centre that was killed between them
// knows from the last entry's Source exactly what is missing.
type batch struct {
	lines    []byte
	changes  []gateway.Change
	place    map[gateway.Token]int // token → its place in changes
	schedule *gateway.Schedule
	erased   int64  // of its one event, where that is an end
	number   uint64 // of the entry, once it is published
}

func newBatch() *batch { return &batch{place: map[gateway.Token]int{}} }

// hasRoom reports whether one more event with so many changes goes in. The
// changes of one event are never spread over two entries (IMP-27), and an end has
// message and entry for itself.
func (b *batch) hasRoom(changes int) bool {
	return b.erased == 0 && len(b.lines) < maxBatchBytes && len(b.changes)+changes <= gateway.MaxChanges
}

// addChanges takes over what an event means for boxes. The later change of a
// token replaces the earlier one: an entry is applied as a whole, so nobody
// can see what lay between.
func (b *batch) addChanges(e *event, changes []gateway.Change) {
	for _, c := range changes {
		if i, ok := b.place[c.Token]; ok {
			b.changes[i] = c
			continue
		}
		b.place[c.Token] = len(b.changes)
		b.changes = append(b.changes, c)
	}
	if e.schedule != nil {
		b.schedule = e.schedule
	}
	if e.erased != 0 {
		b.erased = e.erased
	}
}

// round is what is decided together: the commands taken from the queue at once
// and the batches they led to.
type round struct {
	state   *state
	batches []*batch
	taken   []taken
	changes int // in all batches, before later ones replace earlier ones
	buffer  []gateway.Change
}

// taken is a command with what was decided about it.
type taken struct {
	item     item
	decision decision
	batch    *batch // the last batch when it was decided; nil = none yet
}

// Bounds of a round, so that no command waits for more than some tens of
// milliseconds of others. An import may exceed maxRoundChanges by itself; it
// is then the last of its round.
const (
	maxRoundCommands = 512
	maxRoundChanges  = gateway.MaxChanges
)

func (r *round) full() bool {
	return len(r.taken) >= maxRoundCommands || r.changes >= maxRoundChanges || len(r.batches) > 1
}

// add applies what was decided about one command to the state and puts its events
// into batches. An error means that state and events do not fit, which the rules
// exclude: the state can then no longer be trusted.
func (r *round) add(it item, d decision) error {
	together := r.keepTogether(d.events)
	for i := range d.events {
		if err := r.addEvent(&d.events[i], together); err != nil {
			return fmt.Errorf("apply a decided event: %w; start the centre again, its state is rebuilt from the ledger", err)
		}
	}
	t := taken{item: it, decision: d}
	if n := len(r.batches); n > 0 {
		t.batch = r.batches[n-1]
	}
	r.taken = append(r.taken, t)
	return nil
}

// maxTogether is the largest number of events that are kept in one batch: their
// lines come to less than the largest event.
const maxTogether = 256

// keepTogether reports whether the events of one command go into one batch, and
// begins one where the last has no room for them all. A kill then leaves both halves
// of a swap or neither, and no effect without the outcome that a repeated request is
// answered with. What is too long for that is a list, of which a part does no harm.
func (r *round) keepTogether(events []event) bool {
	changes := 0
	for i := range events {
		switch events[i].registry.(type) {
		case rules.Reported, rules.Merged:
			changes += rules.MaxPerPerson
		default:
			changes += 2 // at most, of a Renumbered
		}
	}
	if len(events) < 2 || len(events) > maxTogether || changes > gateway.MaxChanges {
		return false
	}
	if n := len(r.batches); n > 0 && !r.batches[n-1].hasRoom(changes) {
		r.batches = append(r.batches, newBatch())
	}
	return true
}

func (r *round) addEvent(e *event, together bool) error {
	changes, err := r.state.apply(e, r.buffer[:0])
	if err != nil {
		return err
	}
	r.buffer = changes
	if n := len(r.batches); n == 0 || e.erased != 0 || !together && !r.batches[n-1].hasRoom(len(changes)) {
		r.batches = append(r.batches, newBatch())
	}
	b := r.batches[len(r.batches)-1]
	if b.lines, err = appendEvent(b.lines, e); err != nil {
		return err
	}
	b.addChanges(e, changes)
	r.changes += len(changes)
	return nil
}
