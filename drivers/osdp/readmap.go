package osdp

import (
	"errors"
	"fmt"
	"strings"

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
	// ReadTUnionASCII: ASCII digits, eight bits each, of a T-Union number.
	ReadTUnionASCII ReadAs = 4
)

var readNames = [...]string{ReadTUnion: "tunion_bcd", ReadChip: "chip", ReadRide: "ride_ascii", ReadTUnionASCII: "tunion_ascii"}

// ReadNames returns the names in a configuration.
func ReadNames() []string { return readNames[1:] }

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
	return fmt.Errorf("%.40q is not one of %s", text, strings.Join(ReadNames(), ", "))
}

// ReadRule says what a read of so many bits is.
type ReadRule struct {
	// Bits is the exact length of the read; 0 = any length that fits, which
	// only ride codes have.
	Bits int
	As   ReadAs
	// Formatted: the rule is for reads that come as characters (FMT), which the
	// standard leaves ill defined and a line has to ask for.
	Formatted bool
}

// ReadMap turns what readers read into credentials: the first rule that fits
// the number of bits decides.
type ReadMap []ReadRule

// DefaultReadMap is 80 bits of a T-Union number, 64 of a chip number, anything
// else a ride-code account.
func DefaultReadMap() ReadMap {
	return ReadMap{{Bits: 80, As: ReadTUnion}, {Bits: 64, As: ReadChip}, {As: ReadRide}}
}

// Validate reports every rule that cannot be.
func (m ReadMap) Validate() error {
	var faults []error
	if len(m) == 0 {
		faults = append(faults, errors.New("a map of reads without a rule: every rider would go to the manual lane"))
	}
	for i, r := range m {
		if err := r.validate(); err != nil {
			faults = append(faults, fmt.Errorf("rule %d: %w", i+1, err))
		}
		for j, other := range m[:i] {
			switch {
			case other.Formatted != r.Formatted:
			case other.Bits == r.Bits:
				faults = append(faults, fmt.Errorf("rule %d: rule %d takes %d bits already", i+1, j+1, r.Bits))
			case other.Bits == 0:
				faults = append(faults, fmt.Errorf("rule %d: rule %d takes every length already; put the rule without bits last", i+1, j+1))
			}
		}
	}
	return errors.Join(faults...)
}

func (r ReadRule) validate() error {
	var lengths string
	fits := false
	switch r.As {
	case ReadTUnion:
		lengths, fits = "76 or 80 bits", r.Bits == 76 || r.Bits == 80
	case ReadTUnionASCII:
		lengths, fits = "152 or 160 bits", r.Bits == 152 || r.Bits == 160
	case ReadChip:
		lengths, fits = "64 bits", r.Bits == 64
	case ReadRide:
		lengths = fmt.Sprintf("8 bits a digit, %d to %d digits", gateway.RideIssuerDigits+1, gateway.MaxDigits)
		fits = r.Bits == 0 || r.Bits%8 == 0 && r.Bits > 8*gateway.RideIssuerDigits && r.Bits <= 8*gateway.MaxDigits
	default:
		return errors.New("as is missing")
	}
	switch {
	case !fits:
		return fmt.Errorf("%s has %s, not %d", r.As, lengths, r.Bits)
	case r.Formatted && !r.As.ascii():
		return fmt.Errorf("%s is not made of characters: formatted goes with tunion_ascii and ride_ascii", r.As)
	}
	return nil
}

// ascii reports whether digits come as characters.
func (r ReadAs) ascii() bool { return r == ReadRide || r == ReadTUnionASCII }

// Credential returns what was read, the zero Credential where no rule fits or
// the digits are not of the scheme (R25).
func (m ReadMap) Credential(r Read) gateway.Credential {
	for _, rule := range m {
		if rule.Bits != r.Bits && rule.Bits != 0 || rule.Formatted != r.Formatted {
			continue
		}
		var store [gateway.MaxDigits]byte
		digits, scheme := store[:0], gateway.SchemeRide
		if rule.As == ReadTUnion || rule.As == ReadTUnionASCII {
			scheme = gateway.SchemeTUnion
		}
		if rule.As.ascii() {
			if r.Bits%8 != 0 || r.Bits/8 > len(store) {
				return gateway.Credential{}
			}
			digits = append(digits, r.Data[:r.Bits/8]...)
		} else {
			for i := range r.Bits / 4 {
				digits = append(digits, "0123456789ABCDEF"[r.Data[i/2]>>(4*(1-i%2))&0x0f])
			}
			if rule.As == ReadChip {
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
