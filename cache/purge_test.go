package cache

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gateline/gateway"
)

// keyFiles are the keys in a store's directory.
func keyFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, keyFilePrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// contains reports whether a file below dir has the bytes.
func contains(t *testing.T, dir string, what []byte) (found bool) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		found = found || bytes.Contains(b, what)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// storeToPurge returns a store with records, schedule, keys and a setting, some of it in
// the journal, and its directory.
func storeToPurge(t *testing.T) (s *Store, dir string, m model) {
	t.Helper()
	dir, m = t.TempDir(), model{}
	s = open(t, dir, testOptions())
	for n := uint64(1); n < purgeEvery; n++ {
		u := updateOf(n)
		u.Schedule = scheduleOf(n)
		apply(t, s, u)
		m.apply(u)
	}
	if err := s.SaveLocal("switch", []byte("auto")); err != nil {
		t.Fatal(err)
	}
	return s, dir, m
}

var purgeUpdate = gateway.Update{To: at(purgeEvery), Purge: true, Schedule: scheduleOf(99)}

// wantPurged holds a store against what a purge leaves.
func wantPurged(t *testing.T, s *Store, dir string) {
	t.Helper()
	verify(t, s, model{})
	setting, err := s.LoadLocal("switch")
	if s.Position() != at(purgeEvery) || s.Schedule().Version != 99 || len(s.Keys()) == 0 || !s.Usable() || string(setting) != "auto" || err != nil {
		t.Errorf("position %v, schedule %d, setting %q, %v", s.Position(), s.Schedule().Version, setting, err)
	}
	if n := s.Loaded(); n != gateway.Shards {
		t.Errorf("%d shards loaded", n)
	}
	if e, n := s.Purged(); e != epoch || n != purgeEvery {
		t.Errorf("it says that it was purged at entry %d of epoch %d", n, e)
	}
	if files := keyFiles(t, dir); len(files) != 1 || filepath.Base(files[0]) != keyFilePrefix+"2" {
		t.Errorf("keys %v", files)
	}
}

func TestPurge(t *testing.T) {
	s, dir, _ := storeToPurge(t)
	before := t.TempDir()
	closeStore(t, s)
	if err := os.CopyFS(before, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, testOptions())
	apply(t, s, purgeUpdate)
	wantPurged(t, s, dir)
	for _, id := range []gateway.ShardID{0, 77} {
		if sum, err := s.Sum(id); err != nil || sum != sumOf(&gateway.Shard{ID: id}) {
			t.Errorf("the sum of shard %d is not that of an empty one, %v", id, err)
		}
	}
	closeStore(t, s)
	s = open(t, dir, testOptions())
	wantPurged(t, s, dir)
	m := model{}
	for n := uint64(purgeEvery + 1); n < 2*purgeEvery+3; n++ { // it goes on, and is purged again
		apply(t, s, updateOf(n))
		m.apply(updateOf(n))
	}
	verify(t, s, m)
	closeStore(t, s)
	s = open(t, dir, testOptions())
	verify(t, s, m)
	closeStore(t, s)

	// Whoever has kept the files of before cannot read them, with what there is now
	// or without.
	old, current := filepath.Join(before, keyFilePrefix+"1"), keyFiles(t, dir)[0]
	key, err := os.ReadFile(old)
	if err != nil {
		t.Fatal(err)
	}
	if contains(t, dir, bytes.TrimSpace(key)) {
		t.Error("the key of before is still there")
	}
	if key, err = os.ReadFile(current); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old, key, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Open(before, testOptions())
	wantErr(t, err, ErrDamaged)
	if err := os.Remove(old); err != nil {
		t.Fatal(err)
	}
	_, err = Open(before, testOptions())
	wantErr(t, err, ErrDamaged)
}

// What stands on the disk of records is sealed, in tables and logs.
func TestSealedAtRest(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, testOptions())
	first, _ := gateway.ShardID(9).Range()
	var u gateway.Update
	for i := range gateway.Token(200) {
		u.Changes = append(u.Changes, gateway.Change{Token: first + i, Record: gateway.Record{Class: gateway.ClassYellow, Anchor: 19140}})
	}
	u.To = at(1)
	apply(t, s, u)
	packed := packChanges(first, u.Changes)[10:100]
	journal := packChanges(0, u.Changes)[20:100]
	for range 2 {
		if contains(t, dir, packed) || contains(t, dir, journal) {
			t.Fatal("records stand on the disk for everybody to read")
		}
		if _, err := s.Sum(9); err != nil { // folds
			t.Fatal(err)
		}
	}
	closeStore(t, s)
	if contains(t, dir, packed) || contains(t, dir, journal) {
		t.Error("records stand in a table for everybody to read")
	}
}

// halfPurge is a purge up to its transaction. It returns the new key.
func halfPurge(t *testing.T, s *Store) *sealer {
	t.Helper()
	seals, err := s.home.makeKey(2)
	if err != nil {
		t.Fatal(err)
	}
	schedule, _, err := copySchedule(purgeUpdate.Schedule)
	if err != nil {
		t.Fatal(err)
	}
	s.purged = purgeState{generation: seals.generation, step: s.step, epoch: epoch, number: purgeEvery, emptied: true, unfinished: true}
	err = s.commit(func(b *batch) error {
		return errors.Join(b.setState(schedule, nil, false, &purgeUpdate.To), b.set([]byte(keyPurged), s.purged.encode()))
	})
	if err != nil {
		t.Fatal(err)
	}
	return seals
}

