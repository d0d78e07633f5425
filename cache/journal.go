package cache

import (
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"gateline/gateway"
)

// The journal is what was applied since the shards' values were written: one
// step for each transaction, under numbers that count up from 1 as long as the
// store lives and have nothing to do with those of the feed's entries. A shard
// holds the steps up to its through; a step has only changes that reach their
// shards, so all others are to be applied to them. Fold writes a shard's value
// anew from memory and so takes the shard's changes out of the journal.

// held is what is on the disk of a loaded shard, beside its mark.
type held struct {
	// through is the last step of the journal that its value contains.
	through uint64
	// records is the number of records in its value.
	records uint32

	// What follows is known in memory only.

	// oldest is the first step with a change that its value lacks; 0 = none.
	oldest uint64
	// damaged: its value cannot be read. A Load mends it; until then it is not
	// folded.
	damaged bool
}

const (
	// foldLeast is how much is applied at least for each shard that is folded, and
	// foldShare of a shard's records how much else: the larger they are, the more
	// of a fold is records that nobody has changed.
	foldLeast, foldShare = 500, 6
	// stepWork is what a step counts beside its changes, so that many small ones
	// stay few enough to be read at a start.
	stepWork = 20
	// foldAhead is how many folds may be due before they get transactions of their
	// own instead of room in the next.
	foldAhead = 8
	// trimMost is how many steps one transaction removes: more than it brings,
	// so the rest is soon gone too.
	trimMost = 64
	// changeSize is what a change takes in a step, about.
	changeSize = 12
	// stepMost is the most changes in one step unless a single update has more.
	stepMost = 32 << 10
)

// addStep writes packed changes, which are the given ones, as the next step. It
// needs mu.
func (s *Store) addStep(b *batch, changes []gateway.Change, packed []byte) error {
	if len(changes) == 0 {
		return nil
	}
	s.step++
	for i := range changes {
		if h := &s.held[gateway.ShardOf(changes[i].Token)]; h.oldest == 0 {
			h.oldest = s.step
		}
	}
	s.due += len(changes) + stepWork
	return b.set(stepKey(s.step), s.seals.Load().seal(stepKey(s.step), packed))
}

// foldEvery is how much is applied for each shard that is folded. With the oldest
// change first, the journal holds no more than what is applied while every shard is
// folded once: gateway.Shards times this, some 2 million changes or 30 MB, and of
// more than 12 million records a sixth. It needs mu.
func (s *Store) foldEvery() int {
	return max(foldLeast, s.index.records()/(foldShare*gateway.Shards))
}

// foldDue folds as many shards as are due and fit into b beside so many bytes.
// It needs mu.
func (s *Store) foldDue(b *batch, beside int) error {
	for every := s.foldEvery(); s.due >= every; {
		id, ok := s.oldestShard()
		if !ok {
			s.due = 0
			return nil
		}
		if s.fill(id) != nil {
			continue // it is marked as damaged
		}
		done, err := s.fold(b, id, beside)
		if !done || err != nil {
			return err
		}
		s.due -= every
	}
	return nil
}

// foldApart folds in transactions of their own until no more is due than the
// next one has room for. It needs mu.
func (s *Store) foldApart() error {
	for s.due >= foldAhead*s.foldEvery() {
		err := s.commit(func(b *batch) error { return errors.Join(s.foldDue(b, trimBytes), s.trim(b)) })
		if err != nil {
			return fmt.Errorf("fold the journal: %w", err)
		}
	}
	return nil
}

// oldestShard returns the shard whose oldest change in the journal is the
// oldest of all; ok is false if the journal has none. It needs mu.
func (s *Store) oldestShard() (id gateway.ShardID, ok bool) {
	oldest := s.step + 1
	for i := range s.held {
		if h := &s.held[i]; h.oldest != 0 && h.oldest < oldest && !h.damaged {
			id, oldest, ok = gateway.ShardID(i), h.oldest, true
		}
	}
	return id, ok
}

