package cache

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"gateline/gateway"
)

// setValue changes what is stored behind the store's back; nil removes it.
func setValue(t testing.TB, s *Store, key, value []byte) {
	t.Helper()
	b := s.newBatch()
	defer b.txn.Discard()
	err := b.set(key, value)
	if value == nil {
		err = b.remove(key)
	}
	s.version++
	if err := errors.Join(err, b.txn.CommitAt(s.version, nil)); err != nil {
		t.Fatal(err)
	}
}

// setSealed stores a value as the store would.
func setSealed(t testing.TB, s *Store, key, value []byte) {
	t.Helper()
	setValue(t, s, key, s.seals.Load().seal(key, value))
}

func TestPackedChanges(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 2, 500} {
		changes := []gateway.Change{{Token: 0, Record: randomRecord(r)}, {Token: ^gateway.Token(0), Delete: true}}[:min(n, 2)]
		for range n - 2 {
			changes = append(changes, gateway.Change{Token: gateway.Token(r.Uint64()), Record: randomRecord(r)})
		}
		changes = lastOfEach(changes)
		got, err := unpackChanges(nil, packChanges(0, changes), 0, ^gateway.Token(0))
		if err != nil || !slices.Equal(got, changes) {
			t.Errorf("%d changes: %d come back, err %v", n, len(got), err)
		}
	}
}

// Whatever a list with a right sum holds, what is accepted packs to the same
// bytes, and a search finds just what the list has.
func FuzzUnpack(f *testing.F) {
	first, last := gateway.ShardID(7).Range()
	packed := packChanges(first, []gateway.Change{{Token: first, Record: gateway.Record{Anchor: 5}}, {Token: first + 9, Delete: true}, {Token: last}})
	f.Add(packed[:len(packed)-crcSize])
	f.Add([]byte{0x80, 0x00, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		b := appendSum(slices.Clone(body))
		changes, err := unpackChanges(nil, b, first, last)
		if err != nil {
			return
		}
		if again := packChanges(first, changes); !slices.Equal(again, b) {
			t.Fatalf("%x packs to %x", b, again)
		}
		for _, c := range changes {
			if c.Token < first || c.Token > last {
				t.Fatal("a token out of the range")
			}
			if c.Delete {
				continue
			}
			if r, known, err := findPacked(b, c.Token); err == nil && (!known || r != c.Record) {
				t.Fatal("a record is not found")
			}
		}
	})
}

// The journal stays short whatever the size of the updates, and a store that is
// reopened again and again goes on with what it had.
func TestJournalIsFolded(t *testing.T) {
	for _, size := range []int{10, gateway.MaxChanges} {
		dir := t.TempDir()
		s := open(t, dir, testOptions())
		m := model{}
		const tokens = 2_500 // in 5 shards, each of which is folded in turn
		longest, n := 0, uint64(1)
		for range 2 {
			for range 1 + 6_000/(size+stepWork) {
				u := gateway.Update{To: at(n), Complete: true}
				for i := range size {
					k := (int(n)*size + i) % tokens
					u.Changes = append(u.Changes, gateway.Change{
						Token:  gateway.Token(k%5)<<60 | gateway.Token(k),
						Record: gateway.Record{Anchor: 1, AnchorMinute: uint16(n % 1440)},
						Delete: (k+int(n))%3 == 0,
					})
				}
				apply(t, s, u)
				m.apply(u)
				n++
				longest = max(longest, int(s.step+1-s.firstStep)*(size+stepWork))
			}
			if got := versionsNow(s, spaceStep); got != int(s.step+1-s.firstStep) {
				t.Fatalf("%d steps on the disk, counted %d", got, s.step+1-s.firstStep)
			}
			closeStore(t, s)
			s = open(t, dir, testOptions())
			verifyEvery(t, s, m)
		}
		if most := 7*foldLeast + 2*(size+stepWork); longest > most {
			t.Errorf("updates of %d changes: the journal held %d, want at most %d", size, longest, most)
		}
		closeStore(t, s)
	}
}

// versionsNow counts the keys of a space as they are now.
func versionsNow(s *Store, space byte) (n int) {
	scan, err := s.snapshot()
	if err != nil {
		return -1
	}
	defer scan.close()
	for scan.it.Seek([]byte{space}); scan.it.ValidForPrefix([]byte{space}); scan.it.Next() {
		n++
	}
	return n
}

// verifyEvery compares the whole store with m, from the disk and, as soon as it
// is open, by lookups.
func verifyEvery(t *testing.T, s *Store, m model) {
	t.Helper()
	for token, want := range m {
		if r, known, err := s.Lookup(token); err != nil || !known || r != want {
			t.Fatalf("known %v, err %v, or a record differs", known, err)
		}
	}
	n := 0
	err := s.Each(func(token gateway.Token, r gateway.Record) error {
		n++
		if want, known := m[token]; !known || want != r {
			return errors.New("a record that is not in the model")
		}
		return nil
	})
	if err != nil || n != len(m) {
		t.Fatalf("%d records, want %d, err %v", n, len(m), err)
	}
}

