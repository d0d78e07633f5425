package cache

import (
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"gateline/gateway"
)

func TestPackKeepsEveryField(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	last := gateway.Record{Class: gateway.ClassRed, Flags: gateway.FlagConcession, Anchor: 32767, HoldThrough: 32767, AnchorMinute: 1439}
	for i := range 10_000 {
		want := randomRecord(r)
		if i == 0 {
			want = last
		}
		v := pack(want)
		if unpack(v) != want || v>>recordBits != 1 || v&recordDeleted == recordDeleted {
			t.Fatalf("class %d anchor %v hold %v minute %d changes", want.Class, want.Anchor, want.HoldThrough, want.AnchorMinute)
		}
	}
	// A slot has no room for more: whoever adds a class, a flag or a minute has to
	// make some.
	if (gateway.Record{Class: last.Class + 1}).Valid() || (gateway.Record{Flags: last.Flags << 1}).Valid() {
		t.Error("a valid record does not fit into a slot")
	}
	if shardBits+lowBits+32 != 64 || gateway.Shards != 1<<shardBits || bucketSize != 64 {
		t.Error("a token does not fit into a slot, or a bucket into a cache line")
	}
}

// heapTop makes chunks of 128 kB of Go's heap, where the race detector watches.
const heapTop = 11

// newWhole returns an empty index that is not being filled.
func newWhole(top int) *index {
	x := newIndex(top)
	for id := range gateway.ShardID(gateway.Shards) {
		x.settle(id)
	}
	return x
}

// checkIndex compares all that an index has, and what it counts, with want.
func checkIndex(t *testing.T, x *index, want model, tokens []gateway.Token) {
	t.Helper()
	if x.records() != len(want) {
		t.Fatalf("%d records, want %d", x.records(), len(want))
	}
	for _, token := range tokens {
		got, ok := x.lookup(token)
		if record, known := want[token]; ok != known || got != record {
			t.Fatalf("known %v, want %v, or the record differs", ok, known)
		}
	}
	var all []gateway.Change
	seen := 0
	for id := range gateway.ShardID(gateway.Shards) {
		all = x.shard(all[:0], id)
		for i, c := range all {
			if record, known := want[c.Token]; !known || record != c.Record || i > 0 && c.Token <= all[i-1].Token {
				t.Fatalf("shard %d has a record that it should not have, or not in order", id)
			}
		}
		seen += len(all)
	}
	if seen != len(want) {
		t.Fatalf("%d records in the shards, want %d", seen, len(want))
	}
	used := 0
	for id := range gateway.ShardID(gateway.Shards) {
		from, s := x.current(id), &x.shards[id]
		used += int(from.buckets)
		if s.used > from.slots() {
			t.Fatalf("%d of %d slots are taken", s.used, from.slots())
		}
	}
	if x.bytes() != used*bucketSize {
		t.Fatalf("%d bytes are in use, the tables have %d", x.bytes(), used*bucketSize)
	}
}

// indexTokens are tokens of which many meet in one bucket and run into the next,
// around the end of the table too.
func indexTokens(r *rand.Rand) (tokens []gateway.Token) {
	for i := range gateway.Token(300) {
		tokens = append(tokens, i, ^i, 7<<52|i<<32, gateway.Token(r.Uint64()))
	}
	return tokens
}