// fold writes a shard that is in the index as it is there, which is after the
// last step. It reports false if the shard does not fit into b beside so many
// bytes. It needs mu.
func (s *Store) fold(b *batch, id gateway.ShardID, beside int) (bool, error) {
	first, _ := id.Range()
	s.room = s.index.shard(s.room[:0], id)
	value := s.seals.Load().seal(shardKey(id), packChanges(first, s.room))
	if !b.fits(shardOps+1, len(value)+shardBytes+beside) {
		return false, nil
	}
	s.held[id] = held{through: s.step, records: uint32(len(s.room))}
	return true, b.setShard(id, value, s.marks[id], s.held[id])
}

// trim removes steps that every shard contains, oldest first. It needs mu.
func (s *Store) trim(b *batch) error {
	end := s.step + 1
	for i := range s.held {
		if oldest := s.held[i].oldest; oldest != 0 {
			end = min(end, oldest)
		}
	}
	for n := 0; n < trimMost && s.firstStep < end; n++ {
		if err := b.remove(stepKey(s.firstStep)); err != nil {
			return err
		}
		s.firstStep++
	}
	return nil
}

// trimBytes is what trim writes at most.
const trimBytes = trimMost * (stepKeySize + opBytes)

// replay brings the journal into the index, before the shards' values: what it
// says of a token is newer than they are.
func (s *Store) replay() error {
	for i := range s.held {
		s.step = max(s.step, s.held[i].through)
	}
	s.firstStep = s.step + 1
	opt := badger.DefaultIteratorOptions
	opt.PrefetchValues = false
	opt.Prefix = []byte{spaceStep}
	it := s.reader.NewIterator(opt)
	defer it.Close()
	size := int64(0)
	for it.Rewind(); it.Valid(); it.Next() {
		size += it.Item().ValueSize()
	}
	s.index.early = int(size / (changeSize * gateway.Shards))
	last := uint64(0)
	for it.Rewind(); it.Valid(); it.Next() {
		n, changes, err := s.seals.Load().readStep(s.reach[:0], it.Item(), s.purged.step)
		if err != nil {
			return err
		}
		if last == 0 {
			s.firstStep = n
		} else if n != last+1 {
			return fmt.Errorf("steps %d … %d of the journal are gone", last+1, n-1)
		}
		last = n
		s.reach = s.lacking(changes, n)
		s.index.apply(s.reach)
	}
	if last != 0 && last < s.step {
		return fmt.Errorf("steps %d … %d of the journal are gone", last+1, s.step)
	}
	s.step = max(s.step, last)
	// However often the box is started, the journal gets shorter.
	s.due = s.foldEvery()
	return nil
}

// lacking keeps those changes of a step that their shards' values lack.
func (s *Store) lacking(changes []gateway.Change, step uint64) []gateway.Change {
	kept := changes[:0]
	for _, c := range changes {
		h := &s.held[gateway.ShardOf(c.Token)]
		if step <= h.through {
			continue
		}
		if h.oldest == 0 {
			h.oldest = step
		}
		kept = append(kept, c)
	}
	return kept
}

// readStep appends a step's changes to into and returns its number. Of steps up to
// purged it returns the number only.
func (s *sealer) readStep(into []gateway.Change, item *badger.Item, purged uint64) (n uint64, changes []gateway.Change, err error) {
	if n, err = stepOf(item.Key()); err != nil {
		return 0, into, err
	}
	if n <= purged {
		return n, into, nil
	}
	err = item.Value(func(v []byte) (err error) {
		if v, err = s.unseal(nil, item.Key(), v); err == nil {
			changes, err = unpackChanges(into, v, 0, ^gateway.Token(0))
		}
		return err
	})
	if err != nil {
		return 0, into, fmt.Errorf("step %d of the journal: %w", n, err)
	}
	return n, changes, nil
}
