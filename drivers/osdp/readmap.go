package osdp

import (
	"errors"
	"fmt"

	"gateline/gateway"
)

// ReadAs says what the bits of a card read are.
type ReadAs uint8

const (
	// ReadTUnion: decimal digits, four bits each, of a T-Union number.
	ReadTUnion ReadAs = 1
	// ReadChip: hexadecimal digits, four bits each, of a legacy chip number.
	ReadChip ReadAs = 2
	// ReadRide: ASCII digits, eight bits each, of a ride-code account.
	ReadRide ReadAs = 3
)

var readNames = [...]string{ReadTUnion: "tunion_bcd", ReadChip: "chip", ReadRide: "ride_ascii"}

// String returns the name in a configuration.
func (r ReadAs) String() string {
	if r > 0 && int(r) < len(readNames) {
		return readNames[r]
	}
	return fmt.Sprintf("invalid(%d)", uint8(r))
}

// UnmarshalText reads the name in a configuration.
func (r *ReadAs) UnmarshalText(text []byte) error {
	for v, name := range readNames {
		if name != "" && name == string(text) {
			*r = ReadAs(v)
			return nil
		}
	}
	return fmt.Errorf("%.40q is not one of tunion_bcd, chip, ride_ascii", text)
}

// ReadRule says what a read of so many bits is.
type ReadRule struct {
	// Bits is the exact length of the read; 0 = any length that fits, which
	// only ride codes have.
	Bits int
	As   ReadAs
}

// ReadMap turns what readers read into credentials: the first rule that fits
// the number of bits decides.
type ReadMap []ReadRule

// DefaultReadMap is 80 bits of a T-Union number, 64 of a chip number, anything
// else a ride-code account.
func DefaultReadMap() ReadMap {
	return ReadMap{{80, ReadTUnion}, {64, ReadChip}, {0, ReadRide}}
}

// Validate reports every rule that cannot be.
func (m ReadMap) Validate() error {
	var faults []error
	if len(m) == 0 {
		faults = append(faults, errors.New("a map of reads without a rule: every rider would go to the manual lane"))
	}
	for i, r := range m {
		switch {
		case r.As == ReadTUnion && (r.Bits == 76 || r.Bits == 80), r.As == ReadChip && r.Bits == 64,
			r.As == ReadRide && (r.Bits == 0 || r.Bits%8 == 0 && r.Bits > 8*gateway.RideIssuerDigits && r.Bits <= 8*gateway.MaxDigits):
		case r.As == ReadTUnion:
			faults = append(faults, fmt.Errorf("rule %d: tunion_bcd has 76 or 80 bits, not %d", i+1, r.Bits))
		case r.As == ReadChip:
			faults = append(faults, fmt.Errorf("rule %d: chip has 64 bits, not %d", i+1, r.Bits))
		case r.As == ReadRide:
			faults = append(faults, fmt.Errorf("rule %d: ride_ascii has 8 bits a digit, %d to %d digits, not %d bits", i+1, gateway.RideIssuerDigits+1, gateway.MaxDigits, r.Bits))
		default:
			faults = append(faults, fmt.Errorf("rule %d: as is missing", i+1))
		}
		for j, other := range m[:i] {
			if other.Bits == r.Bits {
				faults = append(faults, fmt.Errorf("rule %d: rule %d takes %d bits already", i+1, j+1, r.Bits))
			}
		}
	}
	return errors.Join(faults...)
}

// Credential returns what was read, the zero Credential where no rule fits or
// the digits are not of the scheme (R25).
func (m ReadMap) Credential(r Read) gateway.Credential {
	for _, rule := range m {
		if rule.Bits != r.Bits && rule.Bits != 0 {
			continue
		}
		var store [gateway.MaxDigits]byte
		digits, scheme := store[:0], gateway.SchemeRide
		if rule.As == ReadRide {
			if r.Bits%8 != 0 || r.Bits/8 > len(store) {
				return gateway.Credential{}
			}
			digits = append(digits, r.Data[:r.Bits/8]...)
		} else {
			for i := range r.Bits / 4 {
				digits = append(digits, "0123456789ABCDEF"[r.Data[i/2]>>(4*(1-i%2))&0x0f])
			}
			if scheme = gateway.SchemeTUnion; rule.As == ReadChip {
				scheme = gateway.SchemeChip
			}
		}
		c, err := gateway.NewCredential(scheme, digits)
		if err != nil {
			return gateway.Credential{}
		}
		return c
	}
	return gateway.Credential{}
}
