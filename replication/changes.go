package replication

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"gateline/gateway"
)

// maxChangesSize is the largest size in bytes of the changes of an entry: two
// counts, an outcome of their own for all, and 67 bits each, see distanceBits.
const maxChangesSize = 4 + gateway.MaxChanges*(1+gateway.RecordSize) + (gateway.MaxChanges*67+7)/8

// outcome is what a change makes of its token: in the top byte the size of the
// record, 0 for a deletion, and in the bytes below it the record. It sorts as
// its bytes do.
type outcome uint64

func outcomeOf(c *gateway.Change) outcome {
	if c.Delete {
		return 0
	}
	var room [1 + gateway.RecordSize]byte
	room[0] = byte(len(gateway.AppendRecord(room[1:1], c.Record)))
	return outcome(binary.BigEndian.Uint64(room[:]))
}

// append writes the outcome's size and record.
func (o outcome) append(b []byte) []byte {
	var room [8]byte
	binary.BigEndian.PutUint64(room[:], uint64(o))
	return append(b, room[:1+room[0]]...)
}

// tokenBits is the size of a token.
const tokenBits = 64

// distanceBits is the number of low bits that the distance of two out of n
// tokens is written with, where tokens differ in their low width bits only; what
// is above them is written in unary. Tokens are keyed hashes, so distances are
// about 2^width / n, and this is a Golomb-Rice code within some hundredths of a
// bit of its best. All the unary parts together have at most 2n bits of 1,
// whatever the tokens are, which bounds the size of what is packed.
func distanceBits(n int, width uint) uint { return width - uint(bits.Len(uint(n))) }

// indexBits is the number of bits that name one of n outcomes.
func indexBits(n int) uint { return uint(bits.Len(uint(n - 1))) }

func byToken(x, y gateway.Change) int {
	switch {
	case x.Token < y.Token:
		return -1
	case x.Token > y.Token:
		return 1
	}
	return 0
}

// appendChanges appends the section of an entry.
func appendChanges(b []byte, changes []gateway.Change) ([]byte, error) {
	if len(changes) == 0 {
		return b, nil
	}
	if len(changes) > gateway.MaxChanges {
		return b, fmt.Errorf("%w: %d changes, at most %d", ErrEntry, len(changes), gateway.MaxChanges)
	}
	if !slices.IsSortedFunc(changes, byToken) {
		changes = slices.Clone(changes)
		slices.SortFunc(changes, byToken)
	}
	all, distinct, err := outcomesOf(changes)
	if err != nil {
		return b, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(changes)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(distinct)))
	return pack(b, changes, all, distinct, tokenBits), nil
}

// outcomesOf returns the outcome of each change, and all that differ in
// ascending order. The changes are in the order of their tokens.
func outcomesOf(changes []gateway.Change) (all, distinct []outcome, err error) {
	all = make([]outcome, len(changes))
	for i := range changes {
		c := &changes[i]
		if i > 0 && c.Token == changes[i-1].Token {
			return nil, nil, errors.New("two changes of the same token")
		}
		if !c.Delete && !c.Record.Valid() {
			return nil, nil, fmt.Errorf("change %d has a field out of its range", i+1)
		}
		all[i] = outcomeOf(c)
	}
	distinct = slices.Clone(all)
	slices.Sort(distinct)
	return all, slices.Compact(distinct), nil
}

// pack writes the outcomes that differ, then for each change the distance of its
// token from the one before, less 1, and the place of its outcome among them. Of
// the tokens the low width bits are written; the others are all the same.
func pack(b []byte, changes []gateway.Change, all, distinct []outcome, width uint) []byte {
	for _, o := range distinct {
		b = o.append(b)
	}
	w := bitWriter{b: b}
	low, index := distanceBits(len(changes), width), indexBits(len(distinct))
	for i := range changes {
		distance := uint64(changes[i].Token) << (tokenBits - width) >> (tokenBits - width)
		if i > 0 {
			distance = uint64(changes[i].Token-changes[i-1].Token) - 1
		}
		w.unary(distance >> low)
		w.write(distance&(1<<low-1), low)
		place, _ := slices.BinarySearch(distinct, all[i])
		w.write(uint64(place), index)
	}
	return w.end()
}

// readChanges reads the section of an entry.
func readChanges(b []byte) ([]gateway.Change, []byte, error) {
	if len(b) < 4 {
		return nil, nil, fmt.Errorf("%w: cut short before the changes", ErrEntry)
	}
	n, m := int(binary.LittleEndian.Uint16(b)), int(binary.LittleEndian.Uint16(b[2:]))
	if n == 0 || n > gateway.MaxChanges || m == 0 || m > n {
		return nil, nil, fmt.Errorf("%w: %d changes with %d outcomes, not 1 … %d and no more outcomes than changes", ErrEntry, n, m, gateway.MaxChanges)
	}
	changes, rest, err := unpack(b[4:], n, m, 0, tokenBits)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	return changes, rest, nil
}

// unpack is the inverse of pack for n changes, at least 1, with m outcomes, at
// most n, the least possible token being first.
func unpack(b []byte, n, m int, first gateway.Token, width uint) ([]gateway.Change, []byte, error) {
	// A change takes more than a bit: what is not there is not allotted.
	if n/8 > len(b) {
		return nil, nil, fmt.Errorf("%d changes in %d bytes", n, len(b))
	}
	outcomes := make([]gateway.Change, m) // their tokens are not used
	var last outcome
	for i := range outcomes {
		o, size, err := readOutcome(b, &outcomes[i])
		if err == nil && i > 0 && o <= last {
			err = errors.New("not in ascending order")
		}
		if err != nil {
			return nil, nil, fmt.Errorf("outcome %d: %w", i+1, err)
		}
		last, b = o, b[size:]
	}
	return unpackTokens(b, n, outcomes, first, width)
}

// readOutcome fills c, apart from its token, from the start of b and returns
// the bytes it took.
func readOutcome(b []byte, c *gateway.Change) (outcome, int, error) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return 0, 0, errors.New("cut short")
	}
	size := 1 + int(b[0])
	if c.Delete = size == 1; c.Delete {
		return 0, size, nil
	}
	record, err := gateway.DecodeRecord(b[1:size])
	if err != nil {
		return 0, 0, err
	}
	c.Record = record
	return outcomeOf(c), size, nil
}

func unpackTokens(b []byte, n int, outcomes []gateway.Change, first gateway.Token, width uint) ([]gateway.Change, []byte, error) {
	r := bitReader{b: b}
	low, index := distanceBits(n, width), indexBits(len(outcomes))
	changes, used := make([]gateway.Change, n), make([]bool, len(outcomes))
	// The least token that may follow, and how far above it one may be.
	least, room := uint64(first), ^uint64(0)>>(tokenBits-width)
	for i := range changes {
		high := r.unary(room >> low)
		distance := high<<low | r.read(low)
		place := r.read(index)
		if high > room>>low || distance > room || place >= uint64(len(outcomes)) {
			return nil, nil, fmt.Errorf("change %d has a token or an outcome out of range", i+1)
		}
		changes[i] = outcomes[place]
		used[place] = true
		changes[i].Token = gateway.Token(least + distance)
		if room -= distance; room == 0 && i < n-1 {
			return nil, nil, fmt.Errorf("change %d has the greatest token and is not the last", i+1)
		}
		least, room = least+distance+1, room-1
	}
	rest, well := r.end()
	if !well || slices.Contains(used, false) {
		return nil, nil, errors.New("changes are cut short, have bits after their end, or leave an outcome out")
	}
	return changes, rest, nil
}
