package cache

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"gateline/gateway"
)

// Whatever a follower does, each loaded shard holds exactly what its mark and
// the position say, also after a restart.
func TestShardsAgainstHistory(t *testing.T) {
	h := newHistory(8)
	dir := t.TempDir()
	s := open(t, dir, testOptions())
	r := rand.New(rand.NewPCG(21, 22))
	steps := kills(80, 40)
	for i := range steps {
		if _, err := h.run(s, r); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if i%10 == 9 {
			h.check(t, s)
		}
		if i%20 == 19 {
			position, marks := s.Position(), s.Marks()
			closeStore(t, s)
			s = open(t, dir, testOptions())
			if s.Position() != position || !slices.Equal(s.Marks(), marks) {
				t.Fatalf("step %d: position or marks are others after a restart", i)
			}
			h.check(t, s)
		}
	}
	if s.Loaded() != gateway.Shards {
		t.Fatalf("%d shards are loaded after %d steps", s.Loaded(), steps)
	}
}

// A store that begins with entry 1 has every shard; one that begins later has
// none.
func TestFirstUpdate(t *testing.T) {
	for _, first := range []gateway.Update{{To: at(1)}, updateOf(1)} {
		dir := t.TempDir()
		s := open(t, dir, testOptions())
		if s.Loaded() != 0 {
			t.Fatal("a new store has shards")
		}
		apply(t, s, first)
		for range 2 {
			if m := s.Marks(); s.Loaded() != gateway.Shards || m[5] != (gateway.ShardMark{Epoch: epoch}) {
				t.Fatalf("%d shards, mark %+v", s.Loaded(), m[5])
			}
			closeStore(t, s)
			s = open(t, dir, testOptions())
		}
	}
	s := open(t, t.TempDir(), testOptions())
	apply(t, s, updateOf(2))
	if n, _ := s.Records(); n != 0 || s.Loaded() != 0 || s.Position() != at(2) {
		t.Errorf("%d records and %d shards in a store that began at entry 2", n, s.Loaded())
	}
}

func TestLookupOfAShardThatIsNotLoaded(t *testing.T) {
	s := open(t, t.TempDir(), testOptions())
	h := newHistory(2)
	if err := s.Load(gateway.Load{Shards: h.shards(2, 1)}); err != nil {
		t.Fatal(err)
	}
	loaded, _ := gateway.ShardID(1).Range()
	other, _ := gateway.ShardID(2).Range()
	waitForIndex(t, s)
	for _, ready := range []bool{true, false} { // from memory, from the disk
		s.index.ready.Store(ready)
		_, _, err := s.Lookup(loaded)
		if err != nil {
			t.Error(err)
		}
		_, known, err := s.Lookup(other)
		if wantErr(t, err, ErrNotLoaded); known {
			t.Error("known")
		}
	}
	s.index.ready.Store(true)
	for _, token := range []gateway.Token{loaded, other} {
		if n := testing.AllocsPerRun(100, func() { _, _, _ = s.Lookup(token) }); n != 0 {
			t.Errorf("Lookup allocates %v times", n)
		}
	}
}

