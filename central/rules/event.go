package rules

import "gateline/gateway"

// Event is something that became so. It carries its result and never a reason,
// so that applying it needs no rules. Every fmt verb hides what it is about.
type Event interface{ event() }

// Bound is a new binding.
type Bound struct{ Binding Binding }

// Marked replaces the terms of a binding; token and person stay (BO-02).
type Marked struct{ Binding Binding }

// Ended is the end of a binding. A box keeps nothing of it.
type Ended struct{ Token gateway.Token }

// Renumbered puts another card in the place of one, all else stays (IMP-28).
type Renumbered struct {
	Old gateway.Token
	New Card
}

// Moved gives a binding to another person (split of persons, IMP-29).
type Moved struct {
	Token gateway.Token
	To    Person
}

// Seen notes bindings that a full delivery of a list has named again (BO-01).
type Seen struct {
	Run    uint32
	Tokens []gateway.Token
}

// CaseOpened lets a binding wait; it replaces what waited for that token.
type CaseOpened struct{ Case Case }

// CaseClosed ends the wait.
type CaseClosed struct{ Token gateway.Token }

// Reported is a person's new status.
type Reported struct {
	Person   Person
	Record   gateway.Record
	Revision uint64
}

// Merged makes one person of two: everything of From but the status belongs to
// Into, and From is forgotten.
type Merged struct{ From, Into Person }

// Forgotten erases a person who has no binding left, and every mention of that
// person (PRV-04).
type Forgotten struct{ Person Person }

// HelpedEver says how often a person has helped, where the bindings that are left do
// not (UPG-06, the quota that counts all that were ever made).
type HelpedEver struct {
	Person Person
	Times  uint16
}

// Settled keeps the outcome of a request.
type Settled struct {
	Request RequestKey
	// Print tells the command from another one under the same id.
	Print   [8]byte
	Outcome Outcome
}

func (Bound) event()      {}
func (Marked) event()     {}
func (Ended) event()      {}
func (Renumbered) event() {}
func (Moved) event()      {}
func (Seen) event()       {}
func (CaseOpened) event() {}
func (CaseClosed) event() {}
func (Reported) event()   {}
func (Merged) event()     {}
func (Forgotten) event()  {}
func (HelpedEver) event() {}
func (Settled) event()    {}
