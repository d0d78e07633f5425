package cache

import (
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkBesideCatchUp is a lookup for whoever waits for a rider while the store takes
// entries as fast as it can, compactions included: from the byte that a gate sends until
// its token has been looked up. Most of it is waiting for a processor; -cpu 2,16 says
// of how many Go's scheduler knows.
func BenchmarkBesideCatchUp(b *testing.B) {
	s := loadedStore(b)
	in, gate, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	ending := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { catchUp(b, s, ending) })
	sent := make(chan time.Time, 1)
	running.Go(func() {
		defer func() { _ = gate.Close() }()
		for {
			select {
			case <-ending:
				return
			case <-time.After(2 * time.Millisecond):
			}
			select {
			case sent <- time.Now():
			case <-ending:
				return
			}
			if _, err := gate.Write([]byte{1}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	took := make([]time.Duration, 0, 1<<16)
	for b.Loop() {
		if _, err := in.Read(make([]byte, 1)); err != nil {
			b.Fatal(err)
		}
		_, _, err := s.Lookup(tokenAt(len(took)))
		took = append(took, time.Since(<-sent))
		if err != nil {
			b.Fatal(err)
		}
	}
	close(ending)
	running.Wait()
	if err := in.Close(); err != nil {
		b.Error(err)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(took[len(took)*999/1000].Microseconds()), "p99.9-µs")
	b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-µs")
}

// catchUp applies entries until ending is closed.
func catchUp(b *testing.B, s *Store, ending <-chan struct{}) {
	r, n := rand.New(rand.NewPCG(5, 8)), s.Position().Number
	for ; ; n += entriesTogether {
		select {
		case <-ending:
			return
		default:
		}
		if err := s.ApplyAll(entriesAfter(r, n)); err != nil {
			b.Error(err)
			return
		}
	}
}
