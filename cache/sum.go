package cache

import (
	"bytes"
	"errors"

	"gateline/gateway"
)

// Sum returns the sum of a shard at the current position, as lookups are answered
// and as it stands on the disk, ErrNotLoaded if it is not loaded. A shard with
// changes in the journal is written anew first, so that after a cycle of sums
// the journal is empty and nothing deleted is left in it. Where disk and memory
// differ or the disk cannot be read, the sum's Hash is zero, which is no
// shard's: Load mends both. While nothing can be written, the sum is that of
// the memory alone. Updates wait meanwhile, some milliseconds; lookups do not.
func (s *Store) Sum(id gateway.ShardID) (gateway.ShardSum, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return gateway.ShardSum{}, ErrClosed
	}
	if id >= gateway.Shards || !s.marks[id].Loaded() {
		return gateway.ShardSum{}, ErrNotLoaded
	}
	writeable := s.writeable() == nil
	well := s.fill(id) == nil
	if well && s.held[id].oldest != 0 && writeable {
		_ = s.commit(func(b *batch) error { // what went wrong stays in the journal, or in failed
			_, err := s.fold(b, id, trimBytes)
			return errors.Join(err, s.trim(b))
		})
	}
	s.room = s.index.shard(s.room[:0], id)
	if well && s.held[id].oldest == 0 && writeable {
		first, _ := id.Range()
		value, err := s.shardValue(s.seals.Load(), id)
		if len(s.room) == 0 {
			well = err == nil && value == nil
		} else {
			well = err == nil && bytes.Equal(value, packChanges(first, s.room))
		}
	}
	summer := gateway.NewShardSummer(id)
	for i := range s.room {
		summer.Add(s.room[i].Token, s.room[i].Record)
	}
	sum := summer.Sum()
	if !well {
		s.log.Warn("a shard on the disk cannot be read, or memory differs from it; it is to be loaded again", "shard", id)
		sum.Hash = gateway.Hash{}
	}
	return sum, nil
}
