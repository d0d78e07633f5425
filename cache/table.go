package cache

import (
	"math/bits"
	"sync/atomic"
	"unsafe"

	"gateline/gateway"
)

// shardTable is where the records of one shard are, in buckets of one cache line. A
// token's search begins at the bucket that its place among the shard's tokens leads to,
// so the table has its records nearly in the order of their tokens; one whose bucket is
// full stands in the next that is not. A record never moves within a table: a table
// that is too full is replaced by another. There is one writer.
type shardTable struct {
	memory  unsafe.Pointer // the arena's
	buckets uint32         // 0: there are no records
	// first is the first bucket where the blocks lie in a row, as a load leaves them.
	// Where they are scattered a lookup needs their numbers, and whoever makes or frees a
	// table always.
	first     uint32
	scattered bool
	shift     uint8 // blocks have 1<<shift buckets
	blocks    *tableBlocks
}

// tableBlocks are the numbers of the first buckets of a table's blocks. A table has 17
// to 32 blocks unless it is small, so that it can grow by a sixteenth at the most and
// memory comes in few sizes.
type tableBlocks [32]atomic.Uint32

// A bucket has five slots in its eight words. A slot is a token and its record:
//
//	words 0 … 4   record (44 bits), then the token's last lowBits bits
//	words 5 … 7   tags, the 32 bits before those, two in a word from below; in the
//	              high half of word 7, where a sixth would be, the control
//
// The token's first 12 bits are the shard's number and are not stored. The control
// has a bit for each slot that is taken, controlPassed, and above them the number of
// times that a slot was taken or given up. So a lookup that finds word 7 unchanged
// after it has read a slot knows that the slot was the token's all the time. A record
// that changes is one word that is stored.
type bucket [8]atomic.Uint64

const (
	bucketSize  = int(unsafe.Sizeof(bucket{}))
	bucketSlots = 5

	wordControl = 7
	wordTags    = 5

	shardBits = 12
	lowBits   = 20
	lowMask   = 1<<lowBits - 1
	tagMask   = 1<<32 - 1

	controlAt     = 32
	controlTaken  = (1<<bucketSlots - 1) << controlAt
	controlPassed = 1 << (controlAt + bucketSlots) // a token passed this bucket because it was full
	controlOnce   = controlPassed << 1             // one in the count, which wraps around
)

// A record as a slot has it: class, flags, anchor day, hold-through day and
// anchor minute, from above. All ones, which no record is, stand for one that was
// deleted while the index was being filled.
const (
	recordBits    = 44
	recordDeleted = 1<<recordBits - 1
	// recordPresent is set above a record that is there, and in no slot.
	recordPresent = 1 << recordBits

	minuteBits, dayBits, flagBits, classBits = 11, 15, 1, 2

	holdAt   = minuteBits
	anchorAt = holdAt + dayBits
	flagsAt  = anchorAt + dayBits
	classAt  = flagsAt + flagBits
)

// pack returns a record that is gateway.Record.Valid in the low bits of a word,
// with recordPresent.
func pack(r gateway.Record) uint64 {
	return recordPresent | uint64(r.Class)<<classAt | uint64(r.Flags)<<flagsAt |
		uint64(r.Anchor)<<anchorAt | uint64(r.HoldThrough)<<holdAt | uint64(r.AnchorMinute)
}

func unpack(v uint64) gateway.Record {
	return gateway.Record{
		Class: gateway.Class(v >> classAt & (1<<classBits - 1)), Flags: gateway.Flags(v >> flagsAt & (1<<flagBits - 1)),
		Anchor: gateway.Day(v >> anchorAt & (1<<dayBits - 1)), HoldThrough: gateway.Day(v >> holdAt & (1<<dayBits - 1)),
		AnchorMinute: uint16(v & (1<<minuteBits - 1)),
	}
}

// slots returns how many records the table could hold.
func (t *shardTable) slots() int { return int(t.buckets) * bucketSlots }

// at returns bucket number i.
func (t *shardTable) at(i uint32) *bucket {
	return (*bucket)(unsafe.Add(t.memory, t.number(uint64(i))*uint64(bucketSize)))
}

// number returns the number of bucket i in the arena. Who reads blocks that are another
// table's by now is led to some bucket of the same chunk.
func (t *shardTable) number(i uint64) uint64 {
	if !t.scattered {
		return uint64(t.first) + i
	}
	class := t.shift & 31
	return uint64(t.blocks[i>>class%32].Load()) | i&(1<<class-1)
}

// home is the number of the bucket at which the search for a token begins.
func (t *shardTable) home(token gateway.Token) uint32 {
	n, _ := bits.Mul64(uint64(token)<<shardBits, uint64(t.buckets))
	return uint32(n)
}

