package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"gateline/gateway"
)

// ErrPurged: the store was purged while it was being read.
var ErrPurged = errors.New("the store was purged meanwhile")

// keyPurged is the key, in the space of the feed's state, of the last purge.
// Without it the key in force is the first.
const keyPurged = string(spaceState) + "purged"

// purgeState is what a store knows of its last purge.
type purgeState struct {
	// generation is that of the key in force.
	generation uint32
	// step is the last step of the journal before it, which nobody can read any more.
	step uint64
	// epoch and number are those of the entry that ordered it; 0 = there was none.
	epoch, number uint64
	// unfinished: marks and values of before may still be there. A start removes
	// them.
	unfinished bool
}

const purgeStateSize = generationSize + 3*8 + 1

// Purged returns the entry of the feed at which the store was last purged, 0 if it
// never was: since then nobody can read what it held before.
func (s *Store) Purged() (epoch, number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.purged.unfinished {
		return 0, 0
	}
	return s.purged.epoch, s.purged.number
}

func (p purgeState) encode() []byte {
	b := binary.BigEndian.AppendUint32(nil, p.generation)
	for _, n := range [...]uint64{p.step, p.epoch, p.number} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	if p.unfinished {
		return append(b, 1)
	}
	return append(b, 0)
}

// decodePurge is the inverse of encode, of purgeStateSize bytes.
func decodePurge(b []byte) purgeState {
	at := func(i int) uint64 { return binary.BigEndian.Uint64(b[generationSize+8*i:]) }
	return purgeState{generation: binary.BigEndian.Uint32(b), step: at(0), epoch: at(1), number: at(2), unfinished: b[purgeStateSize-1] != 0}
}

// loadPurge reads what the last purge left and the key in force. All other keys are
// of purges whose end, or whose beginning, a crash has cut off, and are destroyed. A
// store that has never held anything gets its first key here.
func (s *Store) loadPurge() error {
	s.purged = purgeState{generation: 1}
	b, err := s.get(keyPurged)
	if err == nil && b != nil && len(b) != purgeStateSize {
		err = fmt.Errorf("%d bytes, not %d", len(b), purgeStateSize)
	}
	if err != nil {
		return fmt.Errorf("the last purge: %w", err)
	}
	if b != nil {
		s.purged = decodePurge(b)
	}
	seals, err := s.home.readKey(s.purged.generation)
	if errors.Is(err, fs.ErrNotExist) && b == nil && s.position.Load().Epoch == 0 && s.nothingHeld() {
		seals, err = s.home.makeKey(s.purged.generation)
	}
	if err != nil {
		return err
	}
	s.seals.Store(seals)
	if err := s.home.destroyKeys(seals.generation); err != nil {
		return err
	}
	if s.purged.unfinished {
		return s.finishPurge()
	}
	return nil
}

func (s *Store) nothingHeld() bool {
	for i := range s.held {
		if s.held[i].records > 0 {
			return false
		}
	}
	return true
}

// purge applies an update that purges: every record is gone, from memory, and from
// the disk with the key that had sealed it, when it returns. The position, the
// schedule, the feed's keys and the box's own settings stay. A shard that was
// loaded from a later place of the feed is to be loaded again. It needs mu.
//
// The new state and the word that values of before mean nothing are one
// transaction, after which a start finishes what a crash has cut off.
func (s *Store) purge(u *gateway.Update) error {
	encoded, schedule, err := copySchedule(u.Schedule)
	if err != nil {
		return err
	}
	if err := checkSpace(s.home.path, s.minFree); err != nil {
		return err
	}
	seals, err := s.home.makeKey(s.purged.generation + 1)
	if err != nil {
		return s.fail(err)
	}
	purged := purgeState{generation: seals.generation, step: s.step, epoch: u.To.Epoch, number: u.To.Number, unfinished: true}
	err = s.commit(func(b *batch) error {
		return errors.Join(b.setState(encoded, u.Keys, u.Complete, &u.To), b.set([]byte(keyPurged), purged.encode()))
	})
	if err != nil {
		return err // the next purge writes the new key anew, the next start destroys it
	}
	s.purged = purged
	s.saved(u.To)
	s.took(schedule, u.Keys)
	s.forget(seals)
	if u.Complete {
		s.usable.Store(true)
	}
	if err := s.home.destroyKeys(seals.generation); err != nil {
		return s.fail(err)
	}
	return s.finishPurge()
}

// forget takes every record out of memory. It needs mu.
func (s *Store) forget(seals *sealer) {
	marks := purgedMarks(s.marks, s.Position())
	s.loaded.set(marks)
	for id := range gateway.ShardID(gateway.Shards) {
		s.nowFilled(id)
	}
	s.index.clear()
	s.seals.Store(seals)
	clear(s.room[:cap(s.room)])
	clear(s.reach[:cap(s.reach)])
	clear(s.tokens[:cap(s.tokens)])
}

// finishPurge removes the values of shards, which nobody can read any more, and sets
// their marks. It needs mu.
func (s *Store) finishPurge() error {
	marks := purgedMarks(s.marks, s.Position())
	for id := gateway.ShardID(0); id < gateway.Shards; {
		err := s.commit(func(b *batch) error {
			for ; id < gateway.Shards && b.fits(shardOps, shardBytes); id++ {
				if err := s.eraseShard(b, id, marks[id]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return s.fail(err)
		}
	}
	done := s.purged
	done.unfinished = false
	if err := s.commit(func(b *batch) error { return b.set([]byte(keyPurged), done.encode()) }); err != nil {
		return s.fail(err)
	}
	s.purged = done
	s.loaded.set(s.marks)
	s.due = foldEvery // what is left of the journal is removed soon
	return nil
}

func (s *Store) eraseShard(b *batch, id gateway.ShardID, m gateway.ShardMark) error {
	h := held{through: max(s.step, s.purged.step)}
	s.marks[id], s.held[id] = m, h
	if m.Loaded() {
		return errors.Join(b.remove(shardKey(id)), b.setMark(id, m, h))
	}
	return errors.Join(b.remove(shardKey(id)), b.remove(markKey(id)))
}

// purgedMarks returns the marks after a purge at to. A shard as it was after the very
// entry was empty.
func purgedMarks(before []gateway.ShardMark, to gateway.Position) []gateway.ShardMark {
	marks := make([]gateway.ShardMark, len(before))
	for id, m := range before {
		if m.Epoch != to.Epoch || m.Number <= to.Number {
			marks[id] = gateway.ShardMark{Epoch: to.Epoch, Number: to.Number}
		}
	}
	return marks
}
