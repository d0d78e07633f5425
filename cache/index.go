package cache

import (
	"cmp"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"gateline/gateway"
)

// index is a copy of all records in memory: an open-addressing table of
// pointer-free 16-byte slots. A lookup takes no lock, allocates nothing and
// mostly reads one cache line; a write never moves what a lookup may be reading.
//
// A slot's key is written once and never changes, so a lookup that has seen a
// key may trust the value beside it. A deleted record leaves its key with an
// empty value; growing into a new table drops those.
type index struct {
	slots atomic.Pointer[[]slot]
	// zero is the value of token 0, which cannot be a key because an empty
	// slot has that.
	zero atomic.Uint64
	// zeroSet: token 0 was set or deleted, so that fill leaves it alone.
	zeroSet atomic.Bool
	// ready is false while the index is being filled from the store.
	ready atomic.Bool

	mu   sync.Mutex // serialises writers; guards what follows
	used int        // slots with a key
	live int        // of those, slots with a value
}

// slot is one place of the table. Key 0 is an empty place, value 0 no record.
type slot struct{ key, value atomic.Uint64 }

const (
	// indexLeast is the size of the smallest table in slots.
	indexLeast = 1024
	// The table grows when more than indexFull/100 of its slots are used, to
	// one of which indexRoomy/100 are.
	indexFull, indexRoomy = 75, 50
	// indexPresent marks a value; below it stand class, flags, anchor day,
	// hold-through day and anchor minute.
	indexPresent = 1 << 63
)

// newIndex returns an empty index with room for about that many records.
func newIndex(records int) *index {
	x := new(index)
	x.slots.Store(newSlots(records))
	return x
}

func newSlots(records int) *[]slot {
	slots := make([]slot, max(indexLeast, records*100/indexRoomy))
	return &slots
}

func pack(r gateway.Record) uint64 {
	return indexPresent | uint64(r.Class)<<56 | uint64(r.Flags)<<48 |
		uint64(uint16(r.Anchor))<<32 | uint64(uint16(r.HoldThrough))<<16 | uint64(r.AnchorMinute)
}

func unpack(v uint64) gateway.Record {
	return gateway.Record{
		Class: gateway.Class(v >> 56 & 0x7f), Flags: gateway.Flags(v >> 48),
		Anchor: gateway.Day(v >> 32), HoldThrough: gateway.Day(v >> 16), AnchorMinute: uint16(v),
	}
}

// start is where the search for a token begins: tokens are evenly spread, so
// their order is the table's order, and filling it from the store, which is
// sorted, runs through memory once.
func start(t gateway.Token, slots int) int {
	place, _ := bits.Mul64(uint64(t), uint64(slots))
	return int(place)
}

// lookup may be called at any time.
func (x *index) lookup(t gateway.Token) (gateway.Record, bool) {
	v := x.zero.Load()
	if t != 0 {
		v = 0
		// The slot may have been empty for find and be another token's by now.
		if s := find(*x.slots.Load(), t); s.key.Load() == uint64(t) {
			v = s.value.Load()
		}
	}
	return unpack(v), v != 0
}

// peek is lookup while the index is being filled: changed is false where it
// knows nothing of the token.
func (x *index) peek(t gateway.Token) (r gateway.Record, known, changed bool) {
	v := x.zero.Load()
	if t == 0 {
		changed = x.zeroSet.Load()
	} else {
		s := find(*x.slots.Load(), t)
		changed = s.key.Load() == uint64(t)
		v = s.value.Load()
	}
	return unpack(v), v != 0 && changed, changed
}

// find returns the slot of t, or the empty one at which the search ended. The
// table always has an empty slot.
func find(slots []slot, t gateway.Token) *slot {
	for i := start(t, len(slots)); ; i++ {
		if i == len(slots) {
			i = 0
		}
		if key := slots[i].key.Load(); key == uint64(t) || key == 0 {
			return &slots[i]
		}
	}
}

// apply brings the changes in, in their order. There is room for all of them
// first: sorted changes would crowd the beginning of a table that grows meanwhile.
func (x *index) apply(changes []gateway.Change) {
	x.reserve(x.records() + len(changes))
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

// replace brings a shard to the given records.
func (x *index) replace(id gateway.ShardID, records []gateway.Change) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range records {
		x.put(records[i].Token, pack(records[i].Record))
	}
	if x.count(id) == len(records) {
		return
	}
	x.within(id, func(t gateway.Token, _ uint64) {
		_, found := slices.BinarySearchFunc(records, t, func(c gateway.Change, t gateway.Token) int { return cmp.Compare(c.Token, t) })
		if !found {
			x.put(t, 0)
		}
	})
}

