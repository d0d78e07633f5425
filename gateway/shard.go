package gateway

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// Shards is the number of parts into which tokens are divided by their range,
// so that a copy can be loaded, proven and mended part by part.
const Shards = 4096

// ShardID is the number of a shard, 0 … Shards−1.
type ShardID uint16

// ShardOf returns the shard of a token: its first 12 bits. Tokens are keyed
// hashes, so all shards are about equally large.
func ShardOf(t Token) ShardID { return ShardID(t >> (64 - 12)) }

// Range returns the first and the last token of the shard.
func (s ShardID) Range() (first, last Token) {
	first = Token(s) << (64 - 12)
	return first, first | (1<<(64-12) - 1)
}

// MaxShardRecords is the largest number of records in one shard, ten times
// what 25 million credentials need. It keeps a snapshot below a message's limit.
const MaxShardRecords = 1 << 16

// Shard is all records of one shard as they stood at one place in the feed.
type Shard struct {
	ID ShardID
	// At is where: Epoch, Number and Hash are those of the last entry that the
	// records contain. Number 0 is the empty shard before entry 1.
	At Position
	// Records are in ascending order of their tokens, at most MaxShardRecords;
	// none is a deletion.
	Records []Change
}

// ShardMark says what a store holds of a shard. The zero mark means that it was
// never loaded: no record of it means anything (R24).
type ShardMark struct {
	// Epoch is that of the feed the shard was loaded from; 0 = not loaded.
	Epoch uint64
	// Number is that of the last entry the loaded records contained. Changes
	// of entries up to it are in them already.
	Number uint64
}

// Loaded reports whether the shard was loaded.
func (m ShardMark) Loaded() bool { return m.Epoch != 0 }

// Load replaces whole shards of a store, all or nothing.
//
// Where To is not nil the store is at To afterwards, whatever it was at. If that
// is back within the same epoch, the other loaded shards lose nothing: the store
// raises their marks to where it was, so that what is applied again reaches
// only the shards that lack it.
type Load struct {
	// Shards are in ascending order of their ids.
	Shards []Shard
	// To replaces the store's position; nil = unchanged.
	To *Position
	// Schedule and Keys are as in Update; nil = unchanged.
	Schedule *Schedule
	Keys     []KeyTerm
}

// ShardSum identifies the contents of a shard.
type ShardSum struct {
	Records uint32
	Hash    Hash
}

// Checkpoint is what the centre says of a shard: its sum right after the entry
// before the one that carries the checkpoint.
type Checkpoint struct {
	Shard ShardID
	Sum   ShardSum
}

// ShardSummer computes a ShardSum. Make it with NewShardSummer.
type ShardSummer struct {
	h   hash.Hash
	n   uint32
	buf []byte
}

// NewShardSummer returns a summer for the shard.
func NewShardSummer(id ShardID) *ShardSummer {
	s := &ShardSummer{h: sha256.New()}
	s.h.Write(binary.BigEndian.AppendUint16([]byte("gateline shard 1\x00"), uint16(id)))
	return s
}

// Add adds a record. Records come in ascending order of their tokens.
func (s *ShardSummer) Add(t Token, r Record) {
	s.n++
	s.buf = AppendRecord(binary.BigEndian.AppendUint64(s.buf[:0], uint64(t)), r)
	// Ended by its length, a record cannot run into the next.
	s.h.Write(append(s.buf, byte(len(s.buf))))
}

// Sum returns the sum of what was added: SHA-256 over a constant, the shard and
// each record in turn.
func (s *ShardSummer) Sum() ShardSum {
	return ShardSum{Records: s.n, Hash: Hash(s.h.Sum(nil))}
}
