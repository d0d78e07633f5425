package cache

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

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
// u.To must be in the epoch of the current position and have a greater number,
// unless the store has no position yet; the error wraps ErrUpdate. So it does
// for more than gateway.MaxChanges changes, two for one token, an invalid
// record, an invalid schedule or terms of keys that are not in order. With too little disk space the error wraps
// ErrDiskFull; trying again later is right. Any other error is the disk's, and
// every later Apply returns it: the box is to be started again.
//
// An update without data is a heartbeat: it moves the position in memory and
// is written at most once a minute, free space permitting.
func (s *Store) Apply(u gateway.Update) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writeable(); err != nil {
		return err
	}
	if err := s.validate(&u); err != nil {
		return err
	}
	if len(u.Changes) == 0 && u.Schedule == nil && u.Keys == nil && (!u.Complete || s.usable.Load()) {
		return s.heartbeat(u.To)
	}
	encoded, schedule, err := copySchedule(u.Schedule)
	if err != nil {
		return fmt.Errorf("%w: entry %d: %w", ErrUpdate, u.To.Number, err)
	}
	err = s.commit(func(txn *badger.Txn) error {
		return errors.Join(setRecords(txn, u.Changes), setState(txn, &u, encoded))
	})
	if err != nil {
		return fmt.Errorf("apply entry %d: %w", u.To.Number, err)
	}
	s.index.apply(u.Changes)
	if schedule != nil {
		s.schedule.Store(schedule)
	}
	if u.Keys != nil {
		terms := slices.Clone(u.Keys)
		s.terms.Store(&terms)
	}
	s.saved(u.To)
	if u.Complete {
		s.usable.Store(true) // last: what makes it true is visible by now
	}
	return nil
}

// validate needs mu.
func (s *Store) validate(u *gateway.Update) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: entry %d of epoch %d: %s", ErrUpdate, u.To.Number, u.To.Epoch, fmt.Sprintf(format, args...))
	}
	at := s.Position()
	switch {
	case u.To.Epoch == 0 || u.To.Number == 0:
		return refuse("epochs and numbers start at 1")
	case at != gateway.Position{} && u.To.Epoch != at.Epoch:
		return refuse("the store is in epoch %d; a new epoch needs a new load", at.Epoch)
	case at != gateway.Position{} && u.To.Number <= at.Number:
		return refuse("the store is at entry %d already", at.Number)
	case len(u.Changes) > gateway.MaxChanges:
		return refuse("%d changes, at most %d", len(u.Changes), gateway.MaxChanges)
	}
	if u.Keys != nil {
		if err := validTerms(u.Keys); err != nil {
			return refuse("%v", err)
		}
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
	err := s.commit(func(txn *badger.Txn) error { return setPosition(txn, to) })
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

// writeable reports why nothing can be written any more. It needs mu.
func (s *Store) writeable() error {
	if s.closed.Load() {
		return ErrClosed
	}
	return s.failed
}

// commit runs fill and commits what it wrote, durably. It needs mu.
func (s *Store) commit(fill func(*badger.Txn) error) error {
	if err := checkSpace(s.home.path, s.minFree); err != nil {
		return err
	}
	txn := s.db.NewTransactionAt(math.MaxUint64, true)
	defer txn.Discard()
	if err := fill(txn); err != nil {
		return err
	}
	if err := txn.CommitAt(s.version+1, nil); err != nil {
		// Badger may have put part of it into memory. After a failed sync
		// nobody can say what the disk holds until it is read again.
		s.failed = fmt.Errorf("write to cache directory %s: %w; see to the disk, then start the box again", s.home.path, err)
		return s.failed
	}
	s.version++
	// No reader asks for the past, except scans, which hold their snapshot by
	// reference: what this commit replaced may go at the next compaction.
	s.db.SetDiscardTs(s.version)
	return nil
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

func setRecords(txn *badger.Txn, changes []gateway.Change) error {
	// One piece of memory for all; Badger keeps references until the commit.
	room := make([]byte, 0, len(changes)*(recordKeySize+gateway.RecordSize))
	for i := range changes {
		c := &changes[i]
		start := len(room)
		room = appendRecordKey(room, c.Token)
		key := room[start:len(room):len(room)]
		var err error
		if c.Delete {
			err = txn.Delete(key)
		} else {
			start = len(room)
			room = gateway.AppendRecord(room, c.Record)
			err = txn.Set(key, room[start:len(room):len(room)])
		}
		if err != nil {
			return fmt.Errorf("change %d: %w", i+1, err)
		}
	}
	return nil
}

func setState(txn *badger.Txn, u *gateway.Update, schedule []byte) error {
	var errs []error
	if schedule != nil {
		errs = append(errs, txn.Set([]byte(keySchedule), schedule))
	}
	if u.Keys != nil {
		errs = append(errs, txn.Set([]byte(keyTerms), appendTerms(nil, u.Keys)))
	}
	if u.Complete {
		errs = append(errs, txn.Set([]byte(keyComplete), []byte{1}))
	}
	errs = append(errs, setPosition(txn, u.To))
	return errors.Join(errs...)
}

func setPosition(txn *badger.Txn, p gateway.Position) error {
	return txn.Set([]byte(keyPosition), appendPosition(nil, p))
}
