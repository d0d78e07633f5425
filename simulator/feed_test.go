package simulator

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"gateline/cache"
	"gateline/gateway"
	"gateline/replication"
)

var (
	benchRecords = flag.Int("records", 400_000, "number of records that a feed's benchmark begins with")
	benchChanges = flag.Int("changes", 400_000, "number of changes that a box catches up on")
	benchRate    = flag.Int("rate", 0, "bytes a second that the link brings to the box in a feed's benchmark; 0 = as the machine can")
)

// feedBench is a centre's publisher behind a real hub, and what boxes of its read.
type feedBench struct {
	hub     *replication.Hub
	link    *link
	js      jetstream.JetStream
	pub     *replication.Publisher
	tokens  []gateway.Token
	now     int64
	entropy *rand.Rand
}

var benchSecret = gateway.FeedSecret{1}

func openFeedBench(b testing.TB) *feedBench {
	b.Helper()
	f := &feedBench{entropy: rand.New(rand.NewPCG(1, 2)), now: time.Now().UnixMicro()}
	quiet := slog.New(slog.DiscardHandler)
	var err error
	if f.hub, err = replication.OpenHub(replication.HubConfig{Dir: b.TempDir(), LeafListen: "127.0.0.1:0", Log: quiet}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := f.hub.Close(); err != nil {
			b.Error(err)
		}
	})
	if f.link, err = openLink(f.hub.LeafAddr(), nil); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := f.link.close(); err != nil {
			b.Error(err)
		}
	})
	f.link.thin(*benchRate)
	conn, err := f.hub.Connect()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(conn.Close)
	if f.js, err = jetstream.New(conn); err != nil {
		b.Fatal(err)
	}
	if f.pub, err = replication.OpenPublisher(b.Context(), f.js, replication.PublisherConfig{Keys: []gateway.FeedSecret{benchSecret}, Log: quiet}); err != nil {
		b.Fatal(err)
	}
	f.publish(b, nil)
	return f
}

func (f *feedBench) publish(b testing.TB, changes []gateway.Change) {
	f.now += 1000
	if err := f.pub.Publish(b.Context(), &replication.Entry{Time: f.now, Changes: changes}); err != nil {
		b.Fatal(err)
	}
}

func (f *feedBench) record() gateway.Record {
	return gateway.Record{Class: gateway.ClassNormal, Anchor: gateway.Day(19_000 + f.entropy.IntN(4))}
}

// snapshots stores a snapshot of every shard, so many records in all.
func (f *feedBench) snapshots(b testing.TB, records int) {
	each := (records + gateway.Shards - 1) / gateway.Shards
	for i := range gateway.Shards {
		first, _ := gateway.ShardID(i).Range()
		shard := gateway.Shard{ID: gateway.ShardID(i)}
		for range each {
			shard.Records = append(shard.Records, gateway.Change{Token: first | gateway.Token(f.entropy.Uint64())>>12, Record: f.record()})
		}
		slices.SortFunc(shard.Records, byToken)
		shard.Records = slices.CompactFunc(shard.Records, func(x, y gateway.Change) bool { return x.Token == y.Token })
		for _, c := range shard.Records {
			f.tokens = append(f.tokens, c.Token)
		}
		if err := f.pub.PublishShard(b.Context(), shard); err != nil {
			b.Fatal(err)
		}
	}
	f.publish(b, nil)
	// The head says that all are there; it comes with the next snapshot.
	if err := f.pub.PublishShard(b.Context(), gateway.Shard{ID: gateway.Shards - 1, Records: f.last()}); err != nil {
		b.Fatal(err)
	}
	f.publish(b, nil)
}

// last returns the records of the last shard anew.
func (f *feedBench) last() (records []gateway.Change) {
	first, _ := gateway.ShardID(gateway.Shards - 1).Range()
	for _, t := range f.tokens {
		if t >= first {
			records = append(records, gateway.Change{Token: t, Record: f.record()})
		}
	}
	return records
}

func byToken(x, y gateway.Change) int {
	if x.Token < y.Token {
		return -1
	}
	return 1
}

// entries publishes -changes in entries of 500, for records that are there.
func (f *feedBench) entries(b testing.TB) {
	for done := 0; done < *benchChanges; done += gateway.MaxChanges {
		changes := map[gateway.Token]gateway.Record{}
		for len(changes) < min(gateway.MaxChanges, len(f.tokens)) {
			changes[f.tokens[f.entropy.IntN(len(f.tokens))]] = f.record()
		}
		list := make([]gateway.Change, 0, len(changes))
		for t, r := range changes {
			list = append(list, gateway.Change{Token: t, Record: r})
		}
		f.publish(b, list)
	}
}

// timedStore is a store that knows how long it was at work.
type timedStore struct {
	*cache.Store
	spent time.Duration
	calls int
}

func (s *timedStore) ApplyAll(updates []gateway.Update) error {
	began := time.Now()
	defer func() { s.spent += time.Since(began); s.calls++ }()
	return s.Store.ApplyAll(updates)
}

func (s *timedStore) Load(l gateway.Load) error {
	began := time.Now()
	defer func() { s.spent += time.Since(began); s.calls++ }()
	return s.Store.Load(l)
}

