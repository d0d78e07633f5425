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
			x.fill([]gateway.Change{{Token: token, Record: record}})
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

// Lookups run beside writes and growing. A token that is never written is never
// known, whatever is written into the slots where its search ends, and one that
// is written has its own record and no other's.
func TestIndexLookupsBesideWrites(t *testing.T) {
	const tokens = 3_000
	// Neighbours in the table: even ones are written, odd ones never.
	token := func(i int) gateway.Token { return gateway.Token(i+1) << 40 }
	recordOf := func(i int) gateway.Record {
		return gateway.Record{Class: gateway.ClassRed, Anchor: gateway.Day(1 + i), HoldThrough: gateway.Day(1 + i)}
	}
	rounds := 60
	if raceOn {
		rounds = 10
	}
	for round := range rounds {
		x := newIndex(0)
		x.ready.Store(true)
		var readers sync.WaitGroup
		stop := make(chan struct{})
		for seed := range uint64(2) {
			readers.Go(func() {
				r := rand.New(rand.NewPCG(seed, uint64(round)))
				for {
					select {
					case <-stop:
						return
					default:
					}
					i := r.IntN(tokens)
					got, known := x.lookup(token(i))
					if known && (i%2 == 1 || got != recordOf(i)) {
						t.Error("a lookup returns another token's record")
						return
					}
				}
			})
		}
		for i := 0; i < tokens; i += 2 {
			x.apply([]gateway.Change{{Token: token(i), Record: recordOf(i)}})
			if i%6 == 0 {
				x.apply([]gateway.Change{{Token: token(i), Delete: true}})
			}
		}
		close(stop)
		readers.Wait()
		if t.Failed() {
			return
		}
	}
}

// Token 0 has no slot; it is filled, changed and deleted like any other.
func TestIndexTokenZero(t *testing.T) {
	x := newIndex(0)
	x.apply([]gateway.Change{{Token: 0, Record: gateway.Record{Anchor: 1}}, {Token: 0, Delete: true}})
	x.fill([]gateway.Change{{Record: gateway.Record{Anchor: 2}}})
	if _, known := x.lookup(0); known {
		t.Error("a deleted record came back")
	}
	x = newIndex(0)
	x.fill([]gateway.Change{{Record: gateway.Record{Anchor: 2}}})
	if r, known := x.lookup(0); !known || r.Anchor != 2 {
		t.Error("token 0 was not filled")
	}
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
	const records, shard = 1_000_000, 250
	var room []gateway.Change
	for b.Loop() {
		x := newIndex(records)
		for i := range gateway.Token(records / shard) {
			room = room[:0]
			for k := range gateway.Token(shard) {
				room = append(room, gateway.Change{Token: (i*shard+k)<<44 | k, Record: gateway.Record{Anchor: 1}})
			}
			x.fill(room)
		}
	}
	b.ReportMetric(float64(b.N)*records/b.Elapsed().Seconds(), "records/s")
}
