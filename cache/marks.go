package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"

	"gateline/gateway"
)

// ErrNotLoaded: the shard was never loaded, so nobody knows whether there is a
// record (R24).
var ErrNotLoaded = errors.New("shard not loaded")

// loadedShards says for lookups which shards are loaded. Writers hold the
// store's mu.
type loadedShards struct {
	// all is true while every shard is loaded: an ordinary lookup reads no more
	// than this.
	all  atomic.Bool
	bits [gateway.Shards / 64]atomic.Uint64
}

func (l *loadedShards) has(t gateway.Token) bool {
	if l.all.Load() {
		return true
	}
	id := gateway.ShardOf(t)
	return l.bits[id/64].Load()>>(id%64)&1 != 0
}

// set brings l to what the marks say. A shard that stays loaded is so all the
// time.
func (l *loadedShards) set(marks []gateway.ShardMark) {
	all := true
	for i := range l.bits {
		var word uint64
		for bit := range 64 {
			if marks[i*64+bit].Loaded() {
				word |= 1 << bit
			}
		}
		l.bits[i].Store(word)
		all = all && word == 1<<64-1
	}
	l.all.Store(all)
}

// Marks returns what the store holds of each of the gateway.Shards shards. The
// slice is the caller's. It waits for an Apply or a Load that is under way.
func (s *Store) Marks() []gateway.ShardMark {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.marks)
}

// Loaded returns how many of the gateway.Shards shards are loaded.
func (s *Store) Loaded() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, m := range s.marks {
		if m.Loaded() {
			n++
		}
	}
	return n
}

// loadMarks reads the marks into memory.
func (s *Store) loadMarks() error {
	s.marks = make([]gateway.ShardMark, gateway.Shards)
	opt := badger.DefaultIteratorOptions
	opt.PrefetchValues = false
	opt.Prefix = []byte{spaceMark}
	it := s.reader.NewIterator(opt)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		id, err := shardOfMark(it.Item().Key())
		if err != nil {
			return err
		}
		err = it.Item().Value(func(v []byte) (err error) {
			s.marks[id], err = decodeMark(v)
			return err
		})
		if err != nil {
			return fmt.Errorf("mark of shard %d: %w", id, err)
		}
	}
	s.loaded.set(s.marks)
	return nil
}

// markSize is the length of an encoded mark: epoch and number, 8 bytes
// big-endian each.
const markSize = 2 * 8

func markKey(id gateway.ShardID) []byte {
	return binary.BigEndian.AppendUint16([]byte{spaceMark}, uint16(id))
}

// shardOfMark is the inverse of markKey.
func shardOfMark(key []byte) (gateway.ShardID, error) {
	if len(key) == 3 && key[0] == spaceMark {
		if id := binary.BigEndian.Uint16(key[1:]); id < gateway.Shards {
			return gateway.ShardID(id), nil
		}
	}
	return 0, fmt.Errorf("a key of %d bytes among the marks of shards", len(key))
}

// setMark stores a mark; that of a shard which is not loaded is absent.
func setMark(txn *badger.Txn, id gateway.ShardID, m gateway.ShardMark) error {
	if !m.Loaded() {
		return txn.Delete(markKey(id))
	}
	b := binary.BigEndian.AppendUint64(make([]byte, 0, markSize), m.Epoch)
	return txn.Set(markKey(id), binary.BigEndian.AppendUint64(b, m.Number))
}

func decodeMark(b []byte) (gateway.ShardMark, error) {
	if len(b) != markSize {
		return gateway.ShardMark{}, fmt.Errorf("%d bytes, not %d", len(b), markSize)
	}
	m := gateway.ShardMark{Epoch: binary.BigEndian.Uint64(b), Number: binary.BigEndian.Uint64(b[8:])}
	if !m.Loaded() {
		return m, errors.New("no epoch")
	}
	return m, nil
}
