package gateway

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// FeedKey is a public key of the centre (Ed25519): with it a box tells the
// centre's feed entries from anybody else's. It is no secret.
type FeedKey [ed25519.PublicKeySize]byte

// FeedKeyID is the first 8 bytes of the SHA-256 of a FeedKey. An entry names
// the key it is signed with by it.
type FeedKeyID [8]byte

// FeedSecret is the secret the centre signs feed entries with: the 32-byte seed
// of an Ed25519 key. Every fmt verb hides it.
type FeedSecret [ed25519.SeedSize]byte

// Written keys begin with one of these, so that neither kind is taken for the
// other, nor for the city's token key.
const (
	feedKeyPrefix    = "feedkey-"
	feedSecretPrefix = "feedsecret-"
)

// ErrFeedKey is wrapped by the errors of ParseFeedKey and ParseFeedSecret. It
// never shows what was read.
var ErrFeedKey = errors.New("bad feed key")

// String returns the key as configurations write it.
func (k FeedKey) String() string { return feedKeyPrefix + hex.EncodeToString(k[:]) }

// ID returns the key's id.
func (k FeedKey) ID() FeedKeyID {
	sum := sha256.Sum256(k[:])
	return FeedKeyID(sum[:len(FeedKeyID{})])
}

// Verify reports whether signature was made over message with the secret that
// belongs to k.
func (k FeedKey) Verify(message, signature []byte) bool {
	return ed25519.Verify(k[:], message, signature)
}

// String returns the id as 16 hexadecimal digits.
func (id FeedKeyID) String() string { return hex.EncodeToString(id[:]) }

// ParseFeedKey reads a public key: feedkey- and 64 hexadecimal digits, blanks
// around it ignored. The error wraps ErrFeedKey.
func ParseFeedKey(text string) (FeedKey, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, feedSecretPrefix) {
		return FeedKey{}, fmt.Errorf("%w: this is the secret; it belongs into the centre's key file alone: make a new key, and give its public part, which begins with %s", ErrFeedKey, feedKeyPrefix)
	}
	k, err := parseKeyText(text, feedKeyPrefix)
	return FeedKey(k), err
}

// ParseFeedSecret reads a secret: feedsecret- and 64 hexadecimal digits, blanks
// around it ignored. The error wraps ErrFeedKey.
func ParseFeedSecret(text string) (FeedSecret, error) {
	k, err := parseKeyText(strings.TrimSpace(text), feedSecretPrefix)
	return FeedSecret(k), err
}

func parseKeyText(text, prefix string) (k [32]byte, err error) {
	digits, found := strings.CutPrefix(text, prefix)
	if !found || len(digits) != hex.EncodedLen(len(k)) {
		return k, fmt.Errorf("%w: it is not %s and 64 hexadecimal digits", ErrFeedKey, prefix)
	}
	if _, err := hex.Decode(k[:], []byte(digits)); err != nil {
		return [32]byte{}, fmt.Errorf("%w: it holds a character that is not a hexadecimal digit", ErrFeedKey)
	}
	if k == ([32]byte{}) {
		return k, fmt.Errorf("%w: it is all zero", ErrFeedKey)
	}
	return k, nil
}

// Format hides the secret, whatever the verb.
func (s FeedSecret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "key:hidden") }

// MarshalText hides the secret from JSON and structured logs.
func (FeedSecret) MarshalText() ([]byte, error) { return []byte("key:hidden"), nil }

// Reveal returns the secret as a key file holds it: the one way to show it, for
// the command that makes such a file.
func (s FeedSecret) Reveal() string { return feedSecretPrefix + hex.EncodeToString(s[:]) }

// Public returns the public key that belongs to the secret.
func (s FeedSecret) Public() FeedKey {
	return FeedKey(ed25519.NewKeyFromSeed(s[:]).Public().(ed25519.PublicKey))
}

// Signer returns the key that signs. It holds the secret: it is not to be
// printed.
func (s FeedSecret) Signer() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(s[:]) }

// KeyTerm says that feed entries from number From on, up to the From of the
// next term, are signed with Key.
type KeyTerm struct {
	Key  FeedKey
	From uint64
}

// MaxKeyTerms is the largest number of terms a box remembers. With one more the
// oldest is forgotten: entries from its time, which the box has long applied,
// are then refused rather than known as repeats.
const MaxKeyTerms = 16
