package cache

import (
	"encoding/binary"
	"fmt"

	"gateline/gateway"
)

// The first byte of every key. A new space needs a new byte; none may be '!',
// which starts Badger's own keys.
const (
	spaceRecord = 'r'
	spaceState  = 's'
	spaceLocal  = 'l'
)

// recordKeySize is the length of a record's key.
const recordKeySize = 1 + 8

// The keys of the feed's state.
const (
	keyPosition = string(spaceState) + "position"
	keySchedule = string(spaceState) + "schedule"
	keyComplete = string(spaceState) + "complete"
)

func appendRecordKey(b []byte, t gateway.Token) []byte {
	return binary.BigEndian.AppendUint64(append(b, spaceRecord), uint64(t))
}

// tokenOf is the inverse of appendRecordKey.
func tokenOf(key []byte) (gateway.Token, error) {
	if len(key) != recordKeySize || key[0] != spaceRecord {
		return 0, fmt.Errorf("a key of %d bytes among the records", len(key))
	}
	return gateway.Token(binary.BigEndian.Uint64(key[1:])), nil
}

// positionSize is the length of an encoded position: epoch, number and
// watermark, 8 bytes big-endian each.
const positionSize = 3 * 8

func appendPosition(b []byte, p gateway.Position) []byte {
	b = binary.BigEndian.AppendUint64(b, p.Epoch)
	b = binary.BigEndian.AppendUint64(b, p.Number)
	return binary.BigEndian.AppendUint64(b, uint64(p.Watermark))
}

func decodePosition(b []byte) (gateway.Position, error) {
	if len(b) != positionSize {
		return gateway.Position{}, fmt.Errorf("a position of %d bytes, not %d", len(b), positionSize)
	}
	return gateway.Position{
		Epoch:     binary.BigEndian.Uint64(b),
		Number:    binary.BigEndian.Uint64(b[8:]),
		Watermark: int64(binary.BigEndian.Uint64(b[16:])),
	}, nil
}
