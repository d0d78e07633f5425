package cache

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"gateline/gateway"
)

// Load replaces whole shards as gateway.Load says. What it did is on the disk
// when it returns, and lookups see it: of a token that was and is in a shard the
// old record or the new, never none.
//
// What fits into one transaction of Badger is all or nothing together: with the
// default memtable some 26,000 records that differ from those on the disk, of
// which only the differences are written. A larger Load is all or nothing shard
// by shard, in their order, each with its mark; a position that goes back is
// written before them and any other after them. So after an error or a crash
// the marks say which shards are loaded, and the rest can be loaded again. A
// single shard with more differences than fit is not loaded while it is
// written: a crash leaves it without a mark.
//
// The error wraps ErrUpdate where shards or records are out of order, out of
// their range or too many, and where a loaded shard would lack entries up to the
// new position. A position of another epoch wants every shard loaded from that
// epoch, or, in a store without a position, every loaded one. Other errors are
// as for Apply.
func (s *Store) Load(l gateway.Load) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writeable(); err != nil {
		return err
	}
	if err := s.validateLoad(&l); err != nil {
		return err
	}
	encoded, schedule, err := copySchedule(l.Schedule)
	if err != nil {
		return fmt.Errorf("%w: load: %w", ErrUpdate, err)
	}
	s.reserve(l.Shards)
	w := s.newLoader()
	defer w.close()
	state := func() error { return w.setState(&l, encoded, schedule) }
	back := l.To != nil && l.To.Epoch == s.Position().Epoch && l.To.Number < s.Position().Number
	if back {
		err = state()
	}
	for i := range l.Shards {
		err = errors.Join(err, w.shard(&l.Shards[i]))
		if err != nil {
			break
		}
	}
	if err == nil && !back {
		err = state()
	}
	if err = errors.Join(err, w.finish(err == nil)); err != nil {
		return fmt.Errorf("load %d shards: %w", len(l.Shards), err)
	}
	return nil
}

// validateLoad needs mu.
func (s *Store) validateLoad(l *gateway.Load) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: load: %s", ErrUpdate, fmt.Sprintf(format, args...))
	}
	for i := range l.Shards {
		shard := &l.Shards[i]
		if i > 0 && shard.ID <= l.Shards[i-1].ID {
			return refuse("shard %d after shard %d", shard.ID, l.Shards[i-1].ID)
		}
		if err := validShard(shard); err != nil {
			return refuse("shard %d: %v", shard.ID, err)
		}
	}
	if l.Keys != nil {
		if err := validTerms(l.Keys); err != nil {
			return refuse("%v", err)
		}
	}
	if l.To != nil && l.To.Epoch == 0 {
		return refuse("epochs start at 1")
	}
	to := s.Position()
	if l.To != nil {
		to = *l.To
	}
	if err := s.validateReach(l, to); err != nil {
		return refuse("%v", err)
	}
	return nil
}

func validShard(shard *gateway.Shard) error {
	switch n := len(shard.Records); {
	case shard.ID >= gateway.Shards:
		return fmt.Errorf("there are %d", gateway.Shards)
	case shard.At.Epoch == 0:
		return errors.New("epochs start at 1")
	case n > gateway.MaxShardRecords:
		return fmt.Errorf("%d records, at most %d", n, gateway.MaxShardRecords)
	case n > 0 && shard.At.Number == 0:
		return fmt.Errorf("%d records before entry 1", n)
	}
	for i := range shard.Records {
		c := &shard.Records[i]
		switch {
		case gateway.ShardOf(c.Token) != shard.ID:
			return fmt.Errorf("record %d is another shard's", i+1)
		case i > 0 && c.Token <= shard.Records[i-1].Token:
			return fmt.Errorf("record %d is not above the one before", i+1)
		case c.Delete || !c.Record.Valid():
			return fmt.Errorf("record %d is invalid", i+1)
		}
	}
	return nil
}

