package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"gateline/gateway"
)

// A list of changes or records is stored packed: for each, in strictly
// ascending order of the tokens, the distance from the least token it could have
// as a uvarint, the length of its record in one byte, 0 = deletion, and the
// record as gateway.AppendRecord writes it. Four bytes of CRC-32C over all of it
// end the list, big-endian.

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const crcSize = 4

// packedRoom is what a packed record takes at most where a shard has 1,024 of
// them or more: their distances cannot all be large.
const packedRoom = 6 + 1 + gateway.RecordSize

// packChanges packs changes in strictly ascending order of their tokens, none
// of them below first.
func packChanges(first gateway.Token, changes []gateway.Change) []byte {
	b := make([]byte, 0, len(changes)*packedRoom+crcSize)
	for i := range changes {
		c := &changes[i]
		b = binary.AppendUvarint(b, uint64(c.Token-first))
		first = c.Token + 1
		size := len(b)
		b = append(b, 0)
		if !c.Delete {
			b = gateway.AppendRecord(b, c.Record)
			b[size] = byte(len(b) - size - 1)
		}
	}
	return appendSum(b)
}

func appendSum(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

var errPacked = errors.New("a packed list is cut short or out of its range")

// unpacker reads a packed list, one change after the other.
type unpacker struct {
	rest []byte
	// low is the least token that may come next, if any may.
	low, last gateway.Token
	ended     bool
}

// newUnpacker checks the list's sum. Its tokens have to lie between first and
// last.
func newUnpacker(b []byte, first, last gateway.Token) (unpacker, error) {
	n := len(b) - crcSize
	if n < 0 || crc32.Checksum(b[:n], castagnoli) != binary.BigEndian.Uint32(b[n:]) {
		return unpacker{}, fmt.Errorf("a packed list of %d bytes has another checksum", len(b))
	}
	return unpacker{rest: b[:n], low: first, last: last}, nil
}

// next returns the next token and its encoded record, which is empty for a
// deletion. It is called only while rest is not empty.
func (u *unpacker) next() (t gateway.Token, record []byte, err error) {
	distance, n := binary.Uvarint(u.rest)
	if n <= 0 || n >= len(u.rest) || n > 1 && u.rest[n-1] == 0 || u.ended || distance > uint64(u.last-u.low) {
		return 0, nil, errPacked
	}
	size, b := int(u.rest[n]), u.rest[n+1:]
	if size > len(b) {
		return 0, nil, errPacked
	}
	t = u.low + gateway.Token(distance)
	u.low, u.ended = t+1, t == u.last
	u.rest = b[size:]
	return t, b[:size], nil
}

// unpackChanges appends what a packed list holds to into.
func unpackChanges(into []gateway.Change, b []byte, first, last gateway.Token) ([]gateway.Change, error) {
	u, err := newUnpacker(b, first, last)
	if err != nil {
		return into, err
	}
	for len(u.rest) > 0 {
		t, encoded, err := u.next()
		if err != nil {
			return into, err
		}
		c := gateway.Change{Token: t, Delete: len(encoded) == 0}
		if !c.Delete {
			if c.Record, err = gateway.DecodeRecord(encoded); err != nil {
				return into, err
			}
		}
		into = append(into, c)
	}
	return into, nil
}

// unpackShard is unpackChanges for the value of a shard, which has no
// deletions and so many records. A shard without records has no value.
func unpackShard(into []gateway.Change, b []byte, id gateway.ShardID, records int) ([]gateway.Change, error) {
	before := len(into)
	first, last := id.Range()
	if b != nil {
		var err error
		if into, err = unpackChanges(into, b, first, last); err != nil {
			return into, fmt.Errorf("shard %d: %w", id, err)
		}
	}
	if n := len(into) - before; n != records {
		return into, fmt.Errorf("shard %d: %d records, its mark says %d", id, n, records)
	}
	for i := range into[before:] {
		if into[before+i].Delete {
			return into, fmt.Errorf("shard %d: a deletion among its records", id)
		}
	}
	return into, nil
}

// findPacked returns the record of one token in the value of its shard.
func findPacked(b []byte, t gateway.Token) (gateway.Record, bool, error) {
	if b == nil {
		return gateway.Record{}, false, nil
	}
	first, last := gateway.ShardOf(t).Range()
	u, err := newUnpacker(b, first, last)
	if err != nil {
		return gateway.Record{}, false, err
	}
	for len(u.rest) > 0 {
		token, encoded, err := u.next()
		if err != nil {
			return gateway.Record{}, false, err
		}
		if token == t {
			record, err := gateway.DecodeRecord(encoded)
			return record, err == nil, err
		}
		if token > t {
			break
		}
	}
	return gateway.Record{}, false, nil
}
