package rules

import (
	"slices"

	"gateline/gateway"
)

// MaxPerPerson is the largest number of bindings one person can have, so that
// a change of a person always fits into one feed entry (IMP-27). It is a limit
// of the centre, not the quota of QTA-01.
const MaxPerPerson = 64

// Source says how a binding came to be.
type Source string

const (
	SourceSelf     Source = "SELF"
	SourceHelper   Source = "HELPER"
	SourceList     Source = "BO"
	SourceStudents Source = "BO-STUDENT"
	SourceIssue    Source = "ISSUE"
	SourceRide     Source = "RIDECODE"
)

// backOffice reports whether only the back office ends such a binding (UNB-04).
func (s Source) backOffice() bool { return s == SourceList || s == SourceStudents }

// Card is a credential in a command: its token and the kind that KindOf found.
type Card struct {
	Token gateway.Token
	Kind  KindCode
}

// Binding links a credential to a person. It is comparable.
type Binding struct {
	Card
	Person Person
	Medium Medium
	Source Source
	// Slot tells that it counts against the quota of its medium.
	Slot bool
	// Lamp tells that gates may light their concession lamp (GATE-10).
	Lamp bool
	// Since is when it was made, in Unix seconds.
	Since int64
	// Consent is the version of the text that was agreed to; 0 = none was
	// needed.
	Consent uint16
	// Helper made it for the person (UPG-05); else nobody.
	Helper Person
	// Listing is set for bindings of the back office only.
	Listing Listing
}

// Listing is what the back office has said of a binding.
type Listing struct {
	// List is the number of the list that it stands in; 0 = none.
	List uint8
	// Run is the last full delivery of that list that named it.
	Run uint32
	// ValidTo is the last day of the card; 0 = no end.
	ValidTo gateway.Day
	// Guardian has authorised a student's card (BO-03).
	Guardian Person
}

// CaseReason says why a binding waits.
type CaseReason string

const (
	// CaseSlot is a new card whose buyer has one of that medium (TOP-05). It
	// is bound by itself once the slot is free.
	CaseSlot CaseReason = "slot"
	// CaseOwner is a card of a list that another person has bound (BO-02). A
	// human decides.
	CaseOwner CaseReason = "owner"
)

// Case is a binding that waits: PENDING. There is at most one for a token.
type Case struct {
	Reason CaseReason
	Want   Binding
}

// Holder is a person as the registry knows one.
type Holder struct {
	Person Person
	// Record is the person's status; no flag is set in it.
	Record gateway.Record
	// Revision is that of the last report; 0 = there was none.
	Revision uint64
	Bindings []Binding
	// Cases are those in which this person would get the card, oldest first.
	Cases []Case
	// Helped counts the bindings that exist because this person helped,
	// HelpedEver all that were made so.
	Helped, HelpedEver uint16
}

// slots counts the bindings that take a slot of the medium.
func (h *Holder) slots(m Medium) (n int) {
	for i := range h.Bindings {
		if h.Bindings[i].Slot && h.Bindings[i].Medium == m {
			n++
		}
	}
	return n
}

func (h *Holder) remove(t gateway.Token) {
	h.Bindings = slices.DeleteFunc(h.Bindings, func(b Binding) bool { return b.Token == t })
}

func (h *Holder) removeCase(t gateway.Token) {
	h.Cases = slices.DeleteFunc(h.Cases, func(c Case) bool { return c.Want.Token == t })
}

// Stats are the counters of TIME-04.
type Stats struct {
	// Persons have at least one binding.
	Persons int
	// Bindings are all that exist, Cases all that wait.
	Bindings, Cases int
}

// View is what a decision reads of the state. What it returns belongs to the
// caller. No method blocks on anything but its own storage.
type View interface {
	// Binding returns the binding of a token, if there is one.
	Binding(gateway.Token) (Binding, bool)
	// Holder returns a person; one that is not known has the zero values.
	Holder(Person) Holder
	// Case returns what waits for a token, if anything does.
	Case(gateway.Token) (Case, bool)
	// CasesAfter returns what waits behind a mark, in the order of the marks, at
	// most most of it.
	CasesAfter(mark CaseMark, most int) []Case
	// Helped returns the bindings that a helper has made for others, in the
	// order of their tokens.
	Helped(Person) []Binding
	// Behind returns the bindings of a list that the full delivery run has not
	// named, in the order of their tokens.
	Behind(list uint8, run uint32) []gateway.Token
	// Expired returns the bindings whose last day is before today, in the order
	// of their tokens.
	Expired(today gateway.Day) []gateway.Token
	// Settled returns the outcome of a request, if it is kept.
	Settled(RequestKey) (Settled, bool)
	// Stats returns the counters.
	Stats() Stats
}
