package cache

import (
	"cmp"
	"math/bits"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"gateline/gateway"
)

// index is a copy of all records in memory: a table for each shard, which grows
// alone. A lookup takes no lock, allocates nothing and mostly reads one cache line
// that is not in the processor's caches.
//
// A lookup reads which table is the shard's, finds what it finds there, and begins
// anew if the shard has another table by then. So it need not announce itself:
// memory of a table that was replaced may belong to another at once, because whoever
// read it meanwhile notices. It begins anew only where a write came to its end
// meanwhile, so it never waits for a writer that is not running.
type index struct {
	memory unsafe.Pointer // the arena's
	// ready is false while the index is being filled from the store.
	ready atomic.Bool
	// directory has where the table of each shard is, in one word so that a lookup
	// reads all of it at once: from below the number of its buckets (24 bits), its first
	// bucket, or class and half of its blocks where those are scattered (28), whether they
	// are (1), and how many tables the shard has had (11).
	directory [gateway.Shards]atomic.Uint64
	blocks    [gateway.Shards][2]tableBlocks

	mu     sync.Mutex // serialises writers; guards what follows
	arena  arena
	shards [gateway.Shards]indexed
	live   int // records
	late   []lateRecord
	// early is how many records a shard gets room for at once while it is not whole: as
	// many as the journal will bring.
	early int
}

// lateRecord is one that finds its bucket full while a table is made. Such are
// inserted last: what comes in time then stands where the search for it begins, 88 %
// instead of 62 % of a table that is 87 % full.
type lateRecord struct {
	token  gateway.Token
	record uint64
}

// indexed is what writers know of a shard.
type indexed struct {
	// used is the number of slots that are taken, marks that of those with
	// recordDeleted, given that of slots given up since the table was made.
	used, marks, given int
	// whole: all records of the shard are in the index, so what is not there is not
	// known, and deletions leave no mark.
	whole bool
	// class is that of the table's blocks, half which of the two of index.blocks it has.
	class, half uint8
}

const (
	// A table is made with at most indexRoomy/100 of its slots taken, and makes room
	// for another when more than indexFull/100 are: 14 to 16 bytes a record, 15.5 of 25
	// million after a load.
	indexFull, indexRoomy = 90, 84
	// sortWithin bounds the steps for each record with which shard brings records
	// into order that nearly have it.
	sortWithin = 32
)

// The parts of a word of the directory.
const (
	wordFirst     = 24
	wordScattered = 52
	wordCount     = 53

	bucketsMask = 1<<wordFirst - 1
	firstMask   = 1<<(wordScattered-wordFirst) - 1

	// Of the blocks of a scattered table, in place of the first bucket.
	scatteredHalf  = 5
	scatteredClass = 1<<scatteredHalf - 1
)

// newIndex returns an empty index. top is arenaTop but in tests.
func newIndex(top int) *index {
	x := new(index)
	var unmap func()
	x.arena, unmap = newArena(top)
	x.memory = x.arena.memory
	// A lookup that reads the memory holds the index.
	runtime.AddCleanup(x, func(unmap func()) { unmap() }, unmap)
	return x
}

// table is the table that a word of the directory stands for, as a lookup needs it.
func (x *index) table(id gateway.ShardID, word uint64) shardTable {
	t := shardTable{memory: x.memory, buckets: uint32(word & bucketsMask), first: uint32(word >> wordFirst & firstMask)}
	if t.scattered = word>>wordScattered&1 != 0; t.scattered {
		t.shift = uint8(t.first & scatteredClass)
		t.blocks = &x.blocks[id%gateway.Shards][t.first>>scatteredHalf&1]
	}
	return t
}

// current is the table that a shard has. It needs mu.
func (x *index) current(id gateway.ShardID) shardTable {
	t := x.table(id, x.directory[id].Load())
	t.shift, t.blocks = x.shards[id].class, &x.blocks[id][x.shards[id].half]
	return t
}

// lookup may be called at any time.
func (x *index) lookup(t gateway.Token) (gateway.Record, bool) {
	v, _ := x.value(t)
	return unpack(v), v != 0
}

// peek is lookup while the index is being filled: changed is false where it
// knows nothing of the token.
func (x *index) peek(t gateway.Token) (r gateway.Record, known, changed bool) {
	v, changed := x.value(t)
	return unpack(v), v != 0, changed
}

