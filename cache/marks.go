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

// shardSet is a set of shards that may be read while it changes.
type shardSet [gateway.Shards / 64]atomic.Uint64

func (s *shardSet) has(id gateway.ShardID) bool { return s[id/64].Load()>>(id%64)&1 != 0 }
func (s *shardSet) add(id gateway.ShardID)      { s[id/64].Or(1 << (id % 64)) }

// loadedShards says for lookups which shards are loaded. Writers hold the
// store's mu.
type loadedShards struct {
	// all is true while every shard is loaded: an ordinary lookup reads no more
	// than this.
	all    atomic.Bool
	shards shardSet
}

func (l *loadedShards) has(id gateway.ShardID) bool { return l.all.Load() || l.shards.has(id) }

// set brings l to what the marks say. A shard that stays loaded is so all the
// time.
func (l *loadedShards) set(marks []gateway.ShardMark) {
	all := true
	for i := range l.shards {
		var word uint64
		for bit := range 64 {
			if marks[i*64+bit].Loaded() {
				word |= 1 << bit
			}
		}
		l.shards[i].Store(word)
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
	s.marks, s.held = make([]gateway.ShardMark, gateway.Shards), make([]held, gateway.Shards)
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
			s.marks[id], s.held[id], err = decodeMark(v)
			return err
		})
		if err != nil {
			return fmt.Errorf("mark of shard %d: %w", id, err)
		}
	}
	s.loaded.set(s.marks)
	return nil
}

// markSize is the length of an encoded mark: epoch, number and the last step of
// the journal that the shard's value contains, 8 bytes big-endian each, and how
// many records the value has, in 4.
const markSize = 3*8 + 4

func decodeMark(b []byte) (gateway.ShardMark, held, error) {
	if len(b) != markSize {
		return gateway.ShardMark{}, held{}, fmt.Errorf("%d bytes, not %d", len(b), markSize)
	}
	m := gateway.ShardMark{Epoch: binary.BigEndian.Uint64(b), Number: binary.BigEndian.Uint64(b[8:])}
	h := held{through: binary.BigEndian.Uint64(b[16:]), records: binary.BigEndian.Uint32(b[24:])}
	if !m.Loaded() {
		return m, h, errors.New("no epoch")
	}
	return m, h, nil
}
