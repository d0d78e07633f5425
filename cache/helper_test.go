package cache

import (
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gateline/gateway"
)

// childMode names the environment variable with which a test starts its own
// program again as another process.
const childMode = "GATELINE_CACHE_CHILD"

func TestMain(m *testing.M) {
	if mode := os.Getenv(childMode); mode != "" {
		os.Exit(child(mode, os.Getenv(childDir)))
	}
	goleak.VerifyTestMain(m)
}

// epoch is the feed's epoch in these tests.
const epoch = 7

func at(number uint64) gateway.Position {
	p := gateway.Position{Epoch: epoch, Number: number, Watermark: int64(number) * 1e6}
	binary.BigEndian.PutUint64(p.Hash[12:], number*0x9e3779b97f4a7c15)
	return p
}

// rotateEvery is how often the feed of updateOf changes its key.
const rotateEvery = 37

// termsAt are the terms of the feed's keys at update n, which has changed them
// where n is 1 more than a multiple of rotateEvery.
func termsAt(n uint64) (terms []gateway.KeyTerm) {
	for from := uint64(1); from <= n; from += rotateEvery {
		terms = append(terms, gateway.KeyTerm{Key: gateway.FeedKey{byte(from), 1}, From: from})
	}
	return terms[max(0, len(terms)-gateway.MaxKeyTerms):]
}

// testOptions need little of the disk and of memory.
func testOptions() Options {
	return Options{MemTableSize: MinMemTableSize, MinFree: 1 << 20, loadOps: 400}
}

// open opens a store that is closed at the end of the test at the latest.
func open(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func apply(t testing.TB, s *Store, u gateway.Update) {
	t.Helper()
	if err := s.Apply(u); err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want one that wraps %v", err, want)
	}
}

// clock is a clock that a test moves.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

// model is the store as a map.
type model map[gateway.Token]gateway.Record

func (m model) apply(u gateway.Update) {
	if u.Purge {
		clear(m)
	}
	for _, c := range u.Changes {
		if c.Delete {
			delete(m, c.Token)
		} else {
			m[c.Token] = c.Record
		}
	}
}

// universe is the number of tokens that updateOf writes about.
const universe = 6_000

// tokenAt spreads the numbers 0, 1, 2 … over the whole range, both ends
// included.
func tokenAt(i int) gateway.Token {
	switch i {
	case 0:
		return 0
	case 1:
		return gateway.Token(1<<64 - 1)
	case 2:
		return 0x2162616467657221 // "!badger!", which Badger keeps for itself
	}
	return gateway.Token(uint64(i) * 0x9e3779b97f4a7c15)
}

func randomRecord(r *rand.Rand) gateway.Record {
	rec := gateway.Record{Class: gateway.Class(r.IntN(4)), Flags: gateway.Flags(r.IntN(2))}
	if r.IntN(4) > 0 {
		rec.Anchor = gateway.Day(1 + r.IntN(30000))
		rec.AnchorMinute = uint16(r.IntN(24 * 60))
	}
	if r.IntN(8) == 0 {
		rec.HoldThrough = gateway.Day(r.IntN(30000))
	}
	return rec
}

const purgeEvery = 29

// updateOf returns update number n, whose content depends on n alone: mostly
// small, now and then of the largest size, one in three changes a deletion; each
// purgeEvery-th purges instead.
func updateOf(n uint64) gateway.Update {
	r := rand.New(rand.NewPCG(n, 42))
	size := 1 + r.IntN(400)
	if r.IntN(20) == 0 {
		size = gateway.MaxChanges
	}
	u := gateway.Update{To: at(n), Complete: n == 3}
	if r.IntN(50) == 0 {
		u.Schedule = scheduleOf(n)
	}
	if n%rotateEvery == 1 {
		u.Keys = termsAt(n)
	}
	if n%purgeEvery == 0 {
		u.Purge = true
		return u
	}
	for _, i := range r.Perm(universe)[:size] {
		c := gateway.Change{Token: tokenAt(i), Delete: r.IntN(3) == 0}
		if !c.Delete {
			c.Record = randomRecord(r)
		}
		u.Changes = append(u.Changes, c)
	}
	return u
}

func scheduleOf(version uint64) *gateway.Schedule {
	return &gateway.Schedule{
		Version:  version,
		Policies: []gateway.Policy{gateway.DefaultPolicy(time.Date(2022, 6, 1, 0, 0, 0, 0, gateway.Zone))},
	}
}

// waitForIndex returns once lookups are answered from memory.
func waitForIndex(t testing.TB, s *Store) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !s.index.ready.Load(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("the index is not filled within 30 s")
		}
	}
}

// verify compares every record of s, by Each, which reads the disk, and by
// Lookup, with m.
func verify(t testing.TB, s *Store, m model) {
	t.Helper()
	got := model{}
	last, first := gateway.Token(0), true
	err := s.Each(func(token gateway.Token, r gateway.Record) error {
		if !first && token <= last {
			t.Fatal("Each is not in the order of the tokens")
		}
		last, first = token, false
		got[token] = r
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(got, m) {
		t.Fatalf("the store holds %d records and differs from the model, which has %d", len(got), len(m))
	}
	waitForIndex(t, s)
	if n, ok := s.Records(); n != len(m) || !ok {
		t.Fatalf("the index counts %d records, the model has %d", n, len(m))
	}
	verifyLookups(t, s, m)
}

// verifyLookups compares every Lookup with m.
func verifyLookups(t testing.TB, s *Store, m model) {
	t.Helper()
	marks := s.Marks()
	for i := range universe {
		r, ok, err := s.Lookup(tokenAt(i))
		want, known := m[tokenAt(i)]
		if !marks[gateway.ShardOf(tokenAt(i))].Loaded() {
			if !errors.Is(err, ErrNotLoaded) || ok {
				t.Fatalf("Lookup of token %d, whose shard is not loaded: known %v, err %v", i, ok, err)
			}
			continue
		}
		if err != nil || ok != known || r != want {
			t.Fatalf("Lookup of token %d: known %v, err %v; want known %v or the record differs", i, ok, err, known)
		}
	}
}
