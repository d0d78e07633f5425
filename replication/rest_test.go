package replication

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"gateline/gateway"
)

// sunsets says for a test's box whether its policy has ended.
type sunsets struct{ at atomic.Int64 }

func (s *sunsets) end(at time.Time) { s.at.Store(at.UnixMicro()) }
func (s *sunsets) begin()           { s.at.Store(0) }
func (s *sunsets) ended() time.Time {
	if at := s.at.Load(); at != 0 {
		return time.UnixMicro(at)
	}
	return time.Time{}
}

func scheduleNamed(version uint64) *gateway.Schedule {
	s := testSchedule(1)
	s.Version = version
	return s
}

func (s *memory) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records)
}

func (s *memory) version() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.schedule == nil {
		return 0
	}
	return s.schedule.Version
}

// A box whose policy has ended erases its records once, takes no other, follows the
// feed for the policies that come, also over what has expired of it, and loads all
// again once one of them is in force.
func TestRest(t *testing.T) {
	t.Parallel()
	c := openShardedCentre(t)
	store, log, sun := newMemory(), &lines{}, new(sunsets)
	with := func(cfg *BoxConfig) { cfg.Ended = sun.ended }
	_, stop := startBox(t, c.url(), store, log, with)
	same(t, c, store)
	sunset := time.UnixMicro(1_700_000_000_000_000)
	sun.end(sunset)
	until(t, "erased", func() bool { return store.count() == 0 })
	loads := store.loads
	for id := range gateway.ShardID(3) { // whose checkpoints say that there are records
		c.publishShard(id)
		c.publish(1)
	}
	c.must(&Entry{Time: time.Now().UnixMicro(), Schedule: scheduleNamed(4)})
	c.publish(1)
	rests := func() {
		t.Helper()
		last := c.pub.Last()
		until(t, "at the last entry", func() bool { return store.at() >= last.Number })
		if store.count() != 0 || store.loads != loads || store.erasures != 1 || !store.Erased().Sunset.Equal(sunset) {
			t.Errorf("%d records, %d shards loaded, erased %d times, %+v", store.count(), store.loads-loads, store.erasures, store.Erased())
		}
		store.check(t)
	}
	rests()
	stop()
	c.publish(5)
	c.keep(3)
	c.must(&Entry{Time: time.Now().UnixMicro(), Schedule: scheduleNamed(5)})
	c.publish(2)
	c.must(&Entry{Time: time.Now().UnixMicro(), Schedule: scheduleNamed(6)})
	_, stop = startBox(t, c.url(), store, log, with)
	rests()
	if v := store.version(); v != 6 {
		t.Errorf("policy %d", v)
	}
	c.must(&Entry{Time: time.Now().UnixMicro(), Purge: true, Ordered: 7}) // the centre's own end
	clear(c.want)
	rests()
	if e := store.Erased(); e.Ordered != 7 || e.Number != c.pub.Last().Number {
		t.Errorf("the receipt is %+v", e)
	}
	c.keep(-1)
	c.publish(2)
	rests()
	c.cycle()
	c.publish(1)
	sun.begin()
	until(t, "all shards are wanted again", func() bool { return store.count() == len(c.want) })
	same(t, c, store)
	stop()
	if store.loads-loads != gateway.Shards || store.erasures != 1 || !store.Erased().Sunset.IsZero() {
		t.Errorf("%d shards loaded, erased %d times", store.loads-loads, store.erasures)
	}
	if log.count("every record of this box was erased") != 1 || log.count("all shards are loaded again") != 1 {
		t.Errorf("log:\n%s", log)
	}
}

