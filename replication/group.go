package replication

import (
	"context"

	"gateline/gateway"
)

// Bounds of a group. So many changes share a transaction of the store.
const (
	groupChanges = 32 << 10
	groupEntries = 1024
)

// group is the updates that the follower has stepped over and the store has not
// got yet, consecutive. Entries that come faster than the disk takes them share
// one wait for it; an entry that comes alone does not wait for another.
//
// The follower's position is the last of them. Whatever looks at the store or
// changes it otherwise has to call flush before.
type group struct {
	updates []gateway.Update
	changes int
}

func (g *group) add(u gateway.Update) {
	g.updates = append(g.updates, u)
	g.changes += len(u.Changes)
}

// full reports whether the next update might be one too many for the transaction that
// the others share.
func (g *group) full() bool {
	return g.changes > groupChanges-gateway.MaxChanges || len(g.updates) >= groupEntries
}

// apply takes the next entry, unless its checkpoint shows that a shard has to be
// mended first.
func (r *runner) apply(ctx context.Context, e *Signed) {
	if e.Checkpoint != nil && (!r.flush(ctx) || !r.prove(e)) {
		return
	}
	// The first entry makes every shard loaded, a purge empties them.
	alone := r.follower.Position().Epoch == 0 || e.Purge
	if alone && !r.flush(ctx) {
		return
	}
	u := r.follower.Update(e)
	if e.Number <= r.scheduleAt {
		u.Schedule = nil // a newer one was loaded with the shards
	}
	r.follower.Applied(&u)
	r.group.add(u)
	// It named the hash of the entry we stood at.
	r.verified = true
	r.reportKeys(e)
	if alone && r.flush(ctx) {
		r.marks, r.erased = r.cfg.Store.Marks(), r.cfg.Store.Erased()
		if !r.whole() { // some are from after a purge, and were not kept
			now := r.cfg.Now()
			r.load.next, r.nextPoll = now, now
		}
	}
	if e.Purge {
		r.log.Info("the centre has ended the purpose of the records: every one was erased", "entry", e.Number)
	}
}

// flush hands the group to the store until that has taken it. It reports false
// where ctx was done before.
func (r *runner) flush(ctx context.Context) bool {
	g := &r.group
	if len(g.updates) == 0 {
		return true
	}
	last := g.updates[len(g.updates)-1].To
	if !r.insist(ctx, func() error { return r.cfg.Store.ApplyAll(r.lacks(g.updates)) }, "entry", last.Number) {
		return false
	}
	r.stats.position.Store(&last)
	r.stats.applied.Add(uint64(len(g.updates)))
	r.recovered()
	if r.cfg.OnApplied != nil {
		for _, u := range g.updates {
			r.cfg.OnApplied(u)
		}
	}
	clear(g.updates) // their changes are no longer needed
	g.updates, g.changes = g.updates[:0], 0
	return true
}

// lacks returns those of the updates that the store has not got: one that failed
// may have taken the first of them.
func (r *runner) lacks(updates []gateway.Update) []gateway.Update {
	at := r.cfg.Store.Position().Number
	for len(updates) > 0 && updates[0].To.Number <= at {
		updates = updates[1:]
	}
	return updates
}
