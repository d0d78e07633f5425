package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"time"

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
	// epoch and number are those of the entry that ordered it, ordered the instant of
	// the order, as gateway.Erasure has them; 0 = there was none.
	epoch, number uint64
	ordered       int64
	// sunset is since when the store rests, in Unix microseconds; 0 = it does not.
	sunset int64
	// emptied: the purge left every shard loaded, and empty; else none is loaded.
	emptied bool
	// unfinished: marks and values of before may still be there. A start removes
	// them.
	unfinished bool
}

const purgeStateSize = generationSize + 5*8 + 1

// The bits of the last byte.
const (
	purgeUnfinished = 1 << 0
	purgeEmptied    = 1 << 1
)

// Purged returns the entry of the feed at which the store was last purged, 0 if it
// never was: since then nobody can read what it held before.
func (s *Store) Purged() (epoch, number uint64) {
	e := s.Erased()
	return e.Epoch, e.Number
}

// Erased returns why the records were erased, the zero Erasure if they never were:
// since then nobody can read what the store held before. It takes no lock.
func (s *Store) Erased() gateway.Erasure {
	if e := s.erased.Load(); e != nil {
		return *e
	}
	return gateway.Erasure{}
}

// showErased makes visible what is finished of the last purge.
func (s *Store) showErased() {
	p := s.purged
	e := gateway.Erasure{Ordered: p.ordered, Epoch: p.epoch, Number: p.number}
	if p.sunset != 0 {
		e.Sunset = time.UnixMicro(p.sunset)
	}
	s.erased.Store(&e)
}

func (p purgeState) encode() []byte {
	b := binary.BigEndian.AppendUint32(nil, p.generation)
	for _, n := range [...]uint64{p.step, p.epoch, p.number, uint64(p.ordered), uint64(p.sunset)} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	var bits byte
	if p.unfinished {
		bits |= purgeUnfinished
	}
	if p.emptied {
		bits |= purgeEmptied
	}
	return append(b, bits)
}

// decodePurge is the inverse of encode, of purgeStateSize bytes.
func decodePurge(b []byte) purgeState {
	at := func(i int) uint64 { return binary.BigEndian.Uint64(b[generationSize+8*i:]) }
	bits := b[purgeStateSize-1]
	return purgeState{
		generation: binary.BigEndian.Uint32(b), step: at(0), epoch: at(1), number: at(2), ordered: int64(at(3)), sunset: int64(at(4)),
		emptied: bits&purgeEmptied != 0, unfinished: bits&purgeUnfinished != 0,
	}
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
	if !s.purged.unfinished {
		s.showErased()
		return nil
	}
	s.markPurged()
	return s.tryFinishPurge()
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
// loaded from a later place of the feed is to be loaded again, and in a store that
// rests none is loaded. It needs mu.
func (s *Store) purge(u *gateway.Update) error {
	encoded, schedule, err := copySchedule(u.Schedule)
	if err != nil {
		return err
	}
	next := s.purged
	next.epoch, next.number, next.ordered = u.To.Epoch, u.To.Number, u.Ordered
	next.emptied = next.sunset == 0
	return s.erase(next, func(b *batch) error { return b.setState(encoded, u.Keys, u.Complete, &u.To) }, func() {
		s.saved(u.To)
		s.took(schedule, u.Keys)
		if u.Complete {
			s.usable.Store(true)
		}
	})
}

// Erase erases every record, as an update that purges does, without an entry of the
// feed: position, schedule and keys stay as they are, and no shard is loaded any more,
// so that changes are passed over until shards are. Of e what is not zero replaces
// what Erased returns. With a Sunset the store rests from then on, and a shard
// must not be loaded before Wake. Errors are as for Apply.
func (s *Store) Erase(e gateway.Erasure) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writeable(); err != nil {
		return err
	}
	next := s.purged
	if e.Ordered != 0 {
		next.ordered, next.epoch, next.number = e.Ordered, e.Epoch, e.Number
	}
	if !e.Sunset.IsZero() {
		next.sunset = e.Sunset.UnixMicro()
	}
	next.emptied = false
	if err := s.erase(next, nil, func() {}); err != nil {
		return fmt.Errorf("erase all records: %w", err)
	}
	return nil
}