// next is the number of the bucket after i.
func (t *shardTable) next(i uint32) uint32 {
	if i++; i == t.buckets {
		return 0
	}
	return i
}

// place is where a token was found: its bucket and slot, with the word there.
type place struct {
	bucket *bucket
	slot   int
	word   uint64
}

// record is the slot's, 0 where it stands for one that was deleted.
func (p place) record() uint64 { return recordIn(p.word) }

func recordIn(word uint64) uint64 {
	if v := word >> lowBits; v != recordDeleted {
		return v | recordPresent
	}
	return 0
}

// find looks for a token, beside no writer; index.value is for lookups. The search
// ends: it passes each bucket at most once.
func (t *shardTable) find(token gateway.Token) (p place, found bool) {
	i := t.home(token)
	for range t.buckets {
		b := t.at(i)
		control, same := b.match(token)
		for ; same != 0; same &= same - 1 {
			slot := bits.TrailingZeros64(same)
			if word := b[slot&7].Load(); (word^uint64(token))&lowMask == 0 {
				return place{b, slot, word}, true
			}
		}
		if control&controlPassed == 0 {
			return place{}, false
		}
		i = t.next(i)
	}
	return place{}, false
}

// match returns word 7 of the bucket and a bit for each slot that is taken and has the
// token's tag.
func (b *bucket) match(token gateway.Token) (control, same uint64) {
	control = b[wordControl].Load()
	first, second, tags := b[wordTags].Load(), b[wordTags+1].Load(), uint64(token)>>lowBits&tagMask
	// Without branches, because nobody could foretell them: a difference of 0 less 1 has
	// its highest bit set.
	same = ((first^tags)&tagMask-1)>>63 | ((first>>32^tags)-1)>>63<<1 |
		((second^tags)&tagMask-1)>>63<<2 | ((second>>32^tags)-1)>>63<<3 | ((control^tags)&tagMask-1)>>63<<4
	return control, same & (control >> controlAt)
}

// set gives a token that was found another record.
func (p place) set(record uint64) {
	p.bucket[p.slot].Store(record<<lowBits | p.word&lowMask)
}

// insert takes a slot for a token that is not in the table, which has a free one.
func (t *shardTable) insert(token gateway.Token, record uint64) {
	for i := t.home(token); ; i = t.next(i) {
		b := t.at(i)
		control := b[wordControl].Load()
		if control&controlTaken != controlTaken {
			b.take(bits.TrailingZeros64(^(control >> controlAt)), token, record)
			return
		}
		if control&controlPassed == 0 {
			b[wordControl].Store(control | controlPassed)
		}
	}
}

// insertHome is insert if the bucket at which the search begins has a free slot,
// else it does nothing and returns false.
func (t *shardTable) insertHome(token gateway.Token, record uint64) bool {
	b := t.at(t.home(token))
	control := b[wordControl].Load()
	if control&controlTaken == controlTaken {
		return false
	}
	b.take(bits.TrailingZeros64(^(control >> controlAt)), token, record)
	return true
}

// take fills a free slot. The control says so last: whoever sees it taken sees what
// is in it.
func (b *bucket) take(slot int, token gateway.Token, record uint64) {
	b[slot].Store(record<<lowBits | uint64(token)&lowMask)
	b.tag(slot, uint64(token)>>lowBits&tagMask)
	b[wordControl].Store((b[wordControl].Load() + controlOnce) | 1<<(controlAt+slot))
}

// remove gives up the slot of a token that was found and empties it: first the
// control, so that nobody who saw it taken trusts what is in it afterwards.
func (p place) remove() {
	b := p.bucket
	b[wordControl].Store(b[wordControl].Load()&^(1<<(controlAt+p.slot)) + controlOnce)
	b.tag(p.slot, 0)
	b[p.slot].Store(0)
}

// tag writes the tag of a slot that is not taken.
func (b *bucket) tag(slot int, tag uint64) {
	word, at := &b[wordTags+slot/2], slot%2*32
	word.Store(word.Load()&^(tagMask<<at) | tag<<at)
}

// each calls fn for every slot that is taken. fn may remove its token.
func (t *shardTable) each(id gateway.ShardID, fn func(token gateway.Token, p place)) {
	first, _ := id.Range()
	for i := range t.buckets {
		b := t.at(i)
		control := b[wordControl].Load()
		for taken := control & controlTaken >> controlAt; taken != 0; taken &= taken - 1 {
			slot := bits.TrailingZeros64(taken)
			tag := b[wordTags+slot/2].Load() >> (slot % 2 * 32) & tagMask
			word := b[slot].Load()
			fn(first|gateway.Token(tag<<lowBits|word&lowMask), place{b, slot, word})
		}
	}
}