// shard appends all records of a shard to into, which is empty, in the order of
// their tokens.
func (x *index) shard(into []gateway.Change, id gateway.ShardID) []gateway.Change {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.within(id, func(t gateway.Token, value uint64) {
		into = append(into, gateway.Change{Token: t, Record: unpack(value)})
	})
	slices.SortFunc(into, func(a, b gateway.Change) int { return cmp.Compare(a.Token, b.Token) })
	return into
}

// count returns how many records of a shard there are. It needs mu.
func (x *index) count(id gateway.ShardID) (n int) {
	x.within(id, func(gateway.Token, uint64) { n++ })
	return n
}

// within calls fn for every record of a shard. fn may empty its value. It needs
// mu. No key has left the way from where the search for it starts to where it
// is, so all of a shard's lie between the start of its first token and the first
// empty slot after the start of its last.
func (x *index) within(id gateway.ShardID, fn func(t gateway.Token, value uint64)) {
	first, last := id.Range()
	if v := x.zero.Load(); first == 0 && v != 0 {
		fn(0, v)
	}
	slots := *x.slots.Load()
	end := start(last, len(slots))
	for n := start(first, len(slots)); ; n++ {
		s := &slots[n%len(slots)] // the last shard's go on at the beginning
		key := s.key.Load()
		if key == 0 && n > end {
			return
		}
		if t := gateway.Token(key); key != 0 && t >= first && t <= last {
			if v := s.value.Load(); v != 0 {
				fn(t, v)
			}
		}
	}
}

// fill brings in records read from the store, except those of tokens that were
// changed or deleted since the filling began.
func (x *index) fill(records []gateway.Change) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range records {
		t := records[i].Token
		if t == 0 && x.zeroSet.Load() || t != 0 && find(*x.slots.Load(), t).key.Load() != 0 {
			continue
		}
		x.put(t, pack(records[i].Record))
	}
}

// put needs mu. While the index is filled, a deletion of a token that is not
// there yet leaves its mark, so that fill does not bring it back.
func (x *index) put(t gateway.Token, value uint64) {
	if t == 0 {
		x.zero.Store(value)
		x.zeroSet.Store(true)
		return
	}
	slots := *x.slots.Load()
	s := find(slots, t)
	if s.key.Load() == 0 {
		if value == 0 && x.ready.Load() {
			return
		}
		if (x.used+1)*100 > len(slots)*indexFull {
			x.grow()
			s = find(*x.slots.Load(), t)
		}
		x.used++
	}
	if before := s.value.Swap(value); (before == 0) != (value == 0) {
		if value == 0 {
			x.live--
		} else {
			x.live++
		}
	}
	s.key.Store(uint64(t)) // after the value: whoever sees the key sees it
}

// grow needs mu. Marks of deleted records are dropped once nothing is filled
// any more.
func (x *index) grow() {
	records := x.live
	if !x.ready.Load() {
		records = x.used
	}
	x.resize(records + 1)
}

// reserve makes room for that many records. Tokens stand in the table in their
// order, so shards that come one after the other crowd its beginning unless it
// is as large as all of them will need.
func (x *index) reserve(records int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if records*100 > len(*x.slots.Load())*indexFull {
		x.resize(max(records, x.used+1))
	}
}

// resize needs mu.
func (x *index) resize(records int) {
	old := *x.slots.Load()
	keep := !x.ready.Load()
	next := newSlots(records)
	used := 0
	for i := range old {
		key, value := old[i].key.Load(), old[i].value.Load()
		if key == 0 || value == 0 && !keep {
			continue
		}
		s := find(*next, gateway.Token(key))
		s.value.Store(value)
		s.key.Store(key)
		used++
	}
	x.used = used
	x.slots.Store(next)
}

// clear forgets every record, and leaves none in the memory that the table had.
func (x *index) clear() {
	x.mu.Lock()
	defer x.mu.Unlock()
	old := *x.slots.Swap(newSlots(0))
	x.used, x.live = 0, 0
	x.zero.Store(0)
	for i := range old {
		old[i].key.Store(0)
		old[i].value.Store(0)
	}
}

// records returns how many records there are.
func (x *index) records() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.zero.Load() != 0 {
		return x.live + 1
	}
	return x.live
}