// A model of an index under random changes, filling included: what was changed
// or deleted since the filling began must not come back.
func TestIndexAgainstModel(t *testing.T) {
	seeds := uint64(20)
	if raceOn {
		seeds = 4
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 4))
		tokens := indexTokens(r)
		stored, want := map[gateway.ShardID]model{}, model{}
		for _, token := range tokens {
			if r.IntN(2) == 0 {
				id := gateway.ShardOf(token)
				if stored[id] == nil {
					stored[id] = model{}
				}
				want[token] = randomRecord(r)
				stored[id][token] = want[token]
			}
		}
		x := newIndex([]int{heapTop, arenaTop}[seed%2])
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
			got, known, changed := x.peek(token)
			if record, ok := want[token]; known != ok || got != record || !changed && !x.shards[gateway.ShardOf(token)].whole {
				t.Fatalf("seed %d: known %v, want %v, or the index has forgotten a change", seed, known, ok)
			}
		}
		for id := range gateway.ShardID(gateway.Shards) {
			for range 1 + 500*len(stored[id])/len(tokens) {
				change()
			}
			x.fill(id, listOf(stored[id]))
			change()
			x.settle(id)
		}
		checkIndex(t, x, want, tokens)
		for range 5_000 {
			change()
		}
		checkIndex(t, x, want, tokens)
		for range 20 { // a shard comes anew, larger or smaller
			token := tokens[r.IntN(len(tokens))]
			id, next := gateway.ShardOf(token), model{}
			for _, token := range tokens {
				if gateway.ShardOf(token) != id {
					continue
				}
				delete(want, token)
				if r.IntN(3) > 0 {
					next[token] = randomRecord(r)
					want[token] = next[token]
				}
			}
			x.replace(id, listOf(next))
			change()
		}
		checkIndex(t, x, want, tokens)
	}
}

// listOf returns a model's records in the order of their tokens.
func listOf(m model) (list []gateway.Change) {
	for token, record := range m {
		list = append(list, gateway.Change{Token: token, Record: record})
	}
	return lastOfEach(list)
}

// The tables stay bounded however many records come and go, and get smaller when
// those have gone.
func TestIndexDropsTheDeleted(t *testing.T) {
	x := newWhole(heapTop)
	r := rand.New(rand.NewPCG(5, 5))
	token := func() gateway.Token { return gateway.Token(r.Uint64()>>shardBits | 9<<52) }
	for range 50_000 {
		token := token()
		x.apply([]gateway.Change{{Token: token}, {Token: token, Delete: true}})
	}
	if n := uint32(x.directory[9].Load() & bucketsMask); n > 2 || x.records() != 0 {
		t.Errorf("%d buckets for %d records", n, x.records())
	}
	var tokens []gateway.Token
	for range 10_000 {
		tokens = append(tokens, token())
		x.apply([]gateway.Change{{Token: tokens[len(tokens)-1]}})
	}
	most := x.bytes()
	for _, token := range tokens[10:] {
		x.apply([]gateway.Change{{Token: token, Delete: true}})
	}
	if x.bytes() > most/10 || x.records() != 10 {
		t.Errorf("%d of %d bytes for %d records", x.bytes(), most, x.records())
	}
}

// What a record takes, loaded at once or one by one.
func TestIndexIsDense(t *testing.T) {
	const records = 6_100 // of 25 million
	r := rand.New(rand.NewPCG(8, 8))
	var list []gateway.Change
	for range records {
		list = append(list, gateway.Change{Token: gateway.Token(r.Uint64() >> shardBits)})
	}
	list = lastOfEach(list)
	loaded, applied := newWhole(heapTop), newWhole(heapTop)
	loaded.replace(0, list)
	if each := float64(loaded.bytes()) / records; each > 16 {
		t.Errorf("%.1f bytes a record after a load", each)
	}
	for i := range list[:2_000] {
		applied.apply(list[i : i+1])
		if n := i + 1; n > 100 && applied.bytes() > 17*n {
			t.Fatalf("%d bytes for %d records", applied.bytes(), n)
		}
	}
}

// A list whose tokens all begin at one bucket makes lookups long, and no more: the
// table has no more memory than for any other, and all is found.
func TestIndexTokensInOneBucket(t *testing.T) {
	const tokens = 4_000
	list := make([]gateway.Change, tokens)
	for i := range list {
		list[i].Token = 1<<52 - tokens + gateway.Token(i) // and around the end of the table
		list[i].Record.Anchor = gateway.Day(i)
	}
	x := newWhole(arenaTop)
	for i := range list {
		x.apply(list[i : i+1])
	}
	if x.bytes() > 18*tokens {
		t.Errorf("%d bytes for %d records", x.bytes(), tokens)
	}
	if got := x.shard(nil, 0); !slices.Equal(got, list) {
		t.Error("the shard is not what was applied")
	}
	for i := 0; i < tokens; i += 97 {
		if r, known := x.lookup(list[i].Token); !known || r != list[i].Record {
			t.Fatalf("record %d: known %v, or it differs", i, known)
		}
	}
	if _, known := x.lookup(0); known {
		t.Error("token 0 is known")
	}
}