// follow runs a box on the store in dir until it is level with the feed.
func (f *feedBench) follow(b testing.TB, dir string) (took time.Duration, store *timedStore) {
	b.Helper()
	c, err := cache.Open(dir, cache.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	store = &timedStore{Store: c}
	level := make(chan struct{})
	target := f.pub.Last().Number
	f.link.toBox.Store(0)
	began := time.Now()
	box, err := replication.OpenBox(replication.BoxConfig{Station: "bench", CentreURL: "nats-leaf://" + f.link.addr(), Store: store,
		Keys: []gateway.FeedKey{benchSecret.Public()}, Log: slog.New(slog.DiscardHandler),
		OnApplied: func(u gateway.Update) {
			if u.To.Number == target {
				close(level)
			}
		}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- box.Run(ctx) }()
	select {
	case <-level:
	case err := <-ended:
		b.Fatalf("the box ended: %v", err)
	}
	took = time.Since(began)
	cancel()
	if err := errors.Join(<-ended, box.Close(), c.Close()); err != nil {
		b.Fatal(err)
	}
	return took, store
}

// verify is what of a catch-up is decoding and verifying: the entries from number
// on, from memory.
func (f *feedBench) verify(b testing.TB, from uint64) time.Duration {
	stream, err := f.js.Stream(b.Context(), replication.StreamFeed)
	if err != nil {
		b.Fatal(err)
	}
	var all [][]byte
	for n := from; n <= f.pub.Last().Number; n++ {
		m, err := stream.GetMsg(b.Context(), n)
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, m.Data)
	}
	before, err := replication.DecodeEntry(all[0])
	if err != nil {
		b.Fatal(err)
	}
	at := gateway.Position{Epoch: before.Epoch, Number: before.Number, Watermark: before.Time, Hash: before.Hash}
	follower := replication.NewFollower(replication.Start{Position: at, Usable: true,
		Terms: []gateway.KeyTerm{{Key: benchSecret.Public(), From: 1}}, Trusted: []gateway.FeedKey{benchSecret.Public()}})
	began := time.Now()
	for _, data := range all[1:] {
		e, err := replication.DecodeEntry(data)
		if err != nil {
			b.Fatal(err)
		}
		action, err := follower.Step(&e, false)
		if action != replication.ActionApply {
			b.Fatal(action, err)
		}
		u := follower.Update(&e)
		follower.Applied(&u)
	}
	return time.Since(began)
}

// BenchmarkBootstrap is a new box that loads -records and is level, durable, over
// a real link. BenchmarkCatchUp is the same box, -changes in entries of 500 behind.
// store-s is the time spent in the store, verify-s what decoding and verifying the
// same entries takes by itself; the rest is the network and the hub, which runs in
// this process and in part at the same time.
func BenchmarkBootstrap(b *testing.B) {
	f := openFeedBench(b)
	f.snapshots(b, *benchRecords)
	b.ResetTimer()
	for i := range b.N {
		took, store := f.follow(b, filepath.Join(b.TempDir(), fmt.Sprint(i)))
		b.ReportMetric(float64(len(f.tokens))/took.Seconds(), "records/s")
		b.ReportMetric(took.Seconds(), "s")
		b.ReportMetric(store.spent.Seconds(), "store-s")
		f.reportLink(b, took)
	}
}

// reportLink reports the bytes that a box got and, of a thin link, how much longer
// it took than they need.
func (f *feedBench) reportLink(b *testing.B, took time.Duration) {
	bytes := float64(f.link.toBox.Load())
	b.ReportMetric(bytes/1e6, "MB")
	if *benchRate > 0 {
		b.ReportMetric(took.Seconds()/(bytes/float64(*benchRate)), "×-of-the-link")
	}
}

// BenchmarkCatchUp: see BenchmarkBootstrap.
func BenchmarkCatchUp(b *testing.B) {
	f := openFeedBench(b)
	f.snapshots(b, *benchRecords)
	dir := filepath.Join(b.TempDir(), "cache")
	f.follow(b, dir)
	for range b.N {
		from := f.pub.Last().Number
		f.entries(b)
		b.ResetTimer()
		took, store := f.follow(b, dir)
		b.StopTimer()
		b.ReportMetric(float64(*benchChanges)/took.Seconds(), "changes/s")
		b.ReportMetric(took.Seconds(), "s")
		b.ReportMetric(store.spent.Seconds(), "store-s")
		b.ReportMetric(float64(store.calls), "groups")
		f.reportLink(b, took)
		b.ReportMetric(f.verify(b, from).Seconds(), "verify-s")
	}
}

// An order to erase every record reaches a box over the link: none is left in its
// memory, and the key that had sealed them on its disk is gone.
func TestPurgeOverLink(t *testing.T) {
	f := openFeedBench(t)
	f.snapshots(t, gateway.Shards)
	dir := filepath.Join(t.TempDir(), "cache")
	f.follow(t, dir)
	keys := func() []string {
		all, err := filepath.Glob(filepath.Join(dir, "KEY-*"))
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		return all
	}
	before := keys()[0]
	f.now += 1000
	if err := f.pub.Publish(t.Context(), &replication.Entry{Time: f.now, Purge: true}); err != nil {
		t.Fatal(err)
	}
	at := f.pub.Last().Number
	kept := gateway.Change{Token: f.tokens[5], Record: f.record()}
	f.publish(t, []gateway.Change{kept})
	f.follow(t, dir)
	if keys()[0] == before {
		t.Error("the key is the same")
	}
	c, err := cache.Open(dir, cache.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	n := 0
	if err := c.Each(func(token gateway.Token, r gateway.Record) error {
		if n++; token != kept.Token || r != kept.Record {
			t.Error("a record of before is still there")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, number := c.Purged(); n != 1 || number != at || c.Loaded() != gateway.Shards {
		t.Errorf("%d records, purged at entry %d, %d shards", n, number, c.Loaded())
	}
}
