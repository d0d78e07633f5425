package simulator

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"gateline/cache"
	"gateline/gateway"
	"gateline/replication"
)

// restingBox is a box whose policy a test ends and begins.
type restingBox struct {
	t      *testing.T
	store  *cache.Store
	sunset atomic.Int64 // Unix seconds; 0 = the policy holds
	stop   func()
}

func (f *feedBench) rest(t *testing.T, dir, station string) *restingBox {
	t.Helper()
	store, err := cache.Open(dir, cache.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	b := &restingBox{t: t, store: store}
	box, err := replication.OpenBox(replication.BoxConfig{Station: station, CentreURL: "nats-leaf://" + f.link.addr(), Store: store,
		Keys: []gateway.FeedKey{benchSecret.Public()}, Log: slog.New(slog.DiscardHandler),
		Ended: func() time.Time {
			if s := b.sunset.Load(); s != 0 {
				return time.Unix(s, 0)
			}
			return time.Time{}
		}})
	if err != nil {
		t.Fatal(errors.Join(err, store.Close()))
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- box.Run(ctx) }()
	stopped := false
	b.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := errors.Join(<-ended, box.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(b.stop)
	return b
}

// reaches waits until the box stands at an entry, with so many records and shards.
func (b *restingBox) reaches(number uint64, records, shards int) {
	b.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		n, ready := b.store.Records()
		at, loaded := b.store.Position().Number, b.store.Loaded()
		if at >= number && ready && n == records && loaded == shards {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%d records, %d shards, at entry %d; want %d, %d, %d", n, loaded, at, records, shards, number)
		}
	}
}

// A box with a real store ends with its policy, stays so over a restart, and holds
// everything again, as the centre has it, once another policy is in force.
func TestRestAndLoadAgain(t *testing.T) {
	f := openFeedBench(t)
	f.snapshots(t, gateway.Shards)
	all := len(f.tokens)
	dir := filepath.Join(t.TempDir(), "cache")
	b := f.rest(t, dir, "s-1")
	b.reaches(f.pub.Last().Number, all, gateway.Shards)
	b.sunset.Store(1_700_000_000)
	b.reaches(0, 0, 0)
	f.publish(t, []gateway.Change{{Token: f.tokens[3], Record: f.record()}, {Token: f.tokens[4], Delete: true}})
	b.reaches(f.pub.Last().Number, 0, 0)
	b.stop()
	b = f.rest(t, dir, "s-1")
	b.sunset.Store(1_700_000_000)
	f.publish(t, []gateway.Change{{Token: f.tokens[5], Record: f.record()}})
	b.reaches(f.pub.Last().Number, 0, 0)
	b.sunset.Store(0)
	b.reaches(f.pub.Last().Number, all-1, gateway.Shards)
	for i, token := range f.tokens {
		if _, known, err := b.store.Lookup(token); known == (i == 4) || err != nil {
			t.Fatalf("token %d: known %v, %v", i, known, err)
		}
	}
	b.stop()
	b = f.rest(t, dir, "s-1") // and what it holds is on the disk
	b.reaches(f.pub.Last().Number, all-1, gateway.Shards)
}

// A box with a real store that was cut off for longer than the feed goes back, while
// the centre purged, destroys the key of what it had.
func TestMissedPurgeDestroysKey(t *testing.T) {
	f := openFeedBench(t)
	f.snapshots(t, gateway.Shards)
	dir := filepath.Join(t.TempDir(), "cache")
	b := f.rest(t, dir, "s-1")
	b.reaches(f.pub.Last().Number, len(f.tokens), gateway.Shards)
	b.stop()
	f.now += 1000
	if err := f.pub.Publish(t.Context(), &replication.Entry{Time: f.now, Purge: true}); err != nil {
		t.Fatal(err)
	}
	purge := f.pub.Last()
	f.tokens = nil
	f.snapshots(t, 0)
	stream, err := f.js.Stream(t.Context(), replication.StreamFeed)
	if err != nil {
		t.Fatal(err)
	}
	short := stream.CachedInfo().Config
	short.MaxMsgs = 3
	if _, err := f.js.UpdateStream(t.Context(), short); err != nil {
		t.Fatal(err)
	}
	f.publish(t, []gateway.Change{{Token: 5, Record: f.record()}})
	b = f.rest(t, dir, "s-1")
	b.reaches(f.pub.Last().Number, 1, gateway.Shards)
	if e := b.store.Erased(); e.Number != purge.Number || e.Epoch != purge.Epoch || e.Ordered == 0 {
		t.Errorf("the receipt is %+v, the purge entry %d", e, purge.Number)
	}
	if names, err := filepath.Glob(filepath.Join(dir, "KEY-*")); err != nil || len(names) != 1 || filepath.Base(names[0]) == "KEY-1" {
		t.Errorf("keys %v, %v", names, err)
	}
}
