package gateway

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// Scheme says which numbering a credential belongs to (NUM-03). The value is
// the scheme byte of the gate protocols; it never changes meaning.
type Scheme uint8

const (
	// SchemeNone marks a credential that no reader could make sense of.
	SchemeNone Scheme = 0
	// SchemeTUnion is the 19-digit number of a T-Union card, physical, phone
	// NFC or wearable (NUM-01).
	SchemeTUnion Scheme = 1
	// SchemeChip is the 16-hex-digit chip number of a legacy card (NUM-03).
	SchemeChip Scheme = 2
	// SchemeRide is a ride-code account: a 4-digit issuer code followed by an
	// account of 1 to 20 digits (RC-01, RC-02).
	SchemeRide Scheme = 3
)

// MaxDigits is the length of the longest canonical number of any scheme.
const MaxDigits = 24

// RideIssuerDigits is the length of the issuer code that starts the number of
// a ride-code account.
const RideIssuerDigits = 4

// ErrCredential is wrapped by every error about the form of a credential. Such
// an error names the scheme, the length and the position of what is wrong, and
// never the number (E105).
var ErrCredential = errors.New("bad credential")

// String returns the scheme's name as it stands in the text form of a
// credential.
func (s Scheme) String() string {
	switch s {
	case SchemeTUnion:
		return "tunion"
	case SchemeChip:
		return "chip"
	case SchemeRide:
		return "ride"
	}
	return "none"
}

// Credential is anything that can be presented at a gate, in canonical form:
// (scheme, number), NUM-03. It is comparable and holds no pointer. The zero
// Credential is an unreadable or unsupported one (row 5, R25). No check digit
// is enforced (NUM-04).
//
// A Credential never prints its number: every fmt verb shows the scheme only.
type Credential struct {
	scheme Scheme
	length uint8
	digits [MaxDigits]byte // ASCII, upper case
}

// NewCredential brings a number as a reader reports it into canonical form. A
// T-Union number has 19 digits, or 20 with a leading zero that is dropped; a
// chip number has 16 hexadecimal digits of either case; a ride-code account
// has a 4-digit issuer code and 1 to 20 account digits.
// The error wraps ErrCredential.
func NewCredential(scheme Scheme, number []byte) (Credential, error) {
	switch scheme {
	case SchemeTUnion:
		if len(number) == 20 && number[0] == '0' {
			number = number[1:]
		}
		if len(number) != 19 {
			return Credential{}, fmt.Errorf("%w: a tunion number has 19 digits (or 20 with a leading 0), this one has %d characters", ErrCredential, len(number))
		}
	case SchemeChip:
		if len(number) != 16 {
			return Credential{}, fmt.Errorf("%w: a chip number has 16 hexadecimal digits, this one has %d characters", ErrCredential, len(number))
		}
	case SchemeRide:
		if len(number) <= RideIssuerDigits || len(number) > MaxDigits {
			return Credential{}, fmt.Errorf("%w: a ride number has a %d-digit issuer code and 1 to %d account digits, this one has %d characters in all", ErrCredential, RideIssuerDigits, MaxDigits-RideIssuerDigits, len(number))
		}
	default:
		return Credential{}, fmt.Errorf("%w: scheme %d is not one of tunion, chip, ride", ErrCredential, uint8(scheme))
	}
	c := Credential{scheme: scheme, length: uint8(len(number))}
	for i, b := range number {
		switch {
		case b >= '0' && b <= '9':
		case scheme == SchemeChip && b >= 'A' && b <= 'F':
		case scheme == SchemeChip && b >= 'a' && b <= 'f':
			b -= 'a' - 'A'
		default:
			return Credential{}, fmt.Errorf("%w: character %d of the %s number is not an ASCII digit", ErrCredential, i+1, scheme)
		}
		c.digits[i] = b
	}
	return c, nil
}

// ParsePrinted reads the number printed on a card as a person types it:
// exactly 19 ASCII digits after removing blanks (NUM-01). The error wraps
// ErrCredential.
func ParsePrinted(s string) (Credential, error) {
	s = strings.NewReplacer(" ", "", "\t", "", "\u3000", "").Replace(s)
	if len(s) != 19 {
		return Credential{}, fmt.Errorf("%w: a printed number has 19 digits, this one has %d bytes", ErrCredential, len(s))
	}
	return NewCredential(SchemeTUnion, []byte(s))
}

// ParseCredential reads the text form "scheme:number", for instance
// "tunion:3104770012345678901" or "ride:1001000000000042". A number without a
// scheme is taken as the printed number of a card. The error wraps
// ErrCredential.
func ParseCredential(s string) (Credential, error) {
	name, number, found := strings.Cut(s, ":")
	if !found {
		return ParsePrinted(s)
	}
	for _, scheme := range []Scheme{SchemeTUnion, SchemeChip, SchemeRide} {
		if name == scheme.String() {
			return NewCredential(scheme, []byte(number))
		}
	}
	return Credential{}, fmt.Errorf("%w: the part before the colon is not one of tunion, chip, ride", ErrCredential)
}

// Scheme returns the numbering the credential belongs to; SchemeNone for the
// zero Credential.
func (c Credential) Scheme() Scheme { return c.scheme }

// Readable reports whether the credential is one that a record can exist for.
func (c Credential) Readable() bool { return c.scheme != SchemeNone }

// AppendNumber appends the canonical digits, ASCII, to b. It is how a protocol
// puts a credential on the wire; nothing that is logged or shown may use it.
func (c Credential) AppendNumber(b []byte) []byte {
	return append(b, c.digits[:c.length]...)
}

// AppendText appends the text form that ParseCredential reads. What is logged
// or shown may not use it.
func (c Credential) AppendText(b []byte) ([]byte, error) {
	if !c.Readable() {
		return b, fmt.Errorf("%w: it has no text form", ErrCredential)
	}
	b = append(b, c.scheme.String()...)
	b = append(b, ':')
	return c.AppendNumber(b), nil
}

// Format writes the scheme and hides the number, whatever the verb.
func (c Credential) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, c.scheme.String()+":hidden")
}

// MarshalText hides the credential from JSON and structured logs.
func (Credential) MarshalText() ([]byte, error) { return []byte("credential:hidden"), nil }
