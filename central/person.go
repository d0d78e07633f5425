package central

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strings"
	"time"

	"gateline/central/rules"
	"gateline/gateway"
)

// Person is a person's pseudonym: the first 16 bytes of HMAC-SHA-256 under the
// centre's key over personDomain and the caller's id, or over documentDomain and
// an identity document's type, a zero byte and its number. Every fmt verb hides it.
type Person = rules.Person

// What is hashed under the key starts with one of these, so that no two uses
// of the key ever hash the same bytes. A token's input starts with a scheme
// byte, which is below any letter.
const (
	personDomain   = "gateline person v1\x00"
	documentDomain = "gateline document v1\x00"
	keyCheckDomain = "gateline ledger key check v1\x00"
)

const maxPersonID = 64

// keyCheck is written into every ledger message, so that a centre started with
// another key notices before it answers anything.
type keyCheck [8]byte

func newKeyCheck(key gateway.TokenKey) keyCheck {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(keyCheckDomain))
	return keyCheck(mac.Sum(nil)[:len(keyCheck{})])
}

func (k keyCheck) hex() string { return hex.EncodeToString(k[:]) }

// door is where numbers and ids stop: it turns them into tokens and
// pseudonyms. It is not safe for concurrent use: each endpoint has its own.
type door struct {
	tokens *gateway.Tokenizer
	mac    hash.Hash
	rules  *rules.Rules
	now    func() time.Time
}

func newDoor(key gateway.TokenKey, r *rules.Rules, now func() time.Time) *door {
	return &door{tokens: gateway.NewTokenizer(key), mac: hmac.New(sha256.New, key[:]), rules: r, now: now}
}

// card reads a credential in text form, gateway.ParseCredential.
func (d *door) card(text string) (rules.Card, *Refusal) {
	if scheme, _, found := strings.Cut(text, ":"); found && !knownScheme(scheme) {
		return rules.Card{}, refuse(CodeUnsupported, "the part before the colon is not one of tunion, chip, ride")
	}
	c, err := gateway.ParseCredential(text)
	if err != nil {
		return rules.Card{}, refuse(CodeBadNumber, "%v", err)
	}
	return rules.Card{Token: d.tokens.Token(c), Kind: d.rules.KindOf(c, d.now())}, nil
}

// medium returns that of a card's kind, "" for one that is unknown.
func (d *door) medium(c rules.Card) rules.Medium {
	kind, _ := d.rules.Kind(c.Kind, d.now())
	return kind.Medium
}

// consent returns the version of the text in force, 0 = there is none.
func (d *door) consent() uint16 {
	all := d.rules.Consents.At(d.now())
	if len(all) == 0 {
		return 0
	}
	return all[len(all)-1]
}

func knownScheme(name string) bool {
	for _, s := range []gateway.Scheme{gateway.SchemeTUnion, gateway.SchemeChip, gateway.SchemeRide} {
		if name == s.String() {
			return true
		}
	}
	return false
}

// person reads an opaque person id: 1 to 64 of A-Z, a-z, 0-9, '_', '.', '-'.
func (d *door) person(id string) (Person, *Refusal) {
	if id == "" || len(id) > maxPersonID {
		return Person{}, refuse(CodeMalformed, "person: an id has 1 to %d characters, this one has %d bytes", maxPersonID, len(id))
	}
	for i := range len(id) {
		if !personByte(id[i]) {
			return Person{}, refuse(CodeMalformed, "person: byte %d of the id is not one of A-Z, a-z, 0-9, '_', '.', '-'", i+1)
		}
	}
	d.mac.Reset()
	d.mac.Write([]byte(personDomain))
	d.mac.Write([]byte(id))
	var sum [sha256.Size]byte
	return Person(d.mac.Sum(sum[:0])[:len(Person{})]), nil
}

func personByte(b byte) bool {
	return b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || b == '_' || b == '.' || b == '-'
}
