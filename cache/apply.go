package cache

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"gateline/gateway"
)

// ErrUpdate is wrapped by the error of an update that cannot be applied to
// this store, whatever is tried. It shows no token and no record.
var ErrUpdate = errors.New("update refused")

// heartbeatInterval is the least time between two writes of a position that
// moved without data. Up to so many seconds of heartbeats are fetched again
// after a restart.
const heartbeatInterval = time.Minute

// Apply brings the store to u.To: changes, schedule, the feed's keys, complete
// flag and position in one transaction that is on the disk when Apply returns and
// before Position moves. On an error nothing was applied.
//
// A change is skipped where its shard is not loaded, where the shard was loaded
// with that entry or a later one in it, or from another epoch. A store without
// position and shards whose first update is entry 1 holds every shard: they were
// empty before it.
//
// u.To must be in the epoch of the current position and have a greater number,
// unless the store has no position yet; the error wraps ErrUpdate. So it does
// for more than gateway.MaxChanges changes, two for one token, an invalid
// record, an invalid schedule or terms of keys that are not in order. With too
// little disk space the error wraps ErrDiskFull; trying again later is right.
// Any other error is the disk's, and every later Apply returns it: the box is to
// be started again.
//
// An update that purges (gateway.Update.Purge) leaves no record, and of those that
// there were nothing that anybody can read.
//
// An update without data, or whose changes are all skipped, is a heartbeat: it
// moves the position in memory and is written at most once a minute, free space
// permitting.
func (s *Store) Apply(u gateway.Update) error { return s.ApplyAll([]gateway.Update{u}) }

// ApplyAll applies consecutive updates as Apply does each, in as few
// transactions as hold them: up to 32,768 changes share one, and one wait for the
// disk. Every update is in one transaction as a whole.
// If one of them is refused (ErrUpdate) none is applied; after another error
// Position says which were.
func (s *Store) ApplyAll(updates []gateway.Update) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writeable(); err != nil {
		return err
	}
	at := s.Position()
	for i := range updates {
		if err := s.validate(&updates[i], at); err != nil {
			return err
		}
		at = updates[i].To
	}
	for len(updates) > 0 {
		n, apply := together(updates), s.applyTogether
		if updates[0].Purge {
			apply = func(u []gateway.Update) error { return s.purge(&u[0]) }
		}
		if err := apply(updates[:n]); err != nil {
			return fmt.Errorf("apply entry %d: %w", updates[n-1].To.Number, err)
		}
		updates = updates[n:]
	}
	return nil
}

// together returns how many of the updates go into the next transaction, at
// least one. One that purges goes alone.
func together(updates []gateway.Update) int {
	changes := 0
	for n := range updates {
		changes += len(updates[n].Changes)
		if n > 0 && (changes > stepMost || updates[n].Purge || updates[0].Purge) {
			return n
		}
	}
	return len(updates)
}

// applyTogether applies updates in one transaction. It needs mu.
func (s *Store) applyTogether(updates []gateway.Update) error {
	net := gateway.Update{To: updates[len(updates)-1].To}
	for i := range updates {
		u := &updates[i]
		if u.Schedule != nil {
			net.Schedule = u.Schedule
		}
		if u.Keys != nil {
			net.Keys = u.Keys
		}
		net.Complete = net.Complete || u.Complete && !s.usable.Load()
	}
	fresh := s.whole(updates[0].To)
	net.Changes = s.reaching(updates, fresh)
	if fresh == nil && len(net.Changes) == 0 && net.Schedule == nil && net.Keys == nil && !net.Complete {
		return s.heartbeat(net.To)
	}
	encoded, schedule, err := copySchedule(net.Schedule)
	if err != nil {
		return err
	}
	if err := s.foldApart(); err != nil {
		return err
	}
	packed := packChanges(0, net.Changes)
	err = s.commit(func(b *batch) error {
		for id, m := range fresh {
			if err := b.setMark(gateway.ShardID(id), m, held{}); err != nil {
				return err
			}
		}
		return errors.Join(
			b.setState(encoded, net.Keys, net.Complete, &net.To),
			s.foldDue(b, len(packed)+sealSize+stepKeySize+opBytes+trimBytes),
			s.addStep(b, net.Changes, packed),
			s.trim(b))
	})
	if err != nil {
		return err
	}
	s.index.apply(net.Changes)
	if fresh != nil {
		s.marks = fresh
		s.loaded.set(fresh)
	}
	s.took(schedule, net.Keys)
	s.saved(net.To)
	if net.Complete {
		s.usable.Store(true) // last: what makes it true is visible by now
	}
	return nil
}

// whole returns the marks of a store that is new and begins with the feed's
// first entry, nil for any other.
func (s *Store) whole(first gateway.Position) []gateway.ShardMark {
	if (s.Position() != gateway.Position{}) || first.Number != 1 || slices.ContainsFunc(s.marks, gateway.ShardMark.Loaded) {
		return nil
	}
	return slices.Repeat([]gateway.ShardMark{{Epoch: first.Epoch}}, gateway.Shards)
}