// A policy that comes after another's sunset is not forgotten while shards from before it
// are loaded and the feed is followed from there once more.
func TestRestOlderSchedule(t *testing.T) {
	c := openShardedCentre(t)
	store, log, sun := newMemory(), &lines{}, new(sunsets)
	ends := func(s *gateway.Schedule) {
		if s == nil {
			return
		}
		if s.Version == 4 {
			sun.end(time.UnixMicro(5))
		} else {
			sun.begin()
		}
	}
	var versions []uint64
	startBox(t, c.url(), store, log, func(cfg *BoxConfig) {
		cfg.Ended = sun.ended
		cfg.OnApplied = func(u gateway.Update) {
			if ends(u.Schedule); u.Schedule != nil {
				versions = append(versions, u.Schedule.Version)
			}
		}
	})
	same(t, c, store)
	c.must(&Entry{Time: time.Now().UnixMicro(), Schedule: scheduleNamed(4)})
	until(t, "erased", func() bool { return store.count() == 0 })
	c.publish(2)
	c.must(&Entry{Time: time.Now().UnixMicro(), Schedule: scheduleNamed(5)})
	until(t, "all is loaded again", func() bool { return store.count() == len(c.want) && store.at() == c.pub.Last().Number })
	c.publish(1)
	same(t, c, store)
	for i := slices.Index(versions, 5); i < len(versions); i++ {
		if versions[i] != 5 {
			t.Error("an older policy came back")
		}
	}
	if store.erasures != 1 || store.version() != 5 {
		t.Errorf("erased %d times, policy %d, policies %d", store.erasures, store.version(), versions)
	}
}

// A box that was cut off while the centre purged, for longer than the feed goes back,
// erases what it had before it loads anything, in the same epoch and in another; one
// that has done so before does not do it again.
func TestMissedPurge(t *testing.T) {
	c := openShardedCentre(t)
	cutOff, foreign, obedient, fresh, log := c.storeAt(30), newMemory(), newMemory(), newMemory(), &lines{}
	order := time.Now().UnixMicro()
	c.must(&Entry{Time: order, Purge: true, Ordered: order})
	number := c.pub.Last().Number
	clear(c.want)
	c.publish(3)
	c.cycle()
	c.publish(1)
	c.keep(3)
	c.reopen(testPublisher(1, 2)) // which knows it from the head
	if n, ordered := c.pub.LastPurge(); n != number || ordered != order {
		t.Errorf("the last purge is entry %d, ordered %d", n, ordered)
	}
	otherEpoch(foreign, 1)
	otherEpoch(obedient, 1)
	foreign.position.Number, obedient.position.Number = number, number // so that the last entries are seen
	obedient.erased = gateway.Erasure{Ordered: order, Epoch: 5, Number: 900}
	epoch := c.pub.Last().Epoch
	for name, b := range map[string]struct {
		store *memory
		want  gateway.Erasure
		held  bool
	}{
		"s-1": {cutOff, gateway.Erasure{Ordered: order, Epoch: epoch, Number: number}, true},
		"s-2": {foreign, gateway.Erasure{Ordered: order, Epoch: epoch, Number: number}, true},
		"s-3": {obedient, obedient.erased, true},
		"s-4": {fresh, gateway.Erasure{Ordered: order, Epoch: epoch, Number: number}, false},
	} {
		b.store.onLoad = func(gateway.Load) {
			if b.store.erased != b.want {
				b.store.faults = append(b.store.faults, "shards loaded before what was there is erased")
			}
		}
		_, stop := startBox(t, c.url(), b.store, log, func(cfg *BoxConfig) { cfg.Station = name })
		until(t, "in the epoch", func() bool { return b.store.Position().Epoch == epoch })
		same(t, c, b.store)
		stop()
	}
	if cutOff.erasures != 1 || foreign.erasures != 1 || obedient.erasures != 0 || fresh.erasures != 1 {
		t.Errorf("erased %d, %d, %d, %d times", cutOff.erasures, foreign.erasures, obedient.erasures, fresh.erasures)
	}
	if log.count("every one was erased, before others are loaded") != 2 {
		t.Errorf("log:\n%s", log)
	}
}
