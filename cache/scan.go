package cache

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"gateline/gateway"
)

// Each calls fn for every record in the order of the tokens, as the store is
// between two updates at the moment of the call; shards that are not loaded are
// left out. Updates go on meanwhile. It reads the disk, and keeps in memory what
// the journal holds, at most some 50 MB. It returns the first error of fn,
// ErrClosed once Close is called, or ErrPurged once the store is purged. fn may use the store but not close it.
func (s *Store) Each(fn func(gateway.Token, gateway.Record) error) error {
	scan, err := s.snapshot()
	if err != nil {
		return err
	}
	defer scan.close()
	newer, err := scan.journal()
	switch {
	case s.closed.Load():
		return ErrClosed
	case scan.over():
		return ErrPurged
	case err != nil:
		return damaged(s.home.path, err)
	}
	var records []gateway.Change
	scan.it.Seek([]byte{spaceShard})
	for id := range gateway.ShardID(gateway.Shards) {
		_, last := id.Range()
		n, _ := slices.BinarySearchFunc(newer, last, func(c gateway.Change, last gateway.Token) int {
			if c.Token <= last {
				return -1
			}
			return 1
		})
		if records, err = scan.shard(records[:0], id, newer[:n]); err != nil {
			return damaged(s.home.path, err)
		}
		newer = newer[n:]
		for i := range records {
			if s.closed.Load() {
				return ErrClosed
			}
			if scan.over() {
				return ErrPurged
			}
			if err := fn(records[i].Token, records[i].Record); err != nil {
				return err
			}
		}
	}
	return nil
}

// scan reads the store as it was at one moment. Its iterator holds references to
// every table it needs, so that what is discarded later is still there for it;
// that nothing is discarded before it does is what mu is for.
type scan struct {
	s    *Store
	txn  *badger.Txn
	it   *badger.Iterator
	held []held
	// seals has the key of its time; steps up to purged cannot be read.
	seals  *sealer
	purged uint64
	// loaded says for each shard whether it was.
	loaded []bool
}

func (s *Store) snapshot() (*scan, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return nil, ErrClosed
	}
	c := &scan{s: s, txn: s.db.NewTransactionAt(s.version, false), held: slices.Clone(s.held), seals: s.seals.Load(), purged: s.purged.step, loaded: make([]bool, gateway.Shards)}
	for id, m := range s.marks {
		c.loaded[id] = m.Loaded()
	}
	opt := badger.DefaultIteratorOptions
	opt.PrefetchValues = false // values lie beside their keys
	c.it = c.txn.NewIterator(opt)
	s.scans.Add(1)
	return c, nil
}

// over reports whether the store was purged since.
func (c *scan) over() bool { return c.s.seals.Load() != c.seals }

func (c *scan) close() {
	c.it.Close()
	c.txn.Discard()
	c.s.scans.Done()
}

// journal returns those changes of the journal that the shards' values lack, of
// one token the last only, in the order of the tokens.
func (c *scan) journal() (newer []gateway.Change, err error) {
	for c.it.Seek([]byte{spaceStep}); c.it.ValidForPrefix([]byte{spaceStep}); c.it.Next() {
		if c.s.closed.Load() {
			return nil, nil // Each looks too
		}
		before := len(newer)
		n, all, err := c.seals.readStep(newer, c.it.Item(), c.purged)
		if err != nil {
			return nil, err
		}
		newer = all[:before]
		for _, change := range all[before:] {
			if n > c.held[gateway.ShardOf(change.Token)].through {
				newer = append(newer, change)
			}
		}
	}
	return lastOfEach(newer), nil
}

// lastOfEach brings changes into the order of their tokens and keeps of one
// token the last only, in the same memory.
func lastOfEach(changes []gateway.Change) []gateway.Change {
	slices.SortStableFunc(changes, func(a, b gateway.Change) int { return cmp.Compare(a.Token, b.Token) })
	kept := changes[:0]
	for i, c := range changes {
		if i+1 == len(changes) || changes[i+1].Token != c.Token {
			kept = append(kept, c)
		}
	}
	return kept
}

// shard appends the records of a shard, with the newer changes, which are all
// its own, to into. The shards come in their order and the iterator stands at
// the first value that is left: seeking each would pass again and again over what
// was deleted from the journal.
func (c *scan) shard(into []gateway.Change, id gateway.ShardID, newer []gateway.Change) ([]gateway.Change, error) {
	var value []byte
	var err error
	if c.it.Valid() && bytes.Equal(c.it.Item().Key(), shardKey(id)) {
		if value, err = c.it.Item().ValueCopy(nil); err != nil {
			return into, err
		}
		c.it.Next()
	}
	if !c.loaded[id] {
		return into, nil
	}
	if c.held[id].records == 0 {
		value = nil // it is of before a purge that is not finished, if there is one
	}
	if value, err = c.seals.unseal(nil, shardKey(id), value); err != nil {
		return into, err
	}
	into, err = unpackShard(into, value, id, int(c.held[id].records))
	if err != nil || len(newer) == 0 {
		return into, err
	}
	into = lastOfEach(append(into, newer...))
	return slices.DeleteFunc(into, func(c gateway.Change) bool { return c.Delete }), nil
}
