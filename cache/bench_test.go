package cache

import (
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"gateline/gateway"
)

// benchRecords is the number of records that lookups are measured against.
const benchRecords = 100_000

func benchStore(b *testing.B) *Store {
	b.Helper()
	dir := b.TempDir()
	o := Options{MinFree: 1 << 20}
	s := open(b, dir, o)
	r := rand.New(rand.NewPCG(1, 1))
	for i, n := 0, uint64(1); i < benchRecords; n++ {
		u := gateway.Update{To: at(n), Complete: true}
		for len(u.Changes) < gateway.MaxChanges && i < benchRecords {
			u.Changes = append(u.Changes, gateway.Change{Token: tokenAt(i), Record: randomRecord(r)})
			i++
		}
		apply(b, s, u)
	}
	closeStore(b, s) // as after a restart: in tables
	s = open(b, dir, o)
	waitForIndex(b, s)
	return s
}

func BenchmarkLookup(b *testing.B) {
	s := benchStore(b)
	b.Run("hit", func(b *testing.B) { lookups(b, s.Lookup, 0, true) })
	b.Run("miss", func(b *testing.B) { lookups(b, s.Lookup, benchRecords, false) })
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		var seed atomic.Uint64
		b.RunParallel(func(pb *testing.PB) {
			r := rand.New(rand.NewPCG(seed.Add(1), 5))
			for pb.Next() {
				if _, ok, err := s.Lookup(tokenAt(r.IntN(benchRecords))); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	})
}

func lookups(b *testing.B, lookup func(gateway.Token) (gateway.Record, bool, error), from int, want bool) {
	b.ReportAllocs()
	r := rand.New(rand.NewPCG(3, 3))
	for b.Loop() {
		if _, ok, err := lookup(tokenAt(from + r.IntN(benchRecords))); ok != want || err != nil {
			b.Fatal(ok, err)
		}
	}
}

// loadRecords is the load of the benchmarks, a city's credentials, in windows of
// loadWindow shards as the follower fetches them.
var loadRecords = flag.Int("records", 5_000_000, "how many records a loaded store has in benchmarks")

const loadWindow = 64

// evenly returns a shard of the size it has where so many records are spread
// evenly over all.
func evenly(id gateway.ShardID, number uint64, records int) gateway.Shard {
	first, _ := id.Range()
	per := records / gateway.Shards
	shard := gateway.Shard{ID: id, At: at(number), Records: make([]gateway.Change, per)}
	r := rand.New(rand.NewPCG(uint64(id), number))
	for i := range shard.Records {
		shard.Records[i] = gateway.Change{
			Token:  first + gateway.Token(i)*(1<<52/gateway.Token(per)) + 1,
			Record: gateway.Record{Class: gateway.Class(r.IntN(4)), Anchor: gateway.Day(1 + r.IntN(14))},
		}
	}
	return shard
}

// loadAll loads every shard and returns the time the store took.
func loadAll(b *testing.B, s *Store, number uint64, records int) (took time.Duration) {
	b.Helper()
	for id := 0; id < gateway.Shards; id += loadWindow {
		var l gateway.Load
		for k := range loadWindow {
			l.Shards = append(l.Shards, evenly(gateway.ShardID(id+k), number, records))
		}
		if id+loadWindow == gateway.Shards {
			l.To = &l.Shards[0].At
		}
		began := time.Now()
		if err := s.Load(l); err != nil {
			b.Fatal(err)
		}
		took += time.Since(began)
	}
	return took
}

// BenchmarkLoad is a first load of all records, durable; then the same
// records again; then other records for the same tokens.
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		s := open(b, b.TempDir(), Options{})
		waitForIndex(b, s)
		for i, name := range []string{"first", "again", "other"} {
			number := uint64(i + 1)
			if i == 1 {
				number = 1
			}
			took := loadAll(b, s, number, *loadRecords)
			b.ReportMetric(float64(*loadRecords)/took.Seconds(), name+"-records/s")
		}
		closeStore(b, s)
	}
}

// loadedStore holds loadRecords.
func loadedStore(b *testing.B) *Store {
	b.Helper()
	s := open(b, b.TempDir(), Options{})
	waitForIndex(b, s)
	loadAll(b, s, 1, *loadRecords)
	return s
}

// entrySize is the number of changes in the benchmarks' entries.
const entrySize = 500

// entryOf is an entry that changes random records of loadedStore.
func entryOf(r *rand.Rand, n uint64) gateway.Update {
	per := *loadRecords / gateway.Shards
	u := gateway.Update{To: at(n), Changes: make([]gateway.Change, entrySize)}
	for i := range u.Changes {
		// Each in a shard of its own, so that no token comes twice.
		first, _ := gateway.ShardID(i*8 + r.IntN(8)).Range()
		u.Changes[i] = gateway.Change{Token: first + gateway.Token(r.IntN(per))*(1<<52/gateway.Token(per)) + 1, Record: randomRecord(r)}
	}
	return u
}