func TestLoadValidation(t *testing.T) {
	h := newHistory(10)
	of := func(n uint64, ids ...gateway.ShardID) gateway.Load { return gateway.Load{Shards: h.shards(n, ids...)} }
	to := func(l gateway.Load, p gateway.Position) gateway.Load { l.To = &p; return l }
	foreign := func(n uint64) gateway.Position { p := at(n); p.Epoch++; return p }
	abroad := func(l gateway.Load) gateway.Load {
		for i := range l.Shards {
			l.Shards[i].At.Epoch++
		}
		return l
	}
	edit := func(f func(*gateway.Shard)) gateway.Load {
		l := of(5, 1)
		f(&l.Shards[0])
		return l
	}
	tests := []struct {
		name string
		load gateway.Load
		ok   bool
	}{
		{"nothing", gateway.Load{}, true},
		{"newer than the position", of(8, 1), true},
		{"as old as the position", of(5, 1), true},
		{"older: entries would be missing", of(4, 1), false},
		{"older, with the position", to(of(4, 1), at(4)), true},
		{"older than the position it brings", to(of(3, 1), at(4)), false},
		{"the position alone, back", to(gateway.Load{}, at(2)), true},
		{"the position alone, on", to(gateway.Load{}, at(6)), false},
		{"everything, on", to(of(8, allIDs()...), at(8)), true},
		{"all but one, on", to(of(8, allIDs()[1:]...), at(8)), false},
		{"another epoch", abroad(of(2, 1)), true},
		{"another epoch's position", to(abroad(of(2, 1)), foreign(2)), false},
		{"another epoch, everything", to(abroad(of(2, allIDs()...)), foreign(2)), true},
		{"another epoch, everything, too far", to(abroad(of(2, allIDs()...)), foreign(3)), false},
		{"no epoch", to(gateway.Load{}, gateway.Position{Number: 5}), false},
		{"shards out of order", gateway.Load{Shards: []gateway.Shard{{ID: 2, At: at(5)}, {ID: 1, At: at(5)}}}, false},
		{"a shard twice", gateway.Load{Shards: []gateway.Shard{{ID: 2, At: at(5)}, {ID: 2, At: at(5)}}}, false},
		{"no such shard", edit(func(s *gateway.Shard) { *s = gateway.Shard{ID: gateway.Shards, At: at(5)} }), false},
		{"a shard of no epoch", edit(func(s *gateway.Shard) { s.At.Epoch = 0 }), false},
		{"records before entry 1", edit(func(s *gateway.Shard) { s.At.Number = 0 }), false},
		{"another shard's record", edit(func(s *gateway.Shard) { s.Records[0].Token = 1 }), false},
		{"records out of order", edit(func(s *gateway.Shard) { slices.Reverse(s.Records) }), false},
		{"a record twice", edit(func(s *gateway.Shard) { s.Records[1] = s.Records[0] }), false},
		{"a deletion", edit(func(s *gateway.Shard) { s.Records[0].Delete = true }), false},
		{"an invalid record", edit(func(s *gateway.Shard) { s.Records[0].Record.Class = 9 }), false},
		{"too many records", edit(func(s *gateway.Shard) { s.Records = make([]gateway.Change, gateway.MaxShardRecords+1) }), false},
		{"an empty schedule", gateway.Load{Schedule: &gateway.Schedule{}}, false},
		{"no keys", gateway.Load{Keys: []gateway.KeyTerm{}}, false},
	}
	o := testOptions()
	dir := t.TempDir()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, dir, o)
			defer closeStore(t, s)
			var start gateway.Load
			for _, id := range allIDs() {
				start.Shards = append(start.Shards, gateway.Shard{ID: id, At: at(5)})
			}
			start.To = &start.Shards[0].At
			if (s.Position() == gateway.Position{}) {
				if err := s.Load(start); err != nil {
					t.Fatal(err)
				}
			}
			err := s.validateLoad(&tt.load)
			if tt.load.Schedule != nil {
				err = s.Load(tt.load)
			}
			if tt.ok != (err == nil) || err != nil && !errors.Is(err, ErrUpdate) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// Without a position, shards of another epoch are not taken for the new one's.
func TestFirstPositionWantsOneEpoch(t *testing.T) {
	h := newHistory(3)
	s := open(t, t.TempDir(), testOptions())
	foreign := h.shards(3, 2)
	foreign[0].At.Epoch++
	if err := errors.Join(s.Load(gateway.Load{Shards: h.shards(3, 1)}), s.Load(gateway.Load{Shards: foreign})); err != nil {
		t.Fatal(err)
	}
	to := at(3)
	wantErr(t, s.Load(gateway.Load{To: &to}), ErrUpdate)
	if err := s.Load(gateway.Load{Shards: h.shards(3, 2), To: &to}); err != nil {
		t.Fatal(err)
	}
}

// Schedule and keys come with the shards; changes reach only shards of the
// entry's own epoch.
func TestLoadOfANewEpoch(t *testing.T) {
	h := newHistory(6)
	dir := t.TempDir()
	s := open(t, dir, testOptions())
	for _, u := range h.updates[:4] {
		apply(t, s, u)
	}
	reload := h.shards(2, allIDs()...)
	for i := range reload {
		reload[i].At.Epoch++
	}
	if err := s.Load(gateway.Load{Shards: reload[:100]}); err != nil {
		t.Fatal(err)
	}
	apply(t, s, h.updates[4]) // the old epoch goes on meanwhile
	check := func(id gateway.ShardID, n uint64) {
		t.Helper()
		want := h.shards(n, id)[0]
		if sum, err := s.Sum(id); err != nil || sum != sumOf(&want) {
			t.Fatalf("shard %d is not as after entry %d, err %v", id, n, err)
		}
	}
	check(1, 2)
	check(2047, 5)
	to := reload[0].At
	l := gateway.Load{Shards: reload[100:], To: &to, Schedule: scheduleOf(9), Keys: termsAt(50)}
	if err := s.Load(l); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if s.Position() != to || s.Schedule().Version != 9 || !slices.Equal(s.Keys(), termsAt(50)) || s.Marks()[9] != (gateway.ShardMark{Epoch: epoch + 1, Number: 2}) {
			t.Fatal("position, schedule, keys or marks are not the load's")
		}
		check(1, 2)
		check(2047, 2)
		closeStore(t, s)
		s = open(t, dir, testOptions())
		waitForIndex(t, s)
	}
}