// A disk without space amid a purge stops nothing for good: all records are gone, and
// the rest is done before the next write for which there is space.
func TestPurgeWithoutSpace(t *testing.T) {
	s, dir, m := storeToPurge(t)
	seals := halfPurge(t, s)
	if err := s.home.destroyKeys(seals.generation); err != nil {
		t.Fatal(err)
	}
	s.minFree = 1 << 62
	s.saved(purgeUpdate.To)
	s.forget(seals)
	if err := s.tryFinishPurge(); err != nil {
		t.Fatal(err)
	}
	for token := range m {
		if _, known, err := s.Lookup(token); known || err != nil {
			t.Fatalf("a record is known (%v) or unreadable: %v", known, err)
		}
	}
	if err := s.Each(func(gateway.Token, gateway.Record) error { return errors.New("a record") }); err != nil {
		t.Errorf("reading all: %v", err)
	}
	if _, n := s.Purged(); n != 0 {
		t.Error("the purge is called finished")
	}
	after := updateOf(purgeEvery + 1)
	after.Schedule = scheduleOf(100)
	wantErr(t, s.Apply(after), ErrDiskFull)
	if sum, err := s.Sum(3); err != nil || sum.Hash == (gateway.Hash{}) {
		t.Errorf("the sum of what is in memory: %v", err)
	}
	if err := s.Failed(); err != nil {
		t.Errorf("it does not go on: %v", err)
	}
	s.minFree = 1 << 20
	apply(t, s, after)
	if _, n := s.Purged(); n != purgeEvery {
		t.Errorf("purged at %d", n)
	}
	want := model{}
	want.apply(after)
	for range 2 {
		verify(t, s, want)
		closeStore(t, s)
		s = open(t, dir, testOptions())
	}
	closeStore(t, s)
}

// A purge that was cut off is as if it had not been, or is finished by the start.
func TestPurgeCutOff(t *testing.T) {
	for name, cut := range map[string]func(*testing.T, *Store){
		"after the commit": func(t *testing.T, s *Store) { halfPurge(t, s) },
		"after the key": func(t *testing.T, s *Store) {
			halfPurge(t, s)
			if err := s.home.destroyKeys(2); err != nil {
				t.Fatal(err)
			}
		},
		"amid the shards": func(t *testing.T, s *Store) {
			halfPurge(t, s)
			err := s.commit(func(b *batch) error {
				s.markPurged()
				return errors.Join(s.eraseShard(b, 0), s.eraseShard(b, 1))
			})
			if err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, dir, _ := storeToPurge(t)
			cut(t, s)
			closeStore(t, s)
			for range 2 {
				s = open(t, dir, testOptions())
				wantPurged(t, s, dir)
				closeStore(t, s)
			}
		})
	}
	t.Run("before the commit", func(t *testing.T) {
		s, dir, m := storeToPurge(t)
		if _, err := s.home.makeKey(2); err != nil {
			t.Fatal(err)
		}
		closeStore(t, s)
		s = open(t, dir, testOptions())
		verify(t, s, m)
		if files := keyFiles(t, dir); len(files) != 1 || filepath.Base(files[0]) != keyFilePrefix+"1" {
			t.Errorf("keys %v", files)
		}
		apply(t, s, purgeUpdate)
		wantPurged(t, s, dir)
	})
}

// A shard that was loaded from a later place than the purge has to be loaded again.
func TestPurgeBehindShards(t *testing.T) {
	h := newHistory(4)
	dir := t.TempDir()
	s := open(t, dir, testOptions())
	to := at(1)
	if err := s.Load(gateway.Load{Shards: h.shards(1, allIDs()...), To: &to, Keys: termsAt(1)}); err != nil {
		t.Fatal(err)
	}
	if err := s.Load(gateway.Load{Shards: h.shards(4, bigShard)}); err != nil {
		t.Fatal(err)
	}
	apply(t, s, gateway.Update{To: at(2), Purge: true})
	for range 2 {
		if n, marks := s.Loaded(), s.Marks(); n != gateway.Shards-1 || marks[bigShard].Loaded() {
			t.Errorf("%d shards loaded", n)
		}
		first, _ := bigShard.Range()
		if _, _, err := s.Lookup(first); !errors.Is(err, ErrNotLoaded) {
			t.Errorf("%v", err)
		}
		closeStore(t, s)
		s = open(t, dir, testOptions())
	}
	if err := s.Load(gateway.Load{Shards: h.shards(4, bigShard)}); err != nil {
		t.Fatal(err)
	}
	if n := s.Loaded(); n != gateway.Shards {
		t.Errorf("%d shards loaded", n)
	}
}

func TestPurgeRefuses(t *testing.T) {
	s, _, m := storeToPurge(t)
	wantErr(t, s.Apply(gateway.Update{To: at(purgeEvery), Purge: true, Changes: []gateway.Change{{Token: 1}}}), ErrUpdate)
	verify(t, s, m)
}

