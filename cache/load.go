package cache

import (
	"errors"
	"fmt"
	"slices"

	"gateline/gateway"
)

// Load replaces whole shards as gateway.Load says. What it did is on the disk
// when it returns, and lookups see it: of a token that was and is in a shard the
// old record or the new, never none.
//
// What fits into one transaction of Badger, some 2.4 MB with the default
// memtable, is all or nothing together. A larger Load is all or nothing shard
// by shard, in their order, each with its mark; a position that goes back is
// written before them and any other after them. So after an error or a crash
// the marks say which shards are loaded, and the rest can be loaded again.
//
// The error wraps ErrUpdate where shards or records are out of order, out of
// their range or too many, and where a loaded shard would lack entries up to the
// new position. A position of another epoch wants every shard loaded from that
// epoch, or, in a store without a position or without a loaded shard, every loaded
// one. Other errors are as for Apply.
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
	w := &loader{s: s}
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
	holds := at.Epoch != 0 && slices.ContainsFunc(s.marks, gateway.ShardMark.Loaded)
	shards := l.Shards
	for id, mark := range s.marks {
		if len(shards) > 0 && int(shards[0].ID) == id {
			mark = markOf(&shards[0])
			shards = shards[1:]
		} else if mark.Epoch == at.Epoch {
			mark.Number = max(mark.Number, at.Number)
		}
		switch {
		case newEpoch && mark.Epoch != to.Epoch && (mark.Loaded() || holds):
			return fmt.Errorf("a position of epoch %d, and shard %d is of epoch %d", to.Epoch, id, mark.Epoch)
		case mark.Epoch == to.Epoch && mark.Number < to.Number:
			return fmt.Errorf("shard %d reaches entry %d, and the position is entry %d", id, mark.Number, to.Number)
		}
	}
	return nil
}

func markOf(shard *gateway.Shard) gateway.ShardMark {
	return gateway.ShardMark{Epoch: shard.At.Epoch, Number: shard.At.Number}
}

// loader writes one Load in transactions, one of which may be under way while
// the next is filled. The next is sent only once the one before is on the disk.
// It needs the store's mu.
type loader struct {
	s    *Store
	b    *batch
	then []func() // makes visible what b brings

	underWay chan error // of the transaction that was sent; nil = none
	sentThen []func()
}

// room makes sure that so many writes, whose keys and values have so many
// bytes, fit into the open transaction.
func (w *loader) room(ops, bytes int) error {
	if w.b != nil && !w.b.fits(ops, bytes) {
		if err := w.send(); err != nil {
			return err
		}
	}
	if w.b == nil {
		w.b = w.s.newBatch()
		if w.s.loadOps != 0 {
			w.b.mostOps = w.s.loadOps
		}
	}
	return nil
}

// shard writes the shard and its mark.
func (w *loader) shard(shard *gateway.Shard) error {
	s, id, mark := w.s, shard.ID, markOf(shard)
	first, _ := id.Range()
	value := s.seals.Load().seal(shardKey(id), packChanges(first, shard.Records))
	if err := w.room(shardOps, len(value)+shardBytes); err != nil {
		return err
	}
	h := held{through: s.step, records: uint32(len(shard.Records))}
	w.then = append(w.then, func() {
		s.index.replace(id, shard.Records)
		s.nowFilled(id)
		s.marks[id], s.held[id] = mark, h
		s.loaded.set(s.marks)
	})
	return w.b.setShard(id, value, mark, h)
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
	if err := w.room(ops, ops*(shardKeySize+markSize)+stateBytes); err != nil {
		return err
	}
	for id, m := range raised {
		if m != s.marks[id] {
			if err := w.b.setMark(gateway.ShardID(id), m, s.held[id]); err != nil {
				return err
			}
		}
	}
	if err := w.b.setState(encoded, l.Keys, false, l.To); err != nil {
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
	if err := w.b.txn.CommitAt(w.s.version, func(err error) { underWay <- err }); err != nil {
		return w.s.fail(err)
	}
	w.underWay, w.sentThen = underWay, w.then
	w.b, w.then = nil, nil
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
	if well && w.b != nil {
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

// close lets go of a transaction that was not sent.
func (w *loader) close() {
	if w.b != nil {
		w.b.txn.Discard()
	}
}