// reaching returns the changes that reach their shards, fresh being the marks
// if not nil, of one token the last only, in the order of tokens. They are valid
// until the next call. It needs mu.
func (s *Store) reaching(updates []gateway.Update, fresh []gateway.ShardMark) []gateway.Change {
	marks := s.marks
	if fresh != nil {
		marks = fresh
	}
	reach := s.reach[:0]
	for i := range updates {
		to := updates[i].To
		for _, c := range updates[i].Changes {
			if m := marks[gateway.ShardOf(c.Token)]; m.Epoch == to.Epoch && m.Number < to.Number {
				reach = append(reach, c)
			}
		}
	}
	s.reach = reach
	return lastOfEach(reach)
}

// validate refuses an update that cannot follow at. It needs mu.
func (s *Store) validate(u *gateway.Update, at gateway.Position) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: entry %d of epoch %d: %s", ErrUpdate, u.To.Number, u.To.Epoch, fmt.Sprintf(format, args...))
	}
	switch {
	case u.To.Epoch == 0 || u.To.Number == 0:
		return refuse("epochs and numbers start at 1")
	case at != gateway.Position{} && u.To.Epoch != at.Epoch:
		return refuse("the store is in epoch %d; a new epoch needs a new load", at.Epoch)
	case at != gateway.Position{} && u.To.Number <= at.Number:
		return refuse("the store is at entry %d already", at.Number)
	case u.Purge && len(u.Changes) > 0:
		return refuse("it purges and has changes")
	case len(u.Changes) > gateway.MaxChanges:
		return refuse("%d changes, at most %d", len(u.Changes), gateway.MaxChanges)
	}
	if u.Keys != nil {
		if err := validTerms(u.Keys); err != nil {
			return refuse("%v", err)
		}
	}
	if _, _, err := copySchedule(u.Schedule); err != nil {
		return refuse("%v", err)
	}
	s.tokens = s.tokens[:0]
	for i := range u.Changes {
		if c := &u.Changes[i]; !c.Delete && !c.Record.Valid() {
			return refuse("the record of change %d is invalid", i+1)
		}
		s.tokens = append(s.tokens, u.Changes[i].Token)
	}
	slices.Sort(s.tokens)
	if len(slices.Compact(s.tokens)) != len(u.Changes) {
		return refuse("two changes for one token")
	}
	return nil
}

// heartbeat moves the position, on the disk only when that is due. It needs mu.
func (s *Store) heartbeat(to gateway.Position) error {
	since := s.now().Sub(s.savedAt)
	if since >= 0 && since < heartbeatInterval {
		s.position.Store(&to)
		return nil
	}
	err := s.commit(func(b *batch) error { return b.setState(nil, nil, false, &to) })
	switch {
	case err == nil:
		s.unsaved = false
		s.saved(to)
		return nil
	case errors.Is(err, ErrDiskFull):
		// The data is as fresh as the centre says; only a restart would not
		// know it. Verdicts must not change for that.
		if !s.unsaved {
			s.log.Warn("the feed position is kept in memory only", "err", err)
		}
		s.unsaved = true
		s.position.Store(&to)
		return nil
	}
	return fmt.Errorf("write the position of entry %d: %w", to.Number, err)
}

func (s *Store) saved(at gateway.Position) {
	s.position.Store(&at)
	s.savedAt = s.now()
}

// writeable reports why nothing can be written, now or any more. What a purge has left
// to do for want of disk space it does first. It needs mu.
func (s *Store) writeable() error {
	switch {
	case s.closed.Load():
		return ErrClosed
	case s.failed != nil:
		return s.failed
	case s.purged.unfinished:
		return s.finishPurge()
	}
	return nil
}

// fail stops all writing after a failed commit. Badger may have put part of it
// into memory, and after a failed sync nobody can say what the disk holds until
// it is read again. It needs mu.
func (s *Store) fail(err error) error {
	s.failed = fmt.Errorf("write to cache directory %s: %w; see to the disk, then start the box again", s.home.path, err)
	return s.failed
}

// took makes schedule and keys visible where they are not nil.
func (s *Store) took(schedule *gateway.Schedule, keys []gateway.KeyTerm) {
	if schedule != nil {
		s.schedule.Store(schedule)
	}
	if keys != nil {
		terms := slices.Clone(keys)
		s.terms.Store(&terms)
	}
}

// copySchedule returns the schedule as it is stored and as a reopened store
// would read it, so that an accepted one never stops a box from starting.
func copySchedule(in *gateway.Schedule) ([]byte, *gateway.Schedule, error) {
	if in == nil {
		return nil, nil, nil
	}
	encoded, err := gateway.EncodeSchedule(in)
	if err != nil {
		return nil, nil, err
	}
	schedule, err := gateway.DecodeSchedule(encoded)
	return encoded, schedule, err
}
