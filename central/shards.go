package central

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gateline/gateway"
	"gateline/replication"
)

// Bounds of the shard cycle: how long the centre takes to write a snapshot of
// every shard. A shorter one makes more traffic than boxes' repairs need; with a
// longer one the feed has to be kept longer.
const (
	MinShardCycle     = 10 * time.Minute
	MaxShardCycle     = 7 * 24 * time.Hour
	DefaultShardCycle = 6 * time.Hour
)

// ToleratedCut is how long a box may be cut off, at the least, before it has to
// load shards: the feed keeps its entries for a shard cycle and as long again.
const ToleratedCut = 24 * time.Hour

// DefaultFeedKeep is enough for any shard cycle. What ended is in no feed any more after
// that (PRV-04).
const DefaultFeedKeep = MaxShardCycle + ToleratedCut

// MaxFeedKeep bounds how long a feed is said to be kept.
const MaxFeedKeep = 10 * 365 * 24 * time.Hour

// checkKeep refuses a feed that loses entries which a box still needs.
func checkKeep(keep, cycle time.Duration) error {
	if keep != 0 && keep < cycle+ToleratedCut {
		return fmt.Errorf("%v is below %v, the shard cycle and %v that a box may be cut off; 0 keeps everything", keep, cycle+ToleratedCut, ToleratedCut)
	}
	return nil
}

// shardTimeout bounds the writing of one snapshot.
const shardTimeout = 5 * time.Second

// quickStep is the time between two snapshots until every shard has one.
const quickStep = 20 * time.Millisecond

// snapshots writes the shards in turn, between rounds: a round waits for one
// shard at most. Run's goroutine uses it.
type snapshots struct {
	feed  feed
	cycle time.Duration
	next  gateway.ShardID
	// failing is true from a snapshot that could not be stored to the next one
	// that could.
	failing bool
}

// newSnapshots begins at the shard whose turn it is by the clock, so that a
// centre that is started often gets to all of them.
func newSnapshots(f feed, cycle time.Duration, now time.Time) *snapshots {
	s := &snapshots{feed: f, cycle: cycle}
	s.next = gateway.ShardID(uint64(now.UnixNano()) % uint64(cycle) / uint64(s.step()) % gateway.Shards)
	return s
}

// step is the time between two snapshots once every shard has one.
func (s *snapshots) step() time.Duration { return s.cycle / gateway.Shards }

// pause returns how long to wait for the next snapshot.
func (s *snapshots) pause() time.Duration {
	if !s.feed.ShardsComplete() {
		return quickStep
	}
	return s.step()
}

// publishSnapshot stores the snapshot of the next shard. What fails without
// another centre being the reason is said once and left for the next cycle:
// shards are a second way to what the feed holds.
func (w *writer) publishSnapshot(ctx context.Context, s *snapshots) error {
	last := w.feed.Last()
	if last.Number == 0 {
		return nil // the first heartbeat comes before any snapshot
	}
	shard := gateway.Shard{
		ID:      s.next,
		At:      gateway.Position{Epoch: last.Epoch, Number: last.Number, Watermark: last.Time},
		Records: w.state.registry.Shard(s.next),
	}
	s.next = (s.next + 1) % gateway.Shards
	ctx, cancel := context.WithTimeout(ctx, shardTimeout)
	defer cancel()
	err := s.feed.PublishShard(ctx, shard)
	switch {
	case errors.Is(err, replication.ErrFenced):
		return fmt.Errorf("%w: %w", ErrTakenOver, err)
	case err != nil && !s.failing:
		w.log.Warn("the snapshot of a shard could not be stored; its turn comes again, boxes meanwhile load the one before; see to the disk", "shard", shard.ID, "err", err)
	case err == nil && s.failing:
		w.log.Info("snapshots of shards are stored again", "shard", shard.ID)
	}
	s.failing = err != nil
	return nil
}
