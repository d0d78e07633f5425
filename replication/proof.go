package replication

import "gateline/gateway"

// proof is what checkpoints have shown of the store.
type proof struct {
	// agreed are the shards that have agreed since the last round began.
	agreed map[gateway.ShardID]struct{}
	// differ are those that could not be mended when they were last compared.
	differ map[gateway.ShardID]struct{}
	// tried is the last shard that was loaded again, at the checkpoint of that
	// entry. One checkpoint leads to one attempt.
	tried   gateway.ShardID
	triedAt uint64
}

// prove compares the checkpoint of the next entry, if it has one, with the store,
// and loads the shard again where they differ. It reports whether the entry may
// be applied now.
func (r *runner) prove(e *Signed) bool {
	c := e.Checkpoint
	if c == nil || r.marks[c.Shard].Epoch != e.Epoch || r.marks[c.Shard].Number >= e.Number {
		return true // the records are of a later place than the checkpoint
	}
	p := &r.proof
	sum, err := r.cfg.Store.Sum(c.Shard)
	if err == nil && sum == c.Sum {
		r.stats.verified.Add(1)
		delete(p.differ, c.Shard)
		r.stats.differ.Store(uint64(len(p.differ)))
		if p.agreed[c.Shard] = struct{}{}; len(p.agreed) == gateway.Shards {
			now := r.cfg.Now()
			r.stats.lastRound.Store(&now)
			clear(p.agreed)
		}
		return true
	}
	r.stats.mismatches.Add(1)
	if p.tried == c.Shard && p.triedAt == e.Number {
		p.differ[c.Shard] = struct{}{}
		r.stats.differ.Store(uint64(len(p.differ)))
		r.log.Error("a shard differs from the centre's and could not be mended; it is tried again at its next checkpoint; check the disk",
			"shard", c.Shard, "entry", e.Number, "err", err)
		return true
	}
	now, id := r.cfg.Now(), c.Shard
	r.log.Error("a shard differs from the centre's and is loaded again; check the disk if this is not the only one", "shard", c.Shard, "entry", e.Number, "err", err)
	p.tried, p.triedAt = id, e.Number
	r.load.next = now // it does not wait for an earlier attempt's pause
	r.startLoad(load{repair: &id}, now)
	return false
}