// value returns the packed record of a token, 0 if there is none; found is true if
// the index has the token, be it as deleted.
//
// It is shardTable.find without the struct, and with bucket.match in it: a third of
// the time of a lookup that finds all of it in the processor's caches.
func (x *index) value(t gateway.Token) (v uint64, found bool) {
	id := gateway.ShardOf(t) % gateway.Shards
	at, memory := &x.directory[id], x.memory
	tags := uint64(t) >> lowBits & tagMask
again:
	where := at.Load()
	buckets := where & bucketsMask
	i, _ := bits.Mul64(uint64(t)<<shardBits, buckets)
	for range buckets {
		n := where>>wordFirst&firstMask + i
		if where>>wordScattered&1 != 0 {
			n = x.scattered(id, where, i)
		}
		b := (*bucket)(unsafe.Add(memory, n*uint64(bucketSize)))
		control := b[wordControl].Load()
		first, second := b[wordTags].Load(), b[wordTags+1].Load()
		same := (((first^tags)&tagMask-1)>>63 | ((first>>32^tags)-1)>>63<<1 | ((second^tags)&tagMask-1)>>63<<2 |
			((second>>32^tags)-1)>>63<<3 | ((control^tags)&tagMask-1)>>63<<4) & (control >> controlAt)
		for ; same != 0; same &= same - 1 {
			word := b[bits.TrailingZeros64(same)&7].Load()
			if (word^uint64(t))&lowMask != 0 {
				continue
			}
			if b[wordControl].Load() != control || at.Load() != where {
				goto again
			}
			runtime.KeepAlive(x)
			return recordIn(word), true
		}
		if control&controlPassed == 0 {
			break
		}
		if i++; i == buckets {
			i = 0
		}
	}
	if at.Load() != where {
		goto again
	}
	return 0, false
}

// scattered returns the number in the arena of a bucket of a table whose blocks do not
// lie in a row.
func (x *index) scattered(id gateway.ShardID, word, i uint64) uint64 {
	t := x.table(id, word)
	return t.number(i)
}

// apply brings the changes in, in their order.
func (x *index) apply(changes []gateway.Change) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range changes {
		if c := &changes[i]; c.Delete {
			x.put(c.Token, 0)
		} else {
			x.put(c.Token, pack(c.Record))
		}
	}
}

// put gives a token a packed record, or takes it out if that is 0. A deletion
// from a shard that is not whole leaves its mark, so that fill does not bring the
// record back. It needs mu.
func (x *index) put(t gateway.Token, value uint64) {
	id := gateway.ShardOf(t)
	s, from := &x.shards[id], x.table(id, x.directory[id].Load())
	before := s.records()
	p, found := from.find(t)
	if found && p.record() == 0 {
		s.marks--
	}
	switch {
	case value == 0 && s.whole && !found:
	case value == 0 && s.whole:
		x.remove(id, p)
	default:
		if value == 0 {
			value = recordDeleted
			s.marks++
		}
		if found {
			p.set(value & recordDeleted)
			break
		}
		to := x.room(id)
		to.insert(t, value&recordDeleted)
		s.used++
	}
	x.live += s.records() - before
}

func (s *indexed) records() int { return s.used - s.marks }

// remove gives up a slot. A table in which many were is made anew: it may be too
// large, and lookups pass buckets that were full once. It needs mu.
func (x *index) remove(id gateway.ShardID, p place) {
	p.remove()
	s := &x.shards[id]
	s.used--
	s.given++
	if t := x.current(id); s.given*2 > t.slots() {
		x.remake(id, s.used)
	}
}

// room returns the shard's table, with room for one more token. It needs mu.
func (x *index) room(id gateway.ShardID) shardTable {
	s, t := &x.shards[id], x.current(id)
	if (s.used+1)*100 <= t.slots()*indexFull {
		return t
	}
	if s.whole {
		return x.remake(id, s.used+1)
	}
	// The journal comes before the records, and after those a table is made that fits.
	return x.remake(id, max(2*(s.used+1), x.early))
}

// remake gives a shard a table with room for so many records, and all that it
// has. It needs mu.
func (x *index) remake(id gateway.ShardID, records int) shardTable {
	from, to := x.current(id), x.newTable(id, records)
	from.each(id, func(t gateway.Token, p place) { x.bring(&to, t, p.word>>lowBits) })
	x.swap(id, &to)
	return to
}

// bring inserts a record into a table that is being made; those that are late come
// with swap. It needs mu.
func (x *index) bring(to *shardTable, t gateway.Token, record uint64) {
	if !to.insertHome(t, record) {
		x.late = append(x.late, lateRecord{t, record})
	}
}

// swap completes a table, gives it to a shard and frees the memory of the one before.
// It needs mu.
func (x *index) swap(id gateway.ShardID, to *shardTable) {
	for i := range x.late {
		to.insert(x.late[i].token, x.late[i].record)
		x.late[i] = lateRecord{}
	}
	x.late = x.late[:0]
	from, s := x.current(id), &x.shards[id]
	s.given, s.class, s.half = 0, to.shift, 1-s.half
	word := uint64(to.buckets) | uint64(to.first)<<wordFirst
	if to.scattered {
		word = uint64(to.buckets) | uint64(s.class)<<wordFirst | uint64(s.half)<<(wordFirst+scatteredHalf) | 1<<wordScattered
	}
	x.directory[id].Store(word | (x.directory[id].Load()>>wordCount+1)<<wordCount)
	for i := range from.buckets >> from.shift {
		x.arena.release(from.blocks[i].Load(), int(from.shift))
	}
}