// What is cleared leaves nothing in the memory, and the kernel has that back.
func TestIndexClear(t *testing.T) {
	x := newWhole(arenaTop)
	r := rand.New(rand.NewPCG(3, 8))
	list := make([]gateway.Change, 2*gateway.MaxShardRecords)
	for i := range list {
		list[i] = gateway.Change{Token: 1<<52 + gateway.Token(r.Uint64()>>shardBits), Record: gateway.Record{Anchor: 1}}
	}
	x.replace(1, lastOfEach(list))
	if resident(t, x) == 0 {
		t.Fatal("the records are not in the first chunk")
	}
	x.clear()
	if n := resident(t, x); n > hugePage/2 || x.bytes() != 0 || x.records() != 0 {
		t.Errorf("%d bytes are resident, %d in use, %d records", n, x.bytes(), x.records())
	}
	memory := x.arena.block(0, arenaTop)
	for i := range memory {
		for k := range memory[i] {
			if memory[i][k].Load() != 0 {
				t.Fatal("a record is left in the memory")
			}
		}
	}
	if f := &x.arena.chunks[0][arenaTop]; f.n != 1 || !f.has(0) {
		t.Error("the freed blocks have not joined")
	}
}

// resident returns how many bytes of the first chunk the kernel has given pages.
func resident(t *testing.T, x *index) (n int) {
	t.Helper()
	pages := make([]byte, bucketSize<<arenaTop/os.Getpagesize())
	_, _, errno := syscall.Syscall(syscall.SYS_MINCORE, uintptr(x.memory), uintptr(bucketSize<<arenaTop), uintptr(unsafe.Pointer(&pages[0])))
	if errno != 0 {
		t.Fatal(errno)
	}
	for _, p := range pages {
		n += int(p&1) * os.Getpagesize()
	}
	return n
}

// Blocks that are handed out are empty and lie apart, whatever was freed before.
func TestArenaAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	a, _ := newArena(heapTop)
	type block struct {
		first uint32
		class int
	}
	var held []block
	number := uint64(0)
	check := func(b block) {
		number++
		for i := range 1 << b.class {
			w := &a.block(b.first, b.class)[i][5]
			if w.Load() != 0 {
				t.Fatal("a block is not empty, or another's")
			}
			w.Store(number)
		}
	}
	for range 20_000 {
		if r.IntN(2) == 0 || len(held) > 300 {
			if len(held) > 0 {
				i := r.IntN(len(held))
				a.release(held[i].first, held[i].class)
				held = slices.Delete(held, i, i+1)
			}
			continue
		}
		b := block{class: r.IntN(heapTop + 1)}
		if b.class > 6 && r.IntN(20) > 0 {
			b.class = r.IntN(6)
		}
		b.first = a.alloc(b.class)
		check(b)
		held = append(held, b)
	}
	for _, b := range held {
		a.release(b.first, b.class)
	}
	for i, c := range a.chunks {
		if c[heapTop].n != 1 {
			t.Errorf("chunk %d has not become whole again", i)
		}
	}
	if a.bytes() != 0 || len(a.chunks) > 60 {
		t.Errorf("%d bytes in use, %d chunks", a.bytes(), len(a.chunks))
	}
}

