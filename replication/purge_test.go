package replication

import (
	"slices"
	"testing"
	"time"

	"gateline/gateway"
)

// A purge reaches boxes that are connected and ones that were cut off, amid other
// entries, and leaves nothing; what comes after it counts. A box that starts from
// snapshots of before ends with the same.
func TestPurgeReachesBoxes(t *testing.T) {
	t.Parallel()
	c := openShardedCentre(t)
	connected, late, log := newMemory(), newMemory(), &lines{}
	named := func(name string) func(*BoxConfig) { return func(cfg *BoxConfig) { cfg.Station = name } }
	startBox(t, c.url(), connected, log, named("s-1"))
	_, stop := startBox(t, c.url(), late, log, named("s-2"))
	same(t, c, connected)
	same(t, c, late)
	stop()
	c.publish(2)
	c.must(&Entry{Time: time.Now().UnixMicro(), Purge: true, Schedule: testSchedule(1)})
	at := c.pub.Last().Number
	clear(c.want)
	if c.pub.ShardsComplete() {
		t.Error("snapshots of before the purge count")
	}
	same(t, c, connected)
	if len(connected.records) != 0 || connected.schedule == nil || connected.schedule.Version != testSchedule(1).Version {
		t.Errorf("%d records", len(connected.records))
	}
	c.publish(3)
	same(t, c, connected)
	startBox(t, c.url(), late, log, named("s-2"))
	same(t, c, late)
	fresh := newMemory()
	startBox(t, c.url(), fresh, log, named("s-3"))
	same(t, c, fresh)
	for _, s := range []*memory{connected, late, fresh} {
		for id, m := range s.Marks() {
			if m.Epoch == 0 || m.Number > at {
				t.Fatalf("shard %d has mark %+v", id, m)
			}
		}
		s.check(t)
	}
	if n := log.count("every one was erased"); n < 3 {
		t.Errorf("said %d times:\n%s", n, log)
	}
}

// A shard from after the purge, in a box that has not come to it, is loaded again.
func TestPurgeBehindShard(t *testing.T) {
	t.Parallel()
	c := openShardedCentre(t)
	store := newMemory()
	_, stop := startBox(t, c.url(), store, &lines{}, nil)
	same(t, c, store)
	stop()
	c.must(&Entry{Time: time.Now().UnixMicro(), Purge: true})
	clear(c.want)
	c.publish(5)
	c.cycle()
	c.publish(1)
	for id := range gateway.ShardID(3) { // as a load that was broken off leaves it
		store.marks[id] = gateway.ShardMark{Epoch: c.pub.Last().Epoch, Number: c.pub.Last().Number - 1}
		for _, r := range shardOf(store.records, id) {
			delete(store.records, r.Token)
		}
		for _, r := range shardOf(c.want, id) {
			store.records[r.Token] = r.Record
		}
	}
	// It does not wait for a poll.
	startBox(t, c.url(), store, &lines{}, func(cfg *BoxConfig) {
		cfg.PollInterval, cfg.QuietAfter, cfg.DeadAfter = time.Hour, time.Hour, time.Hour
	})
	until(t, "the purge is applied", func() bool { return store.Erased().Number > 0 })
	until(t, "every shard is loaded", func() bool {
		return !slices.ContainsFunc(store.Marks(), func(m gateway.ShardMark) bool { return !m.Loaded() })
	})
	same(t, c, store)
	store.check(t)
}
