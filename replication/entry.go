package replication

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"gateline/gateway"
)

// ErrEntry is wrapped by every error about the form of an entry. Such an error
// shows no token and no record.
var ErrEntry = errors.New("bad feed entry")

// Entry is one message of the feed: a batch of record changes, a new schedule
// of policy documents, both, or neither (a heartbeat).
type Entry struct {
	// Epoch identifies one life of the feed, Number the entry's place in it,
	// from 1. Publisher.Publish assigns both.
	Epoch, Number uint64
	// Time is the centre's time in Unix microseconds, above zero. It grows
	// with every entry of an epoch; Publisher.Publish sees to that.
	Time int64
	// Source is the sequence of the last ledger message the entry covers; a
	// restarted publisher goes on from there. The feed gives it no meaning.
	Source uint64
	// Changes has at most gateway.MaxChanges elements, at most one per token.
	Changes []gateway.Change
	// Schedule replaces the policy documents a box holds; nil = unchanged.
	Schedule *gateway.Schedule
}

// entryVersion is the first byte of an entry. Signatures and the hash of the
// entry before will come with a version of their own.
const entryVersion = 1

// Sections an entry may have, one bit each in its second byte.
const (
	sectionChanges  = 1 << 0
	sectionSchedule = 1 << 1
	sectionsKnown   = sectionChanges | sectionSchedule
)

const (
	headerSize = 2 + 4*8
	// minChangeSize is a deletion whose token is one byte above the last.
	minChangeSize = 2
	maxChangeSize = 1 + 8 + gateway.RecordSize
	// MaxEntrySize is the largest size of an encoded entry in bytes.
	MaxEntrySize = headerSize + 2 + gateway.MaxChanges*maxChangeSize + 4 + gateway.MaxScheduleSize
)

// AppendEntry appends the encoded entry to b (the format is in DESIGN.md).
// Changes may come in any order; they are written in the order of their tokens
// and e is left as it is. A second change of the same token, a field out of its
// range or a schedule that does not validate is refused with an error that
// wraps ErrEntry; b is then returned as it was.
func AppendEntry(b []byte, e *Entry) ([]byte, error) {
	if e.Epoch == 0 || e.Number == 0 || e.Time <= 0 {
		return b, fmt.Errorf("%w: epoch, number or time is not above zero", ErrEntry)
	}
	out := append(b, entryVersion, sectionsOf(e))
	out = binary.LittleEndian.AppendUint64(out, e.Epoch)
	out = binary.LittleEndian.AppendUint64(out, e.Number)
	out = binary.LittleEndian.AppendUint64(out, uint64(e.Time))
	out = binary.LittleEndian.AppendUint64(out, e.Source)
	out, err := appendChanges(out, e.Changes)
	if err == nil {
		out, err = appendSchedule(out, e.Schedule)
	}
	if err != nil {
		return b, err
	}
	return out, nil
}

func sectionsOf(e *Entry) byte {
	var sections byte
	if len(e.Changes) > 0 {
		sections |= sectionChanges
	}
	if e.Schedule != nil {
		sections |= sectionSchedule
	}
	return sections
}

func appendChanges(b []byte, changes []gateway.Change) ([]byte, error) {
	if len(changes) == 0 {
		return b, nil
	}
	if len(changes) > gateway.MaxChanges {
		return b, fmt.Errorf("%w: %d changes, at most %d", ErrEntry, len(changes), gateway.MaxChanges)
	}
	byToken := func(x, y gateway.Change) int {
		switch {
		case x.Token < y.Token:
			return -1
		case x.Token > y.Token:
			return 1
		}
		return 0
	}
	if !slices.IsSortedFunc(changes, byToken) {
		changes = slices.Clone(changes)
		slices.SortFunc(changes, byToken)
	}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(changes)))
	var last gateway.Token
	for i := range changes {
		c := &changes[i]
		if i > 0 && c.Token == last {
			return b, fmt.Errorf("%w: two changes of the same token", ErrEntry)
		}
		if !c.Delete && !c.Record.Valid() {
			return b, fmt.Errorf("%w: change %d has a field out of its range", ErrEntry, i+1)
		}
		b = appendChange(b, uint64(c.Token-last), c)
		last = c.Token
	}
	return b, nil
}

// appendChange writes the head byte, the distance from the token before in as
// few bytes as it needs, and the record.
func appendChange(b []byte, delta uint64, c *gateway.Change) []byte {
	at := len(b)
	b = append(b, 0)
	size := byte(0)
	for {
		b = append(b, byte(delta))
		if delta >>= 8; delta == 0 {
			break
		}
		size++
	}
	record := len(b)
	if !c.Delete {
		b = gateway.AppendRecord(b, c.Record)
	}
	b[at] = size | byte((len(b)-record+1)/2)<<3
	return b
}