// Wake ends the rest that Erase began. It changes nothing where there is none.
func (s *Store) Wake() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writeable(); err != nil {
		return err
	}
	if s.purged.sunset == 0 {
		return nil
	}
	next := s.purged
	next.sunset = 0
	if err := s.commit(func(b *batch) error { return b.set([]byte(keyPurged), next.encode()) }); err != nil {
		return fmt.Errorf("end the rest of the store: %w", err)
	}
	s.purged = next
	s.showErased()
	return nil
}

// erase erases every record and stores next, completed, beside what state writes, if it
// is not nil; done makes that visible. It needs mu.
//
// The new state and the word that values of before mean nothing are one
// transaction, after which a start finishes what a crash has cut off.
func (s *Store) erase(next purgeState, state func(*batch) error, done func()) error {
	if err := checkSpace(s.home.path, s.minFree); err != nil {
		return err
	}
	seals, err := s.home.makeKey(s.purged.generation + 1)
	if err != nil {
		return s.fail(err)
	}
	next.generation, next.step, next.unfinished = seals.generation, s.step, true
	err = s.commit(func(b *batch) error {
		if err := b.set([]byte(keyPurged), next.encode()); err != nil || state == nil {
			return err
		}
		return state(b)
	})
	if err != nil {
		return err // the next purge writes the new key anew, the next start destroys it
	}
	s.purged = next
	done()
	s.forget(seals)
	if err := s.home.destroyKeys(seals.generation); err != nil {
		return s.fail(err)
	}
	return s.tryFinishPurge()
}

// forget takes every record out of memory. It needs mu.
func (s *Store) forget(seals *sealer) {
	s.markPurged()
	s.index.clear()
	s.seals.Store(seals)
	clear(s.room[:cap(s.room)])
	clear(s.reach[:cap(s.reach)])
	clear(s.tokens[:cap(s.tokens)])
}

// markPurged gives each shard the mark that it has after the purge, in memory, and no
// records. It needs mu.
func (s *Store) markPurged() {
	copy(s.marks, s.purgedMarks())
	s.loaded.set(s.marks)
	for id := range gateway.ShardID(gateway.Shards) {
		s.held[id] = held{through: max(s.step, s.purged.step)}
		s.nowFilled(id)
	}
}

// tryFinishPurge is finishPurge, but for want of disk space it leaves that to the next
// write: no record can be read any more, and the box goes on. It needs mu.
func (s *Store) tryFinishPurge() error {
	err := s.finishPurge()
	if errors.Is(err, ErrDiskFull) {
		s.log.Warn("every record is erased; what nobody can read any more is removed, and the purge reported, once there is disk space", "err", err)
		return nil
	}
	return err
}

// finishPurge removes the values of shards, which nobody can read any more, and stores
// their marks. It needs mu.
func (s *Store) finishPurge() error {
	for id := gateway.ShardID(0); id < gateway.Shards; {
		err := s.commit(func(b *batch) error {
			for ; id < gateway.Shards && b.fits(shardOps, shardBytes); id++ {
				if err := s.eraseShard(b, id); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("finish the purge: %w", err)
		}
	}
	done := s.purged
	done.unfinished = false
	if err := s.commit(func(b *batch) error { return b.set([]byte(keyPurged), done.encode()) }); err != nil {
		return fmt.Errorf("finish the purge: %w", err)
	}
	s.purged = done
	s.showErased()
	s.due = s.foldEvery() // what is left of the journal is removed soon
	return nil
}

func (s *Store) eraseShard(b *batch, id gateway.ShardID) error {
	if m := s.marks[id]; m.Loaded() {
		return errors.Join(b.remove(shardKey(id)), b.setMark(id, m, s.held[id]))
	}
	return errors.Join(b.remove(shardKey(id)), b.remove(markKey(id)))
}

// purgedMarks returns the marks after the purge. A shard as it was after the very
// entry that ordered one was empty. It needs mu.
func (s *Store) purgedMarks() []gateway.ShardMark {
	marks, to := make([]gateway.ShardMark, len(s.marks)), s.Position()
	if !s.purged.emptied {
		return marks
	}
	for id, m := range s.marks {
		if m.Epoch != to.Epoch || m.Number <= to.Number {
			marks[id] = gateway.ShardMark{Epoch: to.Epoch, Number: to.Number}
		}
	}
	return marks
}
