package cache

import (
	"fmt"

	"gateline/gateway"
)

// fillIndex starts to fill the index, which has the journal already, from the
// shards' values. Close waits for it.
func (s *Store) fillIndex() {
	s.scans.Add(1)
	go func() {
		defer s.scans.Done()
		for id := range gateway.ShardID(gateway.Shards) {
			if !s.fillInTurn(id) {
				return
			}
		}
	}()
}

// fillInTurn lets updates in between two shards. It returns false once the
// store is closed.
func (s *Store) fillInTurn(id gateway.ShardID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return false
	}
	if err := s.fill(id); err != nil {
		s.log.Error("a shard cannot be read; its riders go to the manual lane until it has been loaded again", "err", err)
	}
	return true
}

// fill brings the records of a shard from its value into the index unless they
// are there; of tokens that are there the index knows more. It needs mu.
func (s *Store) fill(id gateway.ShardID) error {
	if s.filled.has(id) {
		return nil
	}
	var value []byte
	var err error
	if s.held[id].records > 0 {
		value, err = s.shardValue(s.seals.Load(), id)
	}
	if err == nil {
		s.room, err = unpackShard(s.room[:0], value, id, int(s.held[id].records))
	}
	if err != nil {
		s.held[id].damaged = true
		return damaged(s.home.path, err)
	}
	s.index.fill(id, s.room)
	s.nowFilled(id)
	return nil
}

// shardValue returns a shard's value, packed; nil if there is none.
func (s *Store) shardValue(seals *sealer, id gateway.ShardID) ([]byte, error) {
	sealed, err := s.get(string(shardKey(id)))
	if err != nil {
		return nil, err
	}
	return seals.unseal(nil, shardKey(id), sealed)
}

// nowFilled notes that the index has the shard whole. It needs mu.
func (s *Store) nowFilled(id gateway.ShardID) {
	if s.filled.has(id) {
		return
	}
	s.filled.add(id)
	s.index.settle(id) // after: who misses what that forgets, knows that the shard is filled
	if s.unfilled--; s.unfilled == 0 {
		s.index.ready.Store(true)
	}
}

// lookupEarly answers while the index is being filled: from the index if it
// knows the token, else from the value of the token's shard.
func (s *Store) lookupEarly(t gateway.Token) (gateway.Record, bool, error) {
	s.readers.RLock()
	defer s.readers.RUnlock()
	if s.closed.Load() {
		return gateway.Record{}, false, ErrClosed
	}
	id := gateway.ShardOf(t)
	if record, known, changed := s.index.peek(t); changed {
		return record, known, nil
	}
	value, err := s.shardValue(s.seals.Load(), id)
	var record gateway.Record
	known := false
	if err == nil {
		record, known, err = findPacked(value, t)
	}
	if s.filled.has(id) {
		// Meanwhile: what was read may be older than what the index has had
		// since, and the index may have forgotten that a record was deleted.
		record, known = s.index.lookup(t)
		return record, known, nil
	}
	if err != nil {
		// Badger's error quotes the key, and no error shows the token.
		return gateway.Record{}, false, fmt.Errorf("cache directory %s: shard %d cannot be read; start the box again to have the store checked", s.home.path, id)
	}
	return record, known, nil
}