func appendSchedule(b []byte, s *gateway.Schedule) ([]byte, error) {
	if s == nil {
		return b, nil
	}
	text, err := gateway.EncodeSchedule(s)
	if err == nil {
		// What a box would refuse must not get into the feed, where it would
		// stop every box; so it is read back as a box reads it.
		_, err = decodeSchedule(text)
	}
	if err != nil {
		return b, fmt.Errorf("%w: schedule: %w", ErrEntry, err)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
	return append(b, text...), nil
}

// DecodeEntry is the inverse of AppendEntry. It accepts nothing that
// AppendEntry does not write: what it accepts encodes to the same bytes. The
// error wraps ErrEntry. The result shares no memory with b.
func DecodeEntry(b []byte) (Entry, error) {
	if len(b) < headerSize {
		return Entry{}, fmt.Errorf("%w: %d bytes, a header has %d", ErrEntry, len(b), headerSize)
	}
	if b[0] != entryVersion {
		return Entry{}, fmt.Errorf("%w: version %d, this program reads version %d; update the program", ErrEntry, b[0], entryVersion)
	}
	sections := b[1]
	if sections&^sectionsKnown != 0 {
		return Entry{}, fmt.Errorf("%w: unknown sections %#02x", ErrEntry, sections)
	}
	e := Entry{
		Epoch:  binary.LittleEndian.Uint64(b[2:]),
		Number: binary.LittleEndian.Uint64(b[10:]),
		Time:   int64(binary.LittleEndian.Uint64(b[18:])),
		Source: binary.LittleEndian.Uint64(b[26:]),
	}
	if e.Epoch == 0 || e.Number == 0 || e.Time <= 0 {
		return Entry{}, fmt.Errorf("%w: epoch, number or time is not above zero", ErrEntry)
	}
	rest, err := b[headerSize:], error(nil)
	if sections&sectionChanges != 0 {
		e.Changes, rest, err = readChanges(rest)
	}
	if err == nil && sections&sectionSchedule != 0 {
		e.Schedule, rest, err = readSchedule(rest)
	}
	if err == nil && len(rest) != 0 {
		err = fmt.Errorf("%w: %d bytes after the end", ErrEntry, len(rest))
	}
	if err != nil {
		return Entry{}, err
	}
	return e, nil
}

func readChanges(b []byte) ([]gateway.Change, []byte, error) {
	if len(b) < 2 {
		return nil, nil, fmt.Errorf("%w: cut short before the changes", ErrEntry)
	}
	n := int(binary.LittleEndian.Uint16(b))
	b = b[2:]
	if n == 0 || n > gateway.MaxChanges || n*minChangeSize > len(b) {
		return nil, nil, fmt.Errorf("%w: %d changes in %d bytes, not 1 … %d", ErrEntry, n, len(b), gateway.MaxChanges)
	}
	changes := make([]gateway.Change, n)
	var last gateway.Token
	for i := range changes {
		size, err := readChange(b, i == 0, last, &changes[i])
		if err != nil {
			return nil, nil, fmt.Errorf("change %d: %w", i+1, err)
		}
		last, b = changes[i].Token, b[size:]
	}
	return changes, b, nil
}

// readChange fills c from the start of b and returns the bytes it took.
func readChange(b []byte, first bool, last gateway.Token, c *gateway.Change) (int, error) {
	if len(b) == 0 {
		return 0, fmt.Errorf("%w: cut short", ErrEntry)
	}
	deltaSize, recordCode := int(b[0]&7)+1, int(b[0]>>3)
	recordSize := max(0, 2*recordCode-1)
	size := 1 + deltaSize + recordSize
	if recordSize > gateway.RecordSize || len(b) < size {
		return 0, fmt.Errorf("%w: bad head byte, or cut short", ErrEntry)
	}
	var delta uint64
	for i := deltaSize; i > 0; i-- {
		delta = delta<<8 | uint64(b[i])
	}
	switch {
	case deltaSize > 1 && b[deltaSize] == 0:
		return 0, fmt.Errorf("%w: a token is not in its shortest form", ErrEntry)
	case !first && delta == 0, uint64(last)+delta < uint64(last):
		return 0, fmt.Errorf("%w: tokens are not in ascending order", ErrEntry)
	}
	c.Token = last + gateway.Token(delta)
	if c.Delete = recordCode == 0; c.Delete {
		return size, nil
	}
	record, err := gateway.DecodeRecord(b[1+deltaSize : size])
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	c.Record = record
	return size, nil
}

func readSchedule(b []byte) (*gateway.Schedule, []byte, error) {
	if len(b) < 4 {
		return nil, nil, fmt.Errorf("%w: cut short before the schedule", ErrEntry)
	}
	n := uint64(binary.LittleEndian.Uint32(b))
	b = b[4:]
	if n > gateway.MaxScheduleSize || n > uint64(len(b)) {
		return nil, nil, fmt.Errorf("%w: schedule of %d bytes, %d left, at most %d allowed", ErrEntry, n, len(b), gateway.MaxScheduleSize)
	}
	s, err := decodeSchedule(b[:n])
	if err != nil {
		return nil, nil, fmt.Errorf("%w: schedule: %w", ErrEntry, err)
	}
	return s, b[n:], nil
}

// decodeSchedule reads the one form that EncodeSchedule writes.
func decodeSchedule(text []byte) (*gateway.Schedule, error) {
	s, err := gateway.DecodeSchedule(text)
	if err != nil {
		return nil, err
	}
	again, err := gateway.EncodeSchedule(s)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, text) {
		return nil, errors.New("not in its canonical form")
	}
	return s, nil
}