// While the index is empty, lookups are answered from shards and journal, also
// amid updates and loads; filled at last, it is as any other.
func TestEarlyLookups(t *testing.T) {
	dir, o := t.TempDir(), testOptions()
	m, n := model{}, uint64(1)
	for range 3 {
		s := open(t, dir, o)
		for range 20 {
			verifyLookups(t, s, m)
			u := updateOf(n)
			apply(t, s, u)
			m.apply(u)
			n++
		}
		closeStore(t, s)
		o.unfilled = true
	}
	s := open(t, dir, o)
	verifyLookups(t, s, m)
	if _, ok := s.Records(); ok {
		t.Error("the index is called filled")
	}
	for id := range gateway.ShardID(100) {
		if _, err := s.Sum(id); err != nil {
			t.Fatal(err)
		}
	}
	verifyLookups(t, s, m)
	s.fillIndex()
	verify(t, s, m)
}

// What cannot be read of marks and journal stops a start.
func TestDamagedJournal(t *testing.T) {
	for name, damage := range map[string]func(*Store){
		"a mark is cut short":           func(s *Store) { setValue(t, s, markKey(5), make([]byte, 16)) },
		"a mark of no shard":            func(s *Store) { setValue(t, s, markKey(gateway.Shards), make([]byte, markSize)) },
		"a step of nonsense":            func(s *Store) { setValue(t, s, stepKey(s.step), []byte("nonsense")) },
		"a step is gone":                func(s *Store) { setValue(t, s, stepKey(s.step-1), nil) },
		"the last step is gone":         func(s *Store) { setValue(t, s, stepKey(s.step), nil) },
		"a key that is no step's":       func(s *Store) { setValue(t, s, append(stepKey(1), 0), []byte("x")) },
		"a step with a damaged record":  func(s *Store) { setSealed(t, s, stepKey(s.step), appendSum([]byte{0, 1, 0xff})) },
		"a step with two changes twice": func(s *Store) { setSealed(t, s, stepKey(s.step), appendSum([]byte{0, 2, 0, 0})) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, testOptions())
			for n := uint64(1); n < 4; n++ {
				apply(t, s, gateway.Update{To: at(n), Changes: []gateway.Change{{Token: 5}, {Token: ^gateway.Token(0)}}})
			}
			s.due = s.foldEvery() // so that a shard contains the last step but one
			apply(t, s, gateway.Update{To: at(4), Changes: []gateway.Change{{Token: 6}}})
			if name == "the last step is gone" {
				if _, err := s.Sum(0); err != nil { // which contains it
					t.Fatal(err)
				}
			}
			damage(s)
			closeStore(t, s)
			_, err := Open(dir, testOptions())
			wantErr(t, err, ErrDamaged)
			wantHelp(t, err, dir)
		})
	}
}

// A shard whose value cannot be read gets no verdict, its updates go on, and a
// load mends it.
func TestUnreadableShard(t *testing.T) {
	h := newHistory(8)
	for name, value := range map[string][]byte{
		"nonsense": []byte("nonsense"), "gone": nil, "of no records": packChanges(0, nil),
		"a deletion": packChanges(0, []gateway.Change{{Token: 1 << 52, Delete: true}}),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, testOptions())
			if err := s.Load(gateway.Load{Shards: h.shards(2, 1, 2)}); err != nil {
				t.Fatal(err)
			}
			if name == "of no records" || name == "a deletion" {
				setSealed(t, s, shardKey(1), value)
			} else {
				setValue(t, s, shardKey(1), value)
			}
			closeStore(t, s)
			s = open(t, dir, testOptions())
			defer closeStore(t, s)
			for !s.filled.has(gateway.Shards - 1) {
				runtime.Gosched() // until the filling has passed the shard
			}
			held := h.shards(2, 1)[0].Records[3].Token
			if _, known, err := s.Lookup(held); known || err == nil && name != "gone" && name != "of no records" {
				t.Errorf("known %v, err %v", known, err)
			}
			if sum, err := s.Sum(1); err != nil || sum.Hash != (gateway.Hash{}) {
				t.Errorf("the sum is some shard's, err %v", err)
			}
			for _, u := range h.updates[2:5] {
				s.due = s.foldEvery()
				apply(t, s, u)
			}
			if err := s.Load(gateway.Load{Shards: h.shards(5, 1)}); err != nil {
				t.Fatal(err)
			}
			waitForIndex(t, s)
			h.check(t, s)
		})
	}
}
