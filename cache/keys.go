package cache

import (
	"encoding/binary"
	"fmt"

	"gateline/gateway"
)

// The first byte of every key. A new space needs a new byte; none may be '!',
// which starts Badger's own keys.
const (
	spaceShard = 'h'
	spaceStep  = 'j'
	spaceMark  = 'm'
	spaceState = 's'
	spaceLocal = 'l'
)

// The lengths of the keys of shards, their marks among them, and of steps.
const (
	shardKeySize = 1 + 2
	stepKeySize  = 1 + 8
)

// The keys of the feed's state.
const (
	keyPosition = string(spaceState) + "position"
	keySchedule = string(spaceState) + "schedule"
	keyComplete = string(spaceState) + "complete"
	keyTerms    = string(spaceState) + "keys"
)

// shardKey is the key of a shard's value, markKey that of its mark.
func shardKey(id gateway.ShardID) []byte {
	return binary.BigEndian.AppendUint16([]byte{spaceShard}, uint16(id))
}

func markKey(id gateway.ShardID) []byte {
	return binary.BigEndian.AppendUint16([]byte{spaceMark}, uint16(id))
}

// shardOfMark is the inverse of markKey.
func shardOfMark(key []byte) (gateway.ShardID, error) {
	if len(key) == shardKeySize && key[0] == spaceMark {
		if id := binary.BigEndian.Uint16(key[1:]); id < gateway.Shards {
			return gateway.ShardID(id), nil
		}
	}
	return 0, fmt.Errorf("a key of %d bytes among the marks of shards", len(key))
}

// stepKey is the key of a step of the journal.
func stepKey(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{spaceStep}, n) }

// stepOf is the inverse of stepKey.
func stepOf(key []byte) (uint64, error) {
	if len(key) != stepKeySize || key[0] != spaceStep {
		return 0, fmt.Errorf("a key of %d bytes in the journal", len(key))
	}
	return binary.BigEndian.Uint64(key[1:]), nil
}

// positionSize is the length of an encoded position: epoch, number and
// watermark, 8 bytes big-endian each, and the hash.
const positionSize = 3*8 + len(gateway.Hash{})

func appendPosition(b []byte, p gateway.Position) []byte {
	b = binary.BigEndian.AppendUint64(b, p.Epoch)
	b = binary.BigEndian.AppendUint64(b, p.Number)
	b = binary.BigEndian.AppendUint64(b, uint64(p.Watermark))
	return append(b, p.Hash[:]...)
}

func decodePosition(b []byte) (gateway.Position, error) {
	if len(b) != positionSize {
		return gateway.Position{}, fmt.Errorf("a position of %d bytes, not %d", len(b), positionSize)
	}
	return gateway.Position{
		Epoch:     binary.BigEndian.Uint64(b),
		Number:    binary.BigEndian.Uint64(b[8:]),
		Watermark: int64(binary.BigEndian.Uint64(b[16:])),
		Hash:      gateway.Hash(b[24:]),
	}, nil
}

// termSize is the length of an encoded term: its first number, 8 bytes
// big-endian, and the key.
const termSize = 8 + len(gateway.FeedKey{})

func appendTerms(b []byte, terms []gateway.KeyTerm) []byte {
	for _, t := range terms {
		b = binary.BigEndian.AppendUint64(b, t.From)
		b = append(b, t.Key[:]...)
	}
	return b
}

func decodeTerms(b []byte) ([]gateway.KeyTerm, error) {
	if len(b)%termSize != 0 || len(b) > gateway.MaxKeyTerms*termSize {
		return nil, fmt.Errorf("terms of %d bytes, not up to %d of %d", len(b), gateway.MaxKeyTerms, termSize)
	}
	var terms []gateway.KeyTerm
	for ; len(b) > 0; b = b[termSize:] {
		terms = append(terms, gateway.KeyTerm{From: binary.BigEndian.Uint64(b), Key: gateway.FeedKey(b[8:termSize])})
	}
	return terms, validTerms(terms)
}

// validTerms refuses terms that are not in order.
func validTerms(terms []gateway.KeyTerm) error {
	if len(terms) == 0 || len(terms) > gateway.MaxKeyTerms {
		return fmt.Errorf("%d terms of the feed's keys, not 1 … %d", len(terms), gateway.MaxKeyTerms)
	}
	for i, t := range terms {
		if t.From == 0 || i > 0 && t.From <= terms[i-1].From {
			return fmt.Errorf("the terms of the feed's keys are not in order")
		}
	}
	return nil
}