// entriesTogether is how many entries a store that catches up gets in a call.
const entriesTogether = 64

// entriesAfter are as many entries, from number n + 1 on.
func entriesAfter(r *rand.Rand, n uint64) []gateway.Update {
	updates := make([]gateway.Update, entriesTogether)
	for i := range updates {
		updates[i] = entryOf(r, n+uint64(i)+1)
	}
	return updates
}

// BenchmarkApply is following the feed: one entry in each call, durable.
func BenchmarkApply(b *testing.B) {
	s := loadedStore(b)
	b.ReportAllocs()
	r := rand.New(rand.NewPCG(4, 4))
	var took []time.Duration
	total := time.Duration(0)
	for n := uint64(2); b.Loop(); n++ {
		u := entryOf(r, n)
		began := time.Now()
		apply(b, s, u)
		took = append(took, time.Since(began))
		total += took[len(took)-1]
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(len(took))*entrySize/total.Seconds(), "changes/s")
}

// BenchmarkApplyAll is catching up: 64 entries in each call, durable.
func BenchmarkApplyAll(b *testing.B) {
	s := loadedStore(b)
	r := rand.New(rand.NewPCG(6, 6))
	var took time.Duration
	for n := uint64(1); b.Loop(); n += entriesTogether {
		updates := entriesAfter(r, n)
		began := time.Now()
		if err := s.ApplyAll(updates); err != nil {
			b.Fatal(err)
		}
		took += time.Since(began)
	}
	b.ReportMetric(float64(b.N*entriesTogether)*entrySize/took.Seconds(), "changes/s")
}

// BenchmarkSum is what a checkpoint costs a box with 25 million records: the sum of
// a shard of 6,100 as memory and disk have it. The centre asks for each shard once
// a cycle of 6 hours: 4,096 of them in 21,600 s.
func BenchmarkSum(b *testing.B) {
	const each, shards, cycle = 6100, 16, 6 * time.Hour
	s := open(b, b.TempDir(), Options{})
	waitForIndex(b, s)
	var l gateway.Load
	for id := range gateway.ShardID(shards) {
		l.Shards = append(l.Shards, evenly(id, 1, each*gateway.Shards))
	}
	if err := s.Load(l); err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		if _, err := s.Sum(gateway.ShardID(n % shards)); err != nil {
			b.Fatal(err)
		}
		n++
	}
	took := b.Elapsed() / time.Duration(n)
	b.ReportMetric(float64(took.Microseconds()), "µs/shard")
	b.ReportMetric(100*float64(took*gateway.Shards)/float64(cycle), "%-of-a-core")
}

// BenchmarkOpen is a start with all records, with nothing in the journal and
// with as much as there can be: the time until Open returns, of a
// lookup right then, and until the index is filled from then on.
func BenchmarkOpen(b *testing.B) {
	s := loadedStore(b)
	dir := s.home.path
	closeStore(b, s)
	b.Run("folded", func(b *testing.B) { startStore(b, dir) })
	s = open(b, dir, Options{})
	r := rand.New(rand.NewPCG(7, 7))
	for n := uint64(2); n < 2+uint64(s.foldEvery()*gateway.Shards/entrySize); n += entriesTogether {
		if err := s.ApplyAll(entriesAfter(r, n-1)); err != nil {
			b.Fatal(err)
		}
	}
	closeStore(b, s)
	b.Run("journal", func(b *testing.B) { startStore(b, dir) })
}

func startStore(b *testing.B, dir string) {
	var opened, early, filled time.Duration
	const lookups = 100
	for b.Loop() {
		began := time.Now()
		s := open(b, dir, Options{unfilled: true})
		opened += time.Since(began)
		looking := time.Now()
		for i := range lookups {
			if _, _, err := s.Lookup(tokenAt(i)); err != nil {
				b.Fatal(err)
			}
		}
		early += time.Since(looking)
		filling := time.Now()
		s.fillIndex()
		waitForIndex(b, s)
		filled += time.Since(filling)
		closeStore(b, s)
	}
	n := float64(b.N)
	b.ReportMetric(opened.Seconds()*1e3/n, "open-ms")
	b.ReportMetric(early.Seconds()*1e6/n/lookups, "early-lookup-µs")
	b.ReportMetric(filled.Seconds()*1e3/n, "index-filled-ms")
	paths, err := filepath.Glob(filepath.Join(dir, badgerDir, "*.sst"))
	tables := int64(0)
	for _, path := range paths {
		info, errStat := os.Stat(path)
		if err = errors.Join(err, errStat); err == nil {
			tables += info.Size()
		}
	}
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(tables)/1e6, "tables-MB")
}
