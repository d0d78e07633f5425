package cache

import "gateline/gateway"

// Sum returns the sum of a shard as it stands on the disk at the current
// position, ErrNotLoaded if it is not loaded. Where the disk holds something that
// is no record, or where lookups are answered from memory and memory differs from
// the disk, the sum's Hash is zero, which is no shard's: Load mends both. Updates
// wait meanwhile, some milliseconds; lookups do not.
func (s *Store) Sum(id gateway.ShardID) (gateway.ShardSum, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return gateway.ShardSum{}, ErrClosed
	}
	if id >= gateway.Shards || !s.marks[id].Loaded() {
		return gateway.ShardSum{}, ErrNotLoaded
	}
	it, done := s.iterate()
	defer done()
	first, last := id.Range()
	summer := gateway.NewShardSummer(id)
	inMemory := s.index.ready.Load()
	n, well := 0, true
	for it.Seek(appendRecordKey(nil, first)); it.Valid(); it.Next() {
		t, r, err := decodeItem(it.Item())
		if err == nil && t > last {
			break
		}
		n++
		if err != nil {
			well = false
			continue
		}
		summer.Add(t, r)
		if inMemory {
			held, known := s.index.lookup(t)
			well = well && known && held == r
		}
	}
	sum := summer.Sum()
	if inMemory {
		well = well && s.index.recordsOf(id) == n
	}
	if !well {
		s.log.Warn("a shard on the disk holds no records, or memory differs from it; it is to be loaded again", "shard", id)
		sum.Hash = gateway.Hash{}
	}
	return sum, nil
}