// newTable returns an empty table for so many records of a shard, with the blocks that
// the shard's current one has not. It needs mu.
func (x *index) newTable(id gateway.ShardID, records int) shardTable {
	t := shardTable{memory: x.memory, blocks: &x.blocks[id][1-x.shards[id].half]}
	if records == 0 {
		return t
	}
	buckets := (records*100 + indexRoomy*bucketSlots - 1) / (indexRoomy * bucketSlots)
	class := 0
	for buckets > len(t.blocks)<<class {
		class++
	}
	if class > x.arena.top {
		// 1 GB for one shard: gateway.MaxShardRecords is a thousandth, and what a
		// transaction of Badger can hold much less than this.
		panic("cache: a shard has more records than any can have")
	}
	blocks := (buckets + 1<<class - 1) >> class
	t.buckets, t.shift = uint32(blocks<<class), uint8(class)
	for i := range blocks {
		n := x.arena.alloc(class)
		if t.blocks[i].Store(n); i == 0 {
			t.first = n
		}
		t.scattered = t.scattered || n != t.first+uint32(i<<class)
	}
	return t
}

// replace brings a shard to the given records, all at once: of a token that was and
// is in it a lookup finds the old record or the new.
func (x *index) replace(id gateway.ShardID, records []gateway.Change) {
	x.mu.Lock()
	defer x.mu.Unlock()
	to := x.newTable(id, len(records))
	for i := range records {
		x.bring(&to, records[i].Token, pack(records[i].Record)&recordDeleted)
	}
	x.swap(id, &to)
	s := &x.shards[id]
	x.live += len(records) - s.records()
	s.used, s.marks = len(records), 0
}

// fill brings in the records of a shard as they were read from the store, except
// those of tokens that were changed or deleted since the filling began. What was
// deleted is forgotten only by settle.
func (x *index) fill(id gateway.ShardID, records []gateway.Change) {
	if len(records) == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	s, from := &x.shards[id], x.current(id)
	to := x.newTable(id, s.used+len(records))
	from.each(id, func(t gateway.Token, p place) { x.bring(&to, t, p.word>>lowBits) })
	for i := range records {
		if _, found := from.find(records[i].Token); found {
			continue
		}
		x.bring(&to, records[i].Token, pack(records[i].Record)&recordDeleted)
		s.used++
		x.live++
	}
	x.swap(id, &to)
}

// settle says that all records of a shard are in the index. Lookups that find
// nothing there must know it already.
func (x *index) settle(id gateway.ShardID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := &x.shards[id]
	s.whole = true
	if s.marks == 0 {
		return
	}
	current := x.current(id)
	current.each(id, func(_ gateway.Token, p place) {
		if p.record() == 0 {
			p.remove()
			s.used--
			s.given++
		}
	})
	s.marks = 0
}

// shard appends all records of a shard to into, which is empty, in the order of
// their tokens.
func (x *index) shard(into []gateway.Change, id gateway.ShardID) []gateway.Change {
	x.mu.Lock()
	defer x.mu.Unlock()
	current := x.current(id)
	current.each(id, func(t gateway.Token, p place) {
		if v := p.record(); v != 0 {
			into = append(into, gateway.Change{Token: t, Record: unpack(v)})
		}
	})
	sortNear(into)
	return into
}

// sortNear sorts by tokens what nearly is in order: the records of a bucket stand in
// any, and few are far from where they belong.
func sortNear(records []gateway.Change) {
	steps := sortWithin * len(records)
	for i := 1; i < len(records); i++ {
		c, k := records[i], i
		for ; k > 0 && records[k-1].Token > c.Token; k-- {
			records[k] = records[k-1]
		}
		records[k] = c
		if steps -= i - k; steps < 0 {
			slices.SortFunc(records, func(a, b gateway.Change) int { return cmp.Compare(a.Token, b.Token) })
			return
		}
	}
}

// clear forgets every record, leaves none in the memory that the tables had and
// gives that back.
func (x *index) clear() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for id := range gateway.ShardID(gateway.Shards) {
		to := x.newTable(id, 0)
		x.swap(id, &to)
		s := &x.shards[id]
		s.used, s.marks = 0, 0
	}
	x.live = 0
}

// drop is clear for an index that is not used any more: it leaves what was in the
// memory to the kernel.
func (x *index) drop() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for id := range gateway.ShardID(gateway.Shards) {
		x.directory[id].Store((x.directory[id].Load()>>wordCount + 1) << wordCount)
		x.shards[id] = indexed{}
	}
	x.live = 0
	x.arena.drop()
}

// records returns how many records there are.
func (x *index) records() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.live
}

// bytes returns how much memory the tables have.
func (x *index) bytes() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.arena.bytes()
}