// A sum that matches nothing says what is wrong with disk or memory, and Load
// mends it, also where the store is back at an older position then.
func TestSumAndRepair(t *testing.T) {
	h := newHistory(8)
	const id = gateway.ShardID(65)
	first, last := id.Range()
	held := h.shards(8, id)[0].Records
	extra := first + 12345
	record := gateway.Record{Class: gateway.ClassRed}
	for name, damage := range map[string]func(*Store){
		"a record is gone from the disk": func(s *Store) {
			setSealed(t, s, shardKey(id), packChanges(first, held[1:]))
		},
		"a record on the disk is another": func(s *Store) {
			other := slices.Clone(held)
			other[3].Record.Class ^= 1
			setSealed(t, s, shardKey(id), packChanges(first, other))
		},
		"the shard is gone from the disk":   func(s *Store) { setValue(t, s, shardKey(id), nil) },
		"the disk has something else there": func(s *Store) { setValue(t, s, shardKey(id), []byte("x")) },
		"a record is gone from memory":      func(s *Store) { s.index.put(held[0].Token, 0) },
		"a record in memory is another":     func(s *Store) { s.index.put(held[0].Token, pack(record)+1) },
		"a record is in memory only":        func(s *Store) { s.index.put(extra, pack(record)) },
		"the last token is in memory only ": func(s *Store) { s.index.put(last-1, pack(record)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir(), testOptions())
			defer closeStore(t, s)
			waitForIndex(t, s)
			if err := s.ApplyAll(h.updates); err != nil {
				t.Fatal(err)
			}
			h.check(t, s) // which has every shard's value written anew
			damage(s)
			want := h.shards(8, id)[0]
			if sum, err := s.Sum(id); err != nil || sum.Hash == sumOf(&want).Hash {
				t.Fatalf("not noticed, err %v", err)
			}
			to := at(6)
			if err := s.Load(gateway.Load{Shards: h.shards(6, id), To: &to}); err != nil {
				t.Fatal(err)
			}
			m := s.Marks()
			if s.Position() != to || m[id].Number != 6 || m[1].Number != 8 {
				t.Fatalf("position %d, marks %d and %d", s.Position().Number, m[id].Number, m[1].Number)
			}
			h.check(t, s)
			for _, u := range h.updates[6:] {
				apply(t, s, u)
			}
			h.check(t, s)
		})
	}
}

