package osdp

import (
	"encoding/binary"
	"fmt"
	"slices"
)

const (
	pdidSize = 12
	capSize  = 3

	// MaxReadBits is the most bits that a card read has.
	MaxReadBits = 1024

	readHead   = 4
	fmtHead    = 3
	keypadHead = 2
)

// PDID says who a PD is.
type PDID struct {
	OUI            [3]byte // the maker's
	Model, Version byte
	Serial         uint32
	Firmware       [3]byte // major, minor, build
}

// AppendPDID appends the data of PDID.
func AppendPDID(b []byte, id PDID) []byte {
	b = append(append(b, id.OUI[:]...), id.Model, id.Version)
	b = binary.LittleEndian.AppendUint32(b, id.Serial)
	return append(b, id.Firmware[:]...)
}

// ParsePDID reads the data of PDID. The error wraps ErrLength.
func ParsePDID(data []byte) (PDID, error) {
	if err := exactly(data, "PDID", pdidSize); err != nil {
		return PDID{}, err
	}
	return PDID{
		OUI: [3]byte(data), Model: data[3], Version: data[4],
		Serial: binary.LittleEndian.Uint32(data[5:]), Firmware: [3]byte(data[9:]),
	}, nil
}

// CUID is the client's identifier in a handshake as the standard is read: the
// first 8 bytes of the PDID. Makers differ.
func (id PDID) CUID() [8]byte {
	var store [pdidSize]byte
	return [8]byte(AppendPDID(store[:0], id))
}

// LocalStatus is the data of LSTATR. Many PDs report Power once, at the first
// POLL after they were switched on.
type LocalStatus struct {
	Tamper bool
	Power  bool // power trouble
}

// AppendLocalStatus appends the data of LSTATR.
func AppendLocalStatus(b []byte, s LocalStatus) []byte {
	b = append(b, 0, 0)
	if s.Tamper {
		b[len(b)-2] = 1
	}
	if s.Power {
		b[len(b)-1] = 1
	}
	return b
}

// ParseLocalStatus reads the data of LSTATR. The error wraps ErrLength.
func ParseLocalStatus(data []byte) (LocalStatus, error) {
	if err := exactly(data, "LSTATR", 2); err != nil {
		return LocalStatus{}, err
	}
	return LocalStatus{Tamper: data[0] != 0, Power: data[1] != 0}, nil
}

// What RSTATR says of a reader that is attached to the PD.
const (
	ReaderNormal       = 0
	ReaderNotConnected = 1
	ReaderTamper       = 2
)

// ParseStates reads the data of ISTATR, OSTATR and RSTATR, one byte each for at
// most 255 inputs, outputs or readers; it points into data. Supervised inputs
// have more values than 0 and 1. The error wraps ErrLength.
func ParseStates(data []byte) ([]byte, error) {
	if len(data) == 0 || len(data) > 0xff {
		return nil, fmt.Errorf("status of %d inputs, outputs or readers: %w", len(data), ErrLength)
	}
	return data, nil
}

// ReadFormat is how the bits of a read are to be understood.
type ReadFormat byte

const (
	ReadBits    ReadFormat = 0 // a bit string
	ReadWiegand ReadFormat = 1 // parity, data, parity
)

// Read is the data of RAW: what a card said. Every fmt verb hides it.
type Read struct {
	Reader byte
	Coding ReadFormat
	Bits   int // at most MaxReadBits
	// Data holds the bits from the most significant bit of the first byte on;
	// what the last byte has more means nothing. It points into what was parsed.
	Data []byte
	// Formatted says that it came as the characters of FMT, not as the bits of
	// RAW.
	Formatted bool
}

// Format hides the read, whatever the verb.
func (r Read) Format(f fmt.State, _ rune) { hide(f, "read") }

// AppendRead appends the data of RAW.
func AppendRead(b []byte, r *Read) []byte {
	b = append(b, r.Reader, byte(r.Coding))
	b = binary.LittleEndian.AppendUint16(b, uint16(r.Bits))
	return append(b, r.Data...)
}

// ParseRead reads the data of RAW. There must be as many bytes as the bits
// need. The error wraps ErrLength.
func ParseRead(data []byte) (Read, error) {
	if len(data) < readHead {
		return Read{}, fmt.Errorf("RAW of %d bytes: %w", len(data), ErrLength)
	}
	r := Read{Reader: data[0], Coding: ReadFormat(data[1]), Bits: int(binary.LittleEndian.Uint16(data[2:])), Data: data[readHead:]}
	if r.Bits > MaxReadBits || len(r.Data) != (r.Bits+7)/8 {
		return Read{}, fmt.Errorf("RAW of %d bits in %d bytes: %w", r.Bits, len(r.Data), ErrLength)
	}
	return r, nil
}