// A scan that is under way shows nothing more once the store is purged.
func TestPurgeDuringScan(t *testing.T) {
	s, _, _ := storeToPurge(t)
	n := 0
	err := s.Each(func(gateway.Token, gateway.Record) error {
		if n++; n == 3 {
			apply(t, s, purgeUpdate)
		}
		return nil
	})
	if !errors.Is(err, ErrPurged) || n != 3 {
		t.Errorf("%d records shown, %v", n, err)
	}
}

// wantErased holds a store against what Erase leaves: nothing but its place in the feed.
func wantErased(t *testing.T, s *Store, dir string, key string, want gateway.Erasure) {
	t.Helper()
	if s.Position() != at(purgeEvery-1) || s.Schedule().Version != purgeEvery-1 || len(s.Keys()) == 0 || !s.Usable() {
		t.Errorf("position %v, schedule %d", s.Position(), s.Schedule().Version)
	}
	if n, _ := s.Records(); n != 0 || s.Loaded() != 0 {
		t.Errorf("%d records, %d shards loaded", n, s.Loaded())
	}
	if _, _, err := s.Lookup(someToken()); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("a lookup: %v", err)
	}
	if got := s.Erased(); got.Ordered != want.Ordered || got.Epoch != want.Epoch || got.Number != want.Number || !got.Sunset.Equal(want.Sunset) {
		t.Errorf("erased %+v, want %+v", got, want)
	}
	if files := keyFiles(t, dir); len(files) != 1 || filepath.Base(files[0]) != key {
		t.Errorf("keys %v", files)
	}
}

func someToken() gateway.Token {
	first, _ := gateway.ShardID(9).Range()
	return first
}

// A store that erases by itself keeps its place in the feed and takes no change until
// shards are loaded: also over a restart, a purge of the centre, and a crash.
func TestErase(t *testing.T) {
	s, dir, _ := storeToPurge(t)
	sunset := time.UnixMicro(1_656_000_000_000_000)
	if err := s.Erase(gateway.Erasure{Sunset: sunset}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		wantErased(t, s, dir, keyFilePrefix+"2", gateway.Erasure{Sunset: sunset})
		closeStore(t, s)
		s = open(t, dir, testOptions())
	}
	apply(t, s, gateway.Update{To: at(purgeEvery), Changes: updateOf(purgeEvery - 1).Changes}) // what still comes is passed over
	apply(t, s, gateway.Update{To: at(purgeEvery + 1), Purge: true, Ordered: 7})
	if n, _ := s.Records(); n != 0 || s.Loaded() != 0 {
		t.Errorf("%d records, %d shards loaded", n, s.Loaded())
	}
	if e := s.Erased(); e.Ordered != 7 || e.Number != purgeEvery+1 || !e.Sunset.Equal(sunset) {
		t.Errorf("erased %+v", e)
	}
	if err := errors.Join(s.Wake(), s.Wake()); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	s = open(t, dir, testOptions())
	if e := s.Erased(); e.Ordered != 7 || !e.Sunset.IsZero() {
		t.Errorf("awake it says %+v", e)
	}
	// All is loaded anew, also from another epoch, the first shards with a place in the feed.
	to := gateway.Position{Epoch: epoch + 1, Number: 3, Watermark: 5, Hash: gateway.Hash{1}}
	for id := range gateway.ShardID(gateway.Shards) {
		l := gateway.Load{Shards: []gateway.Shard{{ID: id, At: to}}}
		if id == 0 {
			l.To = &to
		}
		if id%512 != 0 && id != 9 {
			continue
		}
		if id == 9 {
			l.Shards[0].Records = []gateway.Change{{Token: someToken(), Record: gateway.Record{Anchor: 3}}}
		}
		if err := s.Load(l); err != nil {
			t.Fatal(err)
		}
	}
	if _, known, err := s.Lookup(someToken()); !known || err != nil || s.Position() != to {
		t.Errorf("known %v, %v, at %v", known, err, s.Position())
	}
}

// An order that the box did not hear of in the feed is kept as the one it has carried
// out, and a crash amid it is made good.
func TestEraseCutOff(t *testing.T) {
	order := gateway.Erasure{Ordered: 9, Epoch: epoch + 5, Number: 77}
	s, dir, _ := storeToPurge(t)
	seals, err := s.home.makeKey(2)
	if err != nil {
		t.Fatal(err)
	}
	s.purged = purgeState{generation: seals.generation, step: s.step, epoch: order.Epoch, number: order.Number, ordered: order.Ordered, unfinished: true}
	if err := s.commit(func(b *batch) error { return b.set([]byte(keyPurged), s.purged.encode()) }); err != nil {
		t.Fatal(err)
	}
	if e := s.Erased(); e.Ordered != 0 {
		t.Errorf("a receipt before it is done: %+v", e)
	}
	closeStore(t, s)
	for range 2 {
		s = open(t, dir, testOptions())
		wantErased(t, s, dir, keyFilePrefix+"2", order)
		closeStore(t, s)
	}
}
