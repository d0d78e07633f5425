package osdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// ErrRecord is wrapped where a record of the right length holds a value that
// the standard does not know; a PD answers it with NAKRecord.
var ErrRecord = errors.New("value out of range")

const (
	// Tick is the unit of the times of OUT, LED and BUZ.
	Tick = 100 * time.Millisecond

	outSize = 4
	ledSize = 14
	buzSize = 5

	textHead = 6
	// MaxText is the most characters that every PD with a display takes.
	MaxText = 32

	comSize    = 5
	keySetHead = 2
	ouiSize    = 3
)

// ticks converts to a count of Tick, rounded up, at most limit.
func ticks(d time.Duration, limit int64) int64 {
	return min(max(int64((d+Tick-1)/Tick), 0), limit)
}

func appendTicks16(b []byte, d time.Duration) []byte {
	return binary.LittleEndian.AppendUint16(b, uint16(ticks(d, 0xffff)))
}

func ticks8(d time.Duration) byte { return byte(ticks(d, 0xff)) }

func ofTicks(n int) time.Duration { return time.Duration(n) * Tick }

func ofTicks16(b []byte) time.Duration { return ofTicks(int(binary.LittleEndian.Uint16(b))) }

// records checks that data is one or more records of size bytes.
func records(data []byte, what string, size int) error {
	if len(data) == 0 || len(data)%size != 0 {
		return fmt.Errorf("%s of %d bytes, not a multiple of %d: %w", what, len(data), size, ErrLength)
	}
	return nil
}

// exactly checks the length of data of a fixed size.
func exactly(data []byte, what string, size int) error {
	if len(data) != size {
		return fmt.Errorf("%s of %d bytes instead of %d: %w", what, len(data), size, ErrLength)
	}
	return nil
}

// Com is the data of COMSET and of its answer COM: in the command what the CP
// wants, in the answer what the PD will use.
type Com struct {
	Address byte // 00..7E
	Baud    uint32
}

// AppendCom appends the data of COMSET or COM.
func AppendCom(b []byte, c Com) []byte {
	return binary.LittleEndian.AppendUint32(append(b, c.Address), c.Baud)
}

// ParseCom reads the data of COMSET or COM. The error wraps ErrLength or, with
// an address that no PD can have, ErrRecord.
func ParseCom(data []byte) (Com, error) {
	if err := exactly(data, "COM", comSize); err != nil {
		return Com{}, err
	}
	c := Com{Address: data[0], Baud: binary.LittleEndian.Uint32(data[1:])}
	if c.Address > MaxAddress {
		return Com{}, fmt.Errorf("COM address %d: %w", c.Address, ErrRecord)
	}
	return c, nil
}

// ValidBaud reports whether the standard knows the speed. Every PD has 9600.
func ValidBaud(baud uint32) bool {
	switch baud {
	case 9600, 19200, 38400, 57600, 115200, 230400:
		return true
	}
	return false
}

const keyTypeSCBK = 1

// AppendKeySet appends the data of KEYSET. It goes only into a session.
func AppendKeySet(b []byte, key Key) []byte {
	return append(append(b, keyTypeSCBK, byte(len(key))), key[:]...)
}

// ParseKeySet reads the data of KEYSET. The error wraps ErrLength or ErrRecord.
func ParseKeySet(data []byte) (Key, error) {
	if err := exactly(data, "KEYSET", keySetHead+len(Key{})); err != nil {
		return Key{}, err
	}
	if data[0] != keyTypeSCBK || int(data[1]) != len(Key{}) {
		return Key{}, fmt.Errorf("KEYSET key type %d of %d bytes: %w", data[0], data[1], ErrRecord)
	}
	return Key(data[keySetHead:]), nil
}

// AppendRequest appends the data of ID and of CAP: the standard form.
func AppendRequest(b []byte) []byte { return append(b, 0) }

// ParseRequest checks the data of ID and of CAP. The error wraps ErrLength or
// ErrRecord.
func ParseRequest(data []byte) error {
	if err := exactly(data, "request", 1); err != nil {
		return err
	}
	if data[0] != 0 {
		return fmt.Errorf("request for form %d: %w", data[0], ErrRecord)
	}
	return nil
}

// AppendRxSize appends the data of ACURXSIZE: the longest frame the CP takes.
func AppendRxSize(b []byte, size int) []byte {
	return binary.LittleEndian.AppendUint16(b, uint16(min(max(size, MinRxBuffer), MaxFrame)))
}

// ParseRxSize reads the data of ACURXSIZE. The error wraps ErrLength.
func ParseRxSize(data []byte) (int, error) {
	if err := exactly(data, "ACURXSIZE", 2); err != nil {
		return 0, err
	}
	return int(binary.LittleEndian.Uint16(data)), nil
}

// AppendKeepActive appends the data of KEEPACTIVE: how long the PD shall keep
// the card in its field, at most 65.535 s.
func AppendKeepActive(b []byte, d time.Duration) []byte {
	return binary.LittleEndian.AppendUint16(b, uint16(min(max(d.Milliseconds(), 0), 0xffff)))
}

// ParseKeepActive reads the data of KEEPACTIVE. The error wraps ErrLength.
func ParseKeepActive(data []byte) (time.Duration, error) {
	if err := exactly(data, "KEEPACTIVE", 2); err != nil {
		return 0, err
	}
	return time.Duration(binary.LittleEndian.Uint16(data)) * time.Millisecond, nil
}

// Mfg is the data of MFG, MFGREP, MFGSTATR and MFGERRR: a maker's own.
type Mfg struct {
	OUI  [3]byte
	Data []byte // points into what was parsed
}

// AppendMfg appends the data of a maker's command or reply.
func AppendMfg(b []byte, m *Mfg) []byte { return append(append(b, m.OUI[:]...), m.Data...) }

// ParseMfg reads the data of a maker's command or reply. The error wraps
// ErrLength.
func ParseMfg(data []byte) (Mfg, error) {
	if len(data) < ouiSize {
		return Mfg{}, fmt.Errorf("maker's data of %d bytes, fewer than %d: %w", len(data), ouiSize, ErrLength)
	}
	return Mfg{OUI: [3]byte(data), Data: data[ouiSize:]}, nil
}