// Formatted is the data of FMT, a deprecated form of a card read that the
// standard leaves ill defined. Every fmt verb hides it.
type Formatted struct {
	Reader     byte
	Backward   bool
	Characters []byte // points into what was parsed
}

// Format hides the read, whatever the verb.
func (r Formatted) Format(f fmt.State, _ rune) { hide(f, "read") }

// read returns the characters in the order in which they stand on the card,
// eight bits each.
func (r *Formatted) read() Read {
	c := r.Characters
	if r.Backward {
		c = slices.Clone(c)
		slices.Reverse(c)
	}
	return Read{Reader: r.Reader, Bits: 8 * len(c), Data: c, Formatted: true}
}

// AppendFormatted appends the data of FMT; at most 255 characters go.
func AppendFormatted(b []byte, r *Formatted) []byte {
	direction := byte(0)
	if r.Backward {
		direction = 1
	}
	c := r.Characters[:min(len(r.Characters), 0xff)]
	return append(append(b, r.Reader, direction, byte(len(c))), c...)
}

// ParseFormatted reads the data of FMT. The error wraps ErrLength or ErrRecord.
func ParseFormatted(data []byte) (Formatted, error) {
	if len(data) < fmtHead || int(data[2]) != len(data)-fmtHead {
		return Formatted{}, fmt.Errorf("FMT of %d bytes: %w", len(data), ErrLength)
	}
	if data[1] > 1 {
		return Formatted{}, fmt.Errorf("FMT direction %d: %w", data[1], ErrRecord)
	}
	return Formatted{Reader: data[0], Backward: data[1] == 1, Characters: data[fmtHead:]}, nil
}

// What KEYPAD sends for the keys that are not digits.
const (
	KeyClear = 0x7f // also *
	KeyEnter = 0x0d // also #
)

// Keypad is the data of KEYPAD: '0'..'9', KeyClear, KeyEnter, and 'A'..'D' for
// F1..F4. Every fmt verb hides it.
type Keypad struct {
	Reader byte
	Keys   []byte // points into what was parsed
}

// Format hides the keys, whatever the verb.
func (k Keypad) Format(f fmt.State, _ rune) { hide(f, "keypad") }

// AppendKeypad appends the data of KEYPAD; at most 255 keys go.
func AppendKeypad(b []byte, k *Keypad) []byte {
	keys := k.Keys[:min(len(k.Keys), 0xff)]
	return append(append(b, k.Reader, byte(len(keys))), keys...)
}

// ParseKeypad reads the data of KEYPAD. The error wraps ErrLength.
func ParseKeypad(data []byte) (Keypad, error) {
	if len(data) < keypadHead || int(data[1]) != len(data)-keypadHead {
		return Keypad{}, fmt.Errorf("KEYPAD of %d bytes: %w", len(data), ErrLength)
	}
	return Keypad{Reader: data[0], Keys: data[keypadHead:]}, nil
}

// NAK is a refusal. Detail is empty with most PDs; with NAKRecord it may hold
// one completion code for each record. It points into what was parsed.
type NAK struct {
	Code   NAKCode
	Detail []byte
}

// AppendNAK appends the data of NAK.
func AppendNAK(b []byte, n *NAK) []byte { return append(append(b, byte(n.Code)), n.Detail...) }

// ParseNAK reads the data of NAK. The error wraps ErrLength.
func ParseNAK(data []byte) (NAK, error) {
	if len(data) == 0 {
		return NAK{}, fmt.Errorf("NAK without a reason: %w", ErrLength)
	}
	return NAK{Code: NAKCode(data[0]), Detail: data[1:]}, nil
}

// CCrypt is the data of CCRYPT, the PD's answer to a challenge. The cryptogram
// is worth nothing outside its handshake.
type CCrypt struct {
	CUID       [8]byte
	Random     [8]byte
	Cryptogram Key
}

// AppendCCrypt appends the data of CCRYPT.
func AppendCCrypt(b []byte, c *CCrypt) []byte {
	b = append(append(b, c.CUID[:]...), c.Random[:]...)
	return append(b, c.Cryptogram[:]...)
}

// ParseCCrypt reads the data of CCRYPT. The error wraps ErrLength.
func ParseCCrypt(data []byte) (CCrypt, error) {
	if err := exactly(data, "CCRYPT", 32); err != nil {
		return CCrypt{}, err
	}
	return CCrypt{CUID: [8]byte(data), Random: [8]byte(data[8:]), Cryptogram: Key(data[16:])}, nil
}