// Lookups run beside writes, growing and whole loads. A token that is never written
// is never known, whatever is written into the slots where its search ends, and one
// that is written has a record of its own and no other's; one that is there all the
// time is found every time.
func TestIndexLookupsBesideWrites(t *testing.T) {
	const tokens = 3_000
	// All in two shards, so that freed memory becomes that of the other; every third is
	// there all the time, every third comes and goes, every third never comes. Many
	// have their last bits in common.
	token := func(i int) gateway.Token {
		return gateway.Token(i%2)<<52 | gateway.Token(i)*0x9e3779b97f4a7c15>>shardBits&^(lowMask>>4)
	}
	recordOf := func(i, turn int) gateway.Record {
		return gateway.Record{Class: gateway.ClassRed, Anchor: gateway.Day(1 + i), HoldThrough: gateway.Day(1 + i), AnchorMinute: uint16(turn)}
	}
	rounds := 24
	if raceOn {
		rounds = 6
	}
	for round := range rounds {
		x := newWhole([]int{heapTop, heapTop, arenaTop}[round%3])
		for i := 0; i < tokens; i += 3 {
			x.apply([]gateway.Change{{Token: token(i), Record: recordOf(i, 0)}})
		}
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
					want := recordOf(i, int(got.AnchorMinute))
					if known && (i%3 == 2 || got != want) || !known && i%3 == 0 {
						t.Errorf("a lookup returns another token's record, or misses one (%d)", i%3)
						return
					}
				}
			})
		}
		writeBesideLookups(x, tokens, token, recordOf)
		close(stop)
		readers.Wait()
		if t.Failed() {
			return
		}
	}
}

// Two tokens that differ only in what their slot does not say take turns: in one slot,
// by their tags, and in one block of memory, by their shards. Whoever looks up one of
// them never finds the other's record.
func TestIndexLookupsBesideReuse(t *testing.T) {
	turns := 200_000
	if raceOn {
		turns = 20_000
	}
	record := func(i int) gateway.Record { return gateway.Record{Anchor: gateway.Day(1 + i)} }
	for name, tokens := range map[string][2]gateway.Token{"slot": {1 << lowBits, 2 << lowBits}, "block": {5, 1<<52 | 5}} {
		x := newWhole(heapTop)
		var readers sync.WaitGroup
		var stop atomic.Bool
		for i := range tokens {
			readers.Go(func() {
				for !stop.Load() {
					if got, known := x.lookup(tokens[i]); known && got != record(i) {
						t.Errorf("%s: a lookup returns the other token's record", name)
						return
					}
				}
			})
		}
		for n := 0; n < turns && !t.Failed(); n++ {
			i := n % 2
			switch name {
			case "slot":
				x.apply([]gateway.Change{{Token: tokens[1-i], Delete: true}, {Token: tokens[i], Record: record(i)}})
			case "block":
				x.replace(gateway.ShardOf(tokens[1-i]), nil)
				x.replace(gateway.ShardOf(tokens[i]), []gateway.Change{{Token: tokens[i], Record: record(i)}})
			}
		}
		stop.Store(true)
		readers.Wait()
	}
}

// writeBesideLookups changes tokens of number 0 modulo 3, and lets those of number 1
// come and go, one by one, and by loads.
func writeBesideLookups(x *index, tokens int, token func(int) gateway.Token, recordOf func(i, turn int) gateway.Record) {
	for turn := range 4 {
		for i := range tokens {
			if i%3 != 2 {
				x.apply([]gateway.Change{{Token: token(i), Record: recordOf(i, turn)}})
			}
			if i%3 == 1 && i%4 == turn {
				x.apply([]gateway.Change{{Token: token(i), Delete: true}})
			}
		}
		for shard := range 2 {
			next := model{}
			for i := shard; i < tokens; i += 2 {
				if i%3 == 0 || i%3 == 1 && turn%2 == 0 {
					next[token(i)] = recordOf(i, 10+turn)
				}
			}
			x.replace(gateway.ShardID(shard), listOf(next))
		}
		for i := 1; i < tokens; i += 3 {
			x.apply([]gateway.Change{{Token: token(i), Delete: true}})
		}
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
		x := newIndex(arenaTop)
		for id := range gateway.ShardID(records / shard) {
			first, _ := id.Range()
			room = room[:0]
			for k := range gateway.Token(shard) {
				room = append(room, gateway.Change{Token: first + k<<44 | k, Record: gateway.Record{Anchor: 1}})
			}
			x.fill(id, room)
		}
		x.drop()
	}
	b.ReportMetric(float64(b.N)*records/b.Elapsed().Seconds(), "records/s")
}