// validateReach refuses a load after which a loaded shard would lack entries:
// those up to to that its records do not contain are never applied. It needs
// mu.
func (s *Store) validateReach(l *gateway.Load, to gateway.Position) error {
	at := s.Position()
	if to.Epoch == 0 {
		return nil // no position before the load and none after it
	}
	newEpoch := l.To != nil && to.Epoch != at.Epoch
	shards := l.Shards
	for id, mark := range s.marks {
		if len(shards) > 0 && int(shards[0].ID) == id {
			mark = markOf(&shards[0])
			shards = shards[1:]
		} else if mark.Epoch == at.Epoch {
			mark.Number = max(mark.Number, at.Number)
		}
		switch {
		case newEpoch && mark.Epoch != to.Epoch && (mark.Loaded() || at.Epoch != 0):
			return fmt.Errorf("a position of epoch %d, and shard %d is of epoch %d", to.Epoch, id, mark.Epoch)
		case mark.Epoch == to.Epoch && mark.Number < to.Number:
			return fmt.Errorf("shard %d reaches entry %d, and the position is entry %d", id, mark.Number, to.Number)
		}
	}
	return nil
}

// reserve makes room in memory for as many records as there will be if the
// shards that are not loaded yet are as large as the others. It needs mu.
func (s *Store) reserve(shards []gateway.Shard) {
	records, n := s.index.records(), len(shards)
	for i := range shards {
		records += len(shards[i].Records)
	}
	for _, m := range s.marks {
		if m.Loaded() {
			n++
		}
	}
	if n > 0 {
		s.index.reserve(records / n * gateway.Shards)
	}
}

func markOf(shard *gateway.Shard) gateway.ShardMark {
	return gateway.ShardMark{Epoch: shard.At.Epoch, Number: shard.At.Number}
}

// loader writes one Load in transactions, one of which may be under way while
// the next is filled. The next is sent only once the one before is on the disk.
// It needs the store's mu.
type loader struct {
	s    *Store
	it   *badger.Iterator
	done func() // of it
	most int    // operations in one transaction

	txn  *badger.Txn
	ops  int      // in txn
	then []func() // makes visible what txn brings

	underWay chan error // of the transaction that was sent; nil = none
	sentThen []func()
	// torn are shards whose mark is off the disk while they are written in
	// several transactions.
	torn map[gateway.ShardID]bool
}

func (s *Store) newLoader() *loader {
	w := &loader{s: s, most: s.maxOps(), torn: map[gateway.ShardID]bool{}}
	if s.loadOps != 0 {
		w.most = min(w.most, s.loadOps)
	}
	w.it, w.done = s.iterate()
	return w
}

// maxOps is the number of writes that fit into one transaction, beside the mark
// of its end that Badger adds and below its limit. The count binds before the
// size does: the size allows 96 bytes for each, and a record takes 28; the rest
// is more than a schedule needs.
func (s *Store) maxOps() int { return int(s.db.MaxBatchCount()) - 2 }

// room makes sure that so many operations fit into the open transaction.
func (w *loader) room(ops int) error {
	if w.txn != nil && w.ops+ops > w.most {
		if err := w.send(); err != nil {
			return err
		}
	}
	if w.txn == nil {
		w.txn = w.s.newTxn()
	}
	w.ops += ops
	return nil
}

// shard writes what differs between the shard and the disk, and its mark.
func (w *loader) shard(shard *gateway.Shard) error {
	id, mark := shard.ID, markOf(shard)
	changes, err := w.differences(shard)
	if err != nil {
		return err
	}
	rest := changes
	for len(rest) >= w.most { // with its mark it does not fit into one
		if err := w.room(w.most); err != nil {
			return err
		}
		if err := errors.Join(setMark(w.txn, id, gateway.ShardMark{}), setRecords(w.txn, rest[:w.most-1])); err != nil {
			return err
		}
		w.then = append(w.then, func() { w.torn[id] = true })
		rest = rest[w.most-1:]
	}
	if err := w.room(len(rest) + 1); err != nil {
		return err
	}
	if err := errors.Join(setRecords(w.txn, rest), setMark(w.txn, id, mark)); err != nil {
		return err
	}
	w.then = append(w.then, func() {
		w.s.index.replace(id, shard.Records, changes)
		delete(w.torn, id)
		w.s.marks[id] = mark
		w.s.loaded.set(w.s.marks)
	})
	return nil
}

