package gateway

import (
	"errors"
	"fmt"
	"io"
)

// Class is a person's health class (GATE-05). The zero Class is normal: it
// opens nothing by itself, because a test must be on record too.
type Class uint8

const (
	ClassNormal Class = 0
	ClassPopup  Class = 1
	ClassYellow Class = 2
	ClassRed    Class = 3

	classEnd Class = 4
)

// String returns the class's name in commands and documents.
func (c Class) String() string {
	switch c {
	case ClassNormal:
		return "normal"
	case ClassPopup:
		return "popup"
	case ClassYellow:
		return "yellow"
	case ClassRed:
		return "red"
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

// ParseClass reads a class's name.
func ParseClass(s string) (Class, error) {
	for c := ClassNormal; c < classEnd; c++ {
		if s == c.String() {
			return c, nil
		}
	}
	return 0, fmt.Errorf("class is not one of normal, popup, yellow, red")
}

// Flags are a record's further properties; none of them decides a verdict.
type Flags uint8

const (
	// FlagConcession asks the gate to light its concession lamp (GATE-10).
	FlagConcession Flags = 1 << 0

	flagsKnown = FlagConcession
)

// Record is what a box holds for one token. A present record means that the
// credential is bound (upgraded); the zero Record is a bound person without a
// test on record.
//
// A Record is a health status: every fmt verb hides it.
type Record struct {
	Class Class
	Flags Flags
	// Anchor is the day from which the age of the latest negative test is
	// counted; 0 = no test on record.
	Anchor Day
	// HoldThrough is the last day on which a pending result keeps the record
	// valid (IMP-15); 0 = none.
	HoldThrough Day
	// AnchorMinute is the minute of the anchor day, 0 … 1439, at which the
	// sample was taken. The centre fills it only where the policy counts
	// rolling hours (PRV-02); 0 means the start of the day.
	AnchorMinute uint16
}

// Format hides the record, whatever the verb.
func (r Record) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "record:hidden") }

// MarshalText hides the record from JSON and structured logs.
func (Record) MarshalText() ([]byte, error) { return []byte("record:hidden"), nil }

// RecordSize is the largest size in bytes of an encoded record.
const RecordSize = 7

// ErrRecord is wrapped by errors about an encoded record. It never shows the
// record.
var ErrRecord = errors.New("bad record")

// Valid reports whether every field is in its range.
func (r Record) Valid() bool {
	return r.Class < classEnd && r.Flags&^flagsKnown == 0 && r.Anchor >= 0 &&
		r.HoldThrough >= 0 && r.AnchorMinute < 24*60 && (r.Anchor != 0 || r.AnchorMinute == 0)
}

// AppendRecord appends the encoded record to b: class in the high and flags in
// the low half of byte 0, then anchor day, hold-through day and anchor minute,
// each little-endian in two bytes. Trailing fields that are zero are left out,
// so a record takes 1, 3, 5 or 7 bytes.
func AppendRecord(b []byte, r Record) []byte {
	b = append(b, byte(r.Class)<<4|byte(r.Flags))
	fields := [3]uint16{uint16(r.Anchor), uint16(r.HoldThrough), r.AnchorMinute}
	n := len(fields)
	for n > 0 && fields[n-1] == 0 {
		n--
	}
	for _, f := range fields[:n] {
		b = append(b, byte(f), byte(f>>8))
	}
	return b
}

// DecodeRecord is the inverse of AppendRecord; it accepts nothing that
// AppendRecord does not write. The error wraps ErrRecord.
func DecodeRecord(b []byte) (Record, error) {
	if len(b) == 0 || len(b) > RecordSize || len(b)%2 == 0 {
		return Record{}, fmt.Errorf("%w: %d bytes", ErrRecord, len(b))
	}
	var fields [3]uint16
	for i := range (len(b) - 1) / 2 {
		fields[i] = uint16(b[1+2*i]) | uint16(b[2+2*i])<<8
	}
	if n := (len(b) - 1) / 2; n > 0 && fields[n-1] == 0 {
		return Record{}, fmt.Errorf("%w: not in its shortest form", ErrRecord)
	}
	r := Record{
		Class: Class(b[0] >> 4), Flags: Flags(b[0] & 0x0f),
		Anchor: Day(fields[0]), HoldThrough: Day(fields[1]), AnchorMinute: fields[2],
	}
	if !r.Valid() {
		return Record{}, fmt.Errorf("%w: a field is out of its range", ErrRecord)
	}
	return r, nil
}
