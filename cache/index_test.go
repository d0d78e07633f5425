package cache

import (
	"math/rand/v2"
	"sync"
	"testing"

	"gateline/gateway"
)

func TestPackKeepsEveryField(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	for range 10_000 {
		want := randomRecord(r)
		if got := unpack(pack(want)); got != want || pack(want) == 0 {
			t.Fatalf("class %d anchor %v hold %v minute %d changes", want.Class, want.Anchor, want.HoldThrough, want.AnchorMinute)
		}
	}
	last := gateway.Record{Class: 15, Flags: 255, Anchor: 32767, HoldThrough: 32767, AnchorMinute: 1439}
	if unpack(pack(last)) != last {
		t.Error("the largest record changes")
	}
}

// A model of an index under random changes, filling included: what was changed
// or deleted since the filling began must not come back.
func TestIndexAgainstModel(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 4))
		// A few tokens close together collide and wrap around.
		var tokens []gateway.Token
		for i := range gateway.Token(300) {
			tokens = append(tokens, i, ^i, gateway.Token(r.Uint64()))
		}
		stored, want := model{}, model{}
		for _, token := range tokens {
			if r.IntN(2) == 0 {
				stored[token] = randomRecord(r)
				want[token] = stored[token]
			}
		}
		x := newIndex(0)
		change := func() {
			token := tokens[r.IntN(len(tokens))]
			c := gateway.Change{Token: token, Delete: r.IntN(2) == 0}
			if c.Delete {
				delete(want, token)
			} else {
				c.Record = randomRecord(r)
				want[token] = c.Record
			}
			x.apply([]gateway.Change{c})
		}
		for token, record := range stored {
			change()
			x.fill(token, record)
		}
		x.ready.Store(true)
		for range 5_000 {
			change()
		}
		if x.records() != len(want) {
			t.Fatalf("seed %d: %d records, want %d", seed, x.records(), len(want))
		}
		for _, token := range tokens {
			got, ok := x.lookup(token)
			if record, known := want[token]; ok != known || got != record {
				t.Fatalf("seed %d: known %v, want %v, or the record differs", seed, ok, known)
			}
		}
	}
}

// The table stays bounded however many records come and go.
func TestIndexDropsTheDeleted(t *testing.T) {
	x := newIndex(0)
	x.ready.Store(true)
	r := rand.New(rand.NewPCG(5, 5))
	for range 200_000 {
		token := gateway.Token(r.Uint64())
		x.apply([]gateway.Change{{Token: token}, {Token: token, Delete: true}})
	}
	if n := len(*x.slots.Load()); n > 4*indexLeast || x.records() != 0 {
		t.Errorf("%d slots for %d records", n, x.records())
	}
}

// Lookups run beside writes and growing; each sees a whole record.
func TestIndexLookupsBesideWrites(t *testing.T) {
	x := newIndex(0)
	x.ready.Store(true)
	const tokens = 5_000
	recordOf := func(i int) gateway.Record {
		return gateway.Record{Anchor: gateway.Day(1 + i%30_000), HoldThrough: gateway.Day(1 + i%30_000)}
	}
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for seed := range uint64(2) {
		readers.Go(func() {
			r := rand.New(rand.NewPCG(seed, 6))
			for {
				select {
				case <-stop:
					return
				default:
				}
				if got, ok := x.lookup(tokenAt(r.IntN(tokens))); ok && got.Anchor != got.HoldThrough {
					t.Error("half a record")
					return
				}
			}
		})
	}
	for round := range 10 {
		for i := range tokens {
			x.apply([]gateway.Change{{Token: tokenAt(i), Record: recordOf(i * (round + 1))}})
			if i%3 == round%3 {
				x.apply([]gateway.Change{{Token: tokenAt(i), Delete: true}})
			}
		}
	}
	close(stop)
	readers.Wait()
}

func TestLookupDoesNotAllocate(t *testing.T) {
	s := open(t, t.TempDir(), testOptions())
	defer closeStore(t, s)
	apply(t, s, updateOf(1))
	waitForIndex(t, s)
	if n := testing.AllocsPerRun(100, func() { _, _, _ = s.Lookup(tokenAt(1)) }); n != 0 {
		t.Errorf("Lookup allocates %v times", n)
	}
}

// BenchmarkFill is filling an index of a million records in their order, as at
// a start.
func BenchmarkFill(b *testing.B) {
	const records = 1_000_000
	for b.Loop() {
		x := newIndex(records)
		for i := range gateway.Token(records) {
			x.fill(i<<44|i, gateway.Record{Anchor: 1})
		}
	}
	b.ReportMetric(float64(b.N)*records/b.Elapsed().Seconds(), "records/s")
}