// differences returns the changes that make the shard on the disk the given
// one, in the order of their tokens.
func (w *loader) differences(shard *gateway.Shard) (changes []gateway.Change, err error) {
	first, last := shard.ID.Range()
	records := shard.Records
	var value [gateway.RecordSize]byte
	for w.it.Seek(appendRecordKey(nil, first)); w.it.Valid(); w.it.Next() {
		t, err := tokenOf(w.it.Item().Key())
		if err != nil {
			return nil, damaged(w.s.home.path, err)
		}
		if t > last {
			break
		}
		for len(records) > 0 && records[0].Token < t {
			changes, records = append(changes, records[0]), records[1:]
		}
		if len(records) == 0 || records[0].Token != t {
			changes = append(changes, gateway.Change{Token: t, Delete: true})
			continue
		}
		same := false
		err = w.it.Item().Value(func(v []byte) error {
			same = bytes.Equal(v, gateway.AppendRecord(value[:0], records[0].Record))
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read a record: %w", err)
		}
		if !same {
			changes = append(changes, records[0])
		}
		records = records[1:]
	}
	if changes == nil {
		return records, nil // all of them new: the usual first load
	}
	return append(changes, records...), nil
}

// setState writes the position with the marks that it raises, the schedule and
// the keys.
func (w *loader) setState(l *gateway.Load, encoded []byte, schedule *gateway.Schedule) error {
	s, at := w.s, w.s.Position()
	raise := func(m *gateway.ShardMark) bool {
		if l.To == nil || l.To.Epoch != at.Epoch || l.To.Number >= at.Number || m.Epoch != at.Epoch || m.Number >= at.Number {
			return false
		}
		m.Number = at.Number
		return true
	}
	if l.To == nil && schedule == nil && l.Keys == nil {
		return nil
	}
	raised := slices.Clone(s.marks)
	ops := 3 // position, schedule, keys
	for id := range raised {
		if raise(&raised[id]) {
			ops++
		}
	}
	if err := w.room(ops); err != nil {
		return err
	}
	for id, m := range raised {
		if m != s.marks[id] {
			if err := setMark(w.txn, gateway.ShardID(id), m); err != nil {
				return err
			}
		}
	}
	if err := setState(w.txn, encoded, l.Keys, false, l.To); err != nil {
		return err
	}
	w.then = append(w.then, func() {
		for id := range s.marks {
			raise(&s.marks[id])
		}
		s.took(schedule, l.Keys)
		if l.To != nil {
			s.saved(*l.To)
		}
	})
	return nil
}

// send hands the open transaction to Badger once the one before is on the
// disk, and makes that one visible while Badger writes.
func (w *loader) send() error {
	if err := w.wait(); err != nil {
		return err
	}
	if err := checkSpace(w.s.home.path, w.s.minFree); err != nil {
		return err
	}
	before := w.sentThen
	underWay := make(chan error, 1)
	w.s.version++
	if err := w.txn.CommitAt(w.s.version, func(err error) { underWay <- err }); err != nil {
		return w.s.fail(err)
	}
	w.underWay, w.sentThen = underWay, w.then
	w.txn, w.ops, w.then = nil, 0, nil
	for _, f := range before {
		f()
	}
	return nil
}

// wait returns once what was sent is on the disk.
func (w *loader) wait() error {
	if w.underWay == nil {
		return nil
	}
	err := <-w.underWay
	w.underWay = nil
	if err != nil {
		w.sentThen = nil
		return w.s.fail(err)
	}
	return nil
}

// finish sends what is left, if all is well so far, and waits for what was
// sent.
func (w *loader) finish(well bool) error {
	var err error
	if well && w.txn != nil {
		err = w.send()
	}
	err = errors.Join(err, w.wait())
	for _, f := range w.sentThen {
		f()
	}
	w.sentThen = nil
	w.s.db.SetDiscardTs(w.s.version)
	return err
}

// close releases what the loader holds. A shard that was not finished has no
// mark on the disk and gets none in memory.
func (w *loader) close() {
	if w.txn != nil {
		w.txn.Discard()
	}
	w.done()
	for id := range w.torn {
		w.s.marks[id] = gateway.ShardMark{}
	}
	if len(w.torn) > 0 {
		w.s.loaded.set(w.s.marks)
	}
}