// A load that is not finished leaves each shard as it was or as it is to be, in
// memory as after a restart.
func TestUnfinishedLoad(t *testing.T) {
	h := newHistory(8)
	dir := t.TempDir()
	s := open(t, dir, testOptions())
	if err := s.Load(gateway.Load{Shards: h.shards(2, 0, 1, 2, bigShard, 2047)}); err != nil {
		t.Fatal(err)
	}
	w := &loader{s: s}
	for _, shard := range h.shards(8, allIDs()[:300]...) { // of which 200 fit into one transaction
		if err := w.shard(&shard); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.finish(false); err != nil {
		t.Fatal(err)
	}
	w.close()
	for range 2 {
		if m := s.Marks(); s.Loaded() != 201 || m[199].Number != 8 || m[200].Loaded() || m[2047].Number != 2 {
			t.Fatalf("%d shards are loaded", s.Loaded())
		}
		h.check(t, s)
		closeStore(t, s)
		s = open(t, dir, testOptions())
	}
}

// The largest shard fits into a transaction of the smallest memtable and stays
// out of Badger's value log; so does the largest step, with all that may come with it.
func TestLargestTransactions(t *testing.T) {
	const id = gateway.ShardID(9)
	first, last := id.Range()
	record := gateway.Record{Class: gateway.ClassRed, Flags: gateway.FlagConcession, Anchor: 30000, HoldThrough: 30000, AnchorMinute: 1439}
	shard := gateway.Shard{ID: id, At: at(1)}
	// Some lie far apart, which takes the most room that there is.
	const far = 1 << 9
	for i := range gateway.Token(gateway.MaxShardRecords) {
		token := first + i*((last-first)/far)
		if i >= far-1 {
			token = last - (gateway.MaxShardRecords-1-i)<<35
		}
		if n := len(shard.Records); n > 0 && token <= shard.Records[n-1].Token {
			token = shard.Records[n-1].Token + 1
		}
		shard.Records = append(shard.Records, gateway.Change{Token: token, Record: record})
	}
	s := open(t, t.TempDir(), testOptions())
	value := packChanges(first, shard.Records)
	if len(value)+sealSize >= valueThreshold || !s.newBatch().fits(shardOps, len(value)+sealSize+shardBytes+trimBytes) {
		t.Errorf("a shard of %d bytes does not fit", len(value))
	}

	var updates []gateway.Update
	m, schedule := model{}, largestSchedule(t)
	for n := range uint64(stepMost / gateway.MaxChanges) {
		u := gateway.Update{To: at(n + 1), Keys: termsAt(1000), Complete: true}
		for i := range gateway.MaxChanges {
			u.Changes = append(u.Changes, gateway.Change{Token: tokenAt(int(n)*gateway.MaxChanges + i), Record: record})
		}
		updates = append(updates, u)
		m.apply(u)
	}
	updates[3].Schedule = schedule
	if err := s.ApplyAll(updates); err != nil {
		t.Fatal(err)
	}
	if s.step != 1 {
		t.Errorf("%d steps", s.step)
	}
	closeStore(t, s)
	s = open(t, s.home.path, testOptions())
	waitForIndex(t, s)
	verifyEvery(t, s, m)
}

// ApplyAll leaves what Apply of each leaves; refused, it leaves nothing.
func TestApplyAll(t *testing.T) {
	one, all := open(t, t.TempDir(), testOptions()), open(t, t.TempDir(), testOptions())
	m := model{}
	var updates []gateway.Update
	for n := uint64(1); n <= 60; n++ {
		u := updateOf(n)
		m.apply(u)
		apply(t, one, u)
		updates = append(updates, u)
	}
	repeat := append(slices.Clone(updates), updates[3])
	wantErr(t, all.ApplyAll(repeat), ErrUpdate)
	if (all.Position() != gateway.Position{}) || all.Loaded() != 0 {
		t.Fatal("a refused call left something")
	}
	if err := all.ApplyAll(updates); err != nil {
		t.Fatal(err)
	}
	if err := all.ApplyAll(nil); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Store{one, all} {
		verify(t, s, m)
		if s.Position() != at(60) || !s.Usable() || !slices.Equal(s.Keys(), termsAt(60)) || s.Schedule().Version != one.Schedule().Version {
			t.Error("position, keys, schedule or complete flag are not those of the last update")
		}
	}
}

// A lookup amid loads sees an old record or a new one and never none, whether
// the index has been filled or not.
func TestLookupsDuringLoad(t *testing.T) {
	dir, o := t.TempDir(), testOptions()
	s := open(t, dir, o)
	shard := func(n uint64) gateway.Load {
		first, _ := bigShard.Range()
		l := gateway.Load{Shards: []gateway.Shard{{ID: bigShard, At: at(n)}}}
		for i := range gateway.Token(bigRecords) {
			l.Shards[0].Records = append(l.Shards[0].Records, gateway.Change{Token: first + i<<30, Record: gateway.Record{Anchor: 1, AnchorMinute: uint16(n)}})
		}
		return l
	}
	load := func(n uint64) {
		if err := s.Load(shard(n)); err != nil {
			t.Error(err)
		}
	}
	load(1)
	waitForIndex(t, s)
	closeStore(t, s)
	o.unfilled = true
	s = open(t, dir, o)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	first, _ := bigShard.Range()
	for range 2 {
		readers.Go(func() {
			for i := gateway.Token(0); ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				r, known, err := s.Lookup(first + i%bigRecords<<30)
				if err != nil || !known || r.AnchorMinute == 0 {
					t.Errorf("known %v, err %v", known, err)
					return
				}
			}
		})
	}
	for n := uint64(2); n < 12; n++ {
		load(n)
	}
	close(stop)
	readers.Wait()
}
