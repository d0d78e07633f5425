package cache

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/dgraph-io/badger/v4"

	"gateline/gateway"
)

// batch is one transaction that knows how much it holds.
type batch struct {
	txn        *badger.Txn
	ops, bytes int
	// mostOps and mostBytes stay below Badger's limits.
	mostOps, mostBytes int
}

// opBytes is what Badger counts for a write beside key and value.
const opBytes = 2 + 10

func (s *Store) newBatch() *batch {
	return &batch{
		txn: s.db.NewTransactionAt(math.MaxUint64, true),
		// The mark of its end, which Badger adds, takes one write.
		mostOps:   int(s.db.MaxBatchCount()) - 2,
		mostBytes: int(s.db.MaxBatchSize()) - 256,
	}
}

// fits reports whether so many more writes fit, whose keys and values have so
// many bytes.
func (b *batch) fits(ops, bytes int) bool {
	return b.ops+ops <= b.mostOps && b.bytes+bytes+ops*opBytes <= b.mostBytes
}

// set keeps key and value until the transaction has ended.
func (b *batch) set(key, value []byte) error {
	b.ops++
	b.bytes += len(key) + len(value) + opBytes
	return b.txn.Set(key, value)
}

func (b *batch) remove(key []byte) error {
	b.ops++
	b.bytes += len(key) + opBytes
	return b.txn.Delete(key)
}

// setShard stores a shard: its records, packed, and its mark. A shard without
// records has no value.
func (b *batch) setShard(id gateway.ShardID, value []byte, m gateway.ShardMark, h held) error {
	if h.records == 0 {
		return errors.Join(b.remove(shardKey(id)), b.setMark(id, m, h))
	}
	return errors.Join(b.set(shardKey(id), value), b.setMark(id, m, h))
}

// shardOps and shardBytes are what setShard writes beside the value.
const (
	shardOps   = 2
	shardBytes = 2*shardKeySize + markSize
)

func (b *batch) setMark(id gateway.ShardID, m gateway.ShardMark, h held) error {
	v := make([]byte, 0, markSize)
	for _, n := range [...]uint64{m.Epoch, m.Number, h.through} {
		v = binary.BigEndian.AppendUint64(v, n)
	}
	return b.set(markKey(id), binary.BigEndian.AppendUint32(v, h.records))
}

// setState writes what is not nil or false of the feed's state.
func (b *batch) setState(schedule []byte, keys []gateway.KeyTerm, complete bool, to *gateway.Position) error {
	var errs []error
	if schedule != nil {
		errs = append(errs, b.set([]byte(keySchedule), schedule))
	}
	if keys != nil {
		errs = append(errs, b.set([]byte(keyTerms), appendTerms(nil, keys)))
	}
	if complete {
		errs = append(errs, b.set([]byte(keyComplete), []byte{1}))
	}
	if to != nil {
		errs = append(errs, b.set([]byte(keyPosition), appendPosition(nil, *to)))
	}
	return errors.Join(errs...)
}

// stateBytes is more than keys and values of setState have.
const stateBytes = gateway.MaxScheduleSize + gateway.MaxKeyTerms*termSize + 4<<10

// commit runs fill and commits what it wrote, durably. What fill notes in
// memory, of shards and of the journal, holds from then on, because after any
// error but one for want of disk space nothing is written any more. It needs mu.
func (s *Store) commit(fill func(*batch) error) error {
	if err := checkSpace(s.home.path, s.minFree); err != nil {
		return err
	}
	b := s.newBatch()
	defer b.txn.Discard()
	if err := fill(b); err != nil {
		return s.fail(err)
	}
	if err := b.txn.CommitAt(s.version+1, nil); err != nil {
		return s.fail(err)
	}
	s.version++
	// No reader asks for the past, except scans, which hold their snapshot by
	// reference: what this commit replaced may go at the next compaction.
	s.db.SetDiscardTs(s.version)
	return nil
}
