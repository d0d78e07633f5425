package replication

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gateline/gateway"
)

// resting reports whether the policy has ended and the box holds no record for that
// reason (IMP-11). It follows the feed for what else that brings.
func (r *runner) resting() bool { return !r.erased.Sunset.IsZero() }

// holdsNothing reports whether no shard is loaded: there is nothing to answer from
// until others are.
func (r *runner) holdsNothing() bool {
	return !slices.ContainsFunc(r.marks, gateway.ShardMark.Loaded)
}

// rest erases every record once the policy in force has ended, and lets all shards be
// loaded once another one is in force: that is a new purpose. It reports false where
// ctx was done before.
func (r *runner) rest(ctx context.Context, now time.Time) bool {
	if r.cfg.Ended == nil {
		return true
	}
	sunset := r.cfg.Ended()
	switch {
	case sunset.IsZero() != r.resting():
		return true
	case r.resting():
		if !r.insist(ctx, r.cfg.Store.Wake, "step", "wanting records again") {
			return false
		}
		r.erased = r.cfg.Store.Erased()
		r.log.Info("a policy is in force that has not ended: all shards are loaded again")
	default:
		if !r.erase(ctx, gateway.Erasure{Sunset: sunset}) {
			return false
		}
		r.log.Info("the policy has ended: every record of this box was erased, and none is taken until another policy is in force", "sunset", sunset.UTC())
	}
	if r.load.active {
		r.load.active = false
		r.stats.loading.Store(false)
	}
	r.fetch.active = false
	r.load.next, r.nextPoll = now, now
	return true
}

// erase has the store erase every record. It reports false where ctx was done before.
func (r *runner) erase(ctx context.Context, e gateway.Erasure) bool {
	if !r.insist(ctx, func() error { return r.cfg.Store.Erase(e) }, "step", "erasing all records") {
		return false
	}
	r.marks, r.erased = r.cfg.Store.Marks(), r.cfg.Store.Erased()
	// What was compared is no more.
	clear(r.proof.agreed)
	clear(r.proof.differ)
	r.stats.differ.Store(0)
	return true
}

// obey carries out the last purge before the head of the shards that are to be loaded,
// if the box has not done so: what is loaded from after it does not destroy the key of
// what the box held before. It reports false where ctx was done before.
func (r *runner) obey(ctx context.Context) bool {
	order := r.load.head.Purge
	if order.Ordered <= r.erased.Ordered {
		return true
	}
	held := !r.holdsNothing()
	if !r.erase(ctx, gateway.Erasure{Ordered: order.Ordered, Epoch: r.load.epoch, Number: order.Number}) {
		return false
	}
	if held {
		r.log.Warn("the centre has ended the purpose of the records while this box could not hear it: every one was erased, before others are loaded", "entry", order.Number)
	}
	return true
}

// toHead brings a box that rests, to which the feed does not lead on, to where the head
// of the shards stands. It wants none of them.
func (r *runner) toHead(ctx context.Context) error {
	h, at := &r.load.head, r.follower.Position()
	if h.At.Epoch == at.Epoch && h.At.Number <= at.Number {
		return fmt.Errorf("%w: the head of the shards is from entry %d, position of this box %d", ErrMissing, h.At.Number, at.Number)
	}
	if r.takeLoad(ctx, &gateway.Load{To: &h.At, Schedule: h.Schedule, Keys: r.load.terms}) {
		r.loadDone(r.cfg.Now())
	}
	return nil
}
