package cache

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"

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
	b.Run("disk/hit", func(b *testing.B) { lookups(b, s.lookupStored, 0, true) })
	b.Run("disk/miss", func(b *testing.B) { lookups(b, s.lookupStored, benchRecords, false) })
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

// BenchmarkApply500 is one durable update of 500 changes.
func BenchmarkApply500(b *testing.B) {
	s := benchStore(b)
	b.ReportAllocs()
	r := rand.New(rand.NewPCG(4, 4))
	u := gateway.Update{To: s.Position(), Changes: make([]gateway.Change, 500)}
	for b.Loop() {
		from := r.IntN(benchRecords)
		for i := range u.Changes {
			u.Changes[i] = gateway.Change{Token: tokenAt((from + i) % benchRecords), Record: randomRecord(r)}
		}
		u.To.Number++
		apply(b, s, u)
	}
}

func BenchmarkOpen(b *testing.B) {
	s := benchStore(b)
	closeStore(b, s)
	dir := s.home.path
	for b.Loop() {
		closeStore(b, open(b, dir, Options{}))
	}
}
