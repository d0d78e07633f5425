package central

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"gateline/central/rules"
)

// Verifier says whether the person of a request was identified (UPG-02). It is
// the operator's: the centre itself has nothing to compare a document with.
type Verifier interface {
	// Verify is asked about requests that need an identity. It may be called by
	// several goroutines at once and may block until ctx is done. false refuses the
	// request with E108; an error says that nobody knows, and the request is refused
	// with E114, to be sent again. Nothing of the claim may be kept.
	Verify(ctx context.Context, claim Claim) (bool, error)
}

// Claim is what a Verifier is asked about. Every fmt verb hides the person.
type Claim struct {
	Channel rules.Channel
	Who     Who
	// Identified is the channel's own word.
	Identified bool
}

const (
	// verifyTimeout bounds one question to a Verifier.
	verifyTimeout = 5 * time.Second
	// maxVerifying is how many questions may be open at once; the requests behind
	// them wait in their endpoint.
	maxVerifying = 64
)

// withIdentity returns the command with the verifier's word in it.
func withIdentity(c rules.Command, identified bool) rules.Command {
	switch c := c.(type) {
	case rules.Upgrade:
		c.Identified = identified
		return c
	case rules.Help:
		c.Identified = identified
		return c
	case rules.Swap:
		c.Identified = identified
		return c
	case rules.Unbind:
		c.Identified = identified
		return c
	case rules.Authorise:
		c.Identified = identified
		return c
	case rules.Issue:
		c.Identified = identified
		return c
	}
	return c
}

// documentTypes are those that a document may have. Two words for one type would
// make two persons of one.
func documentTypes() []string {
	return []string{DocumentResident, DocumentHKMacao, DocumentTaiwan, DocumentSettlement, DocumentForeigner, DocumentPassport}
}

const minDocument, maxDocument = 4, 32

// who reads a person named by an id or by a document.
func (d *door) who(w Who) (Person, *Refusal) {
	switch {
	case w.Document == nil && w.Person == "":
		return Person{}, refuse(CodeMalformed, "person: missing; name one by person or by document")
	case w.Document == nil:
		return d.person(w.Person)
	case w.Person != "":
		return Person{}, refuse(CodeMalformed, "person and document: both are given; give one of them")
	}
	return d.document(*w.Document)
}

// document reads an identity document: blanks and the case of letters do not
// count, so that one document is one person.
func (d *door) document(doc Document) (Person, *Refusal) {
	if !slices.Contains(documentTypes(), doc.Type) {
		return Person{}, refuse(CodeMalformed, "document: its type is not one of %s", strings.Join(documentTypes(), ", "))
	}
	if len(doc.Number) > 2*maxDocument {
		return Person{}, refuse(CodeMalformed, "document: its number has %d bytes, at most %d", len(doc.Number), 2*maxDocument)
	}
	number := strings.ToUpper(strings.ReplaceAll(doc.Number, " ", ""))
	if len(number) < minDocument || len(number) > maxDocument {
		return Person{}, refuse(CodeMalformed, "document: its number has %d to %d characters, this one has %d", minDocument, maxDocument, len(number))
	}
	for i := range len(number) {
		if b := number[i]; !personByte(b) || b == '_' || b == '.' {
			return Person{}, refuse(CodeMalformed, "document: character %d of its number is not one of A-Z, 0-9, '-'", i+1)
		}
	}
	d.mac.Reset()
	d.mac.Write([]byte(documentDomain))
	d.mac.Write([]byte(doc.Type))
	d.mac.Write([]byte{0})
	d.mac.Write([]byte(number))
	var sum [sha256.Size]byte
	return Person(d.mac.Sum(sum[:0])[:len(Person{})]), nil
}
