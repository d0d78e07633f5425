package gateway

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Token is what a box knows of a credential: the first 8 bytes, big-endian, of
// AES-256-CMAC over its canonical form (PRV-02). Two credentials out of 25
// million share one with a probability of about 2·10⁻⁵ in all.
//
// A Token is never logged: every fmt verb hides it.
type Token uint64

// Format hides the token, whatever the verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "token:hidden") }

// MarshalText hides the token from JSON and structured logs.
func (Token) MarshalText() ([]byte, error) { return []byte("token:hidden"), nil }

// TokenKey is the secret under which a city's tokens are computed; centre and
// boxes hold the same. Every fmt verb hides it.
type TokenKey [32]byte

// Format hides the key, whatever the verb.
func (k TokenKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "key:hidden") }

// MarshalText hides the key from JSON and structured logs.
func (TokenKey) MarshalText() ([]byte, error) { return []byte("key:hidden"), nil }

// ErrTokenKey is wrapped by the errors of ParseTokenKey.
var ErrTokenKey = errors.New("bad token key")

// ParseTokenKey reads a key of 64 hexadecimal digits, blanks around it
// ignored. The error wraps ErrTokenKey and never shows the text.
func ParseTokenKey(text string) (TokenKey, error) {
	var k TokenKey
	text = strings.TrimSpace(text)
	if len(text) != 2*len(k) {
		return k, fmt.Errorf("%w: it has %d characters, not 64 hexadecimal digits", ErrTokenKey, len(text))
	}
	if _, err := hex.Decode(k[:], []byte(text)); err != nil {
		return TokenKey{}, fmt.Errorf("%w: it holds a character that is not a hexadecimal digit", ErrTokenKey)
	}
	if k == (TokenKey{}) {
		return k, fmt.Errorf("%w: it is all zero", ErrTokenKey)
	}
	return k, nil
}

// Tokenizer computes tokens under one key without allocating. It is not safe
// for concurrent use: each line has its own.
type Tokenizer struct {
	mac *MAC
	in  [1 + MaxDigits]byte
}

// NewTokenizer returns a Tokenizer for key.
func NewTokenizer(key TokenKey) *Tokenizer {
	return &Tokenizer{mac: NewMAC(key[:])}
}

// Token returns the token of c: the keyed hash of the scheme byte followed by
// the canonical ASCII digits. The caller asks for readable credentials only;
// the zero Credential has a token that no record carries.
func (t *Tokenizer) Token(c Credential) Token {
	t.in[0] = byte(c.scheme)
	n := copy(t.in[1:], c.digits[:c.length])
	return Token(binary.BigEndian.Uint64(t.mac.Sum(t.in[:1+n])))
}
