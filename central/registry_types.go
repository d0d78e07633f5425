package central

import (
	"fmt"
	"io"
	"time"

	"gateline/central/rules"
)

// Verbs of the registry's service. A subject is SubjectRegistry, the channel, a
// dot and the verb: gateline.registry.app.upgrade.
const (
	VerbUpgrade          = "upgrade"
	VerbHelp             = "help"
	VerbSwap             = "swap"
	VerbUnbind           = "unbind"
	VerbRideAuthorise    = "ride.authorise"
	VerbRideWithdraw     = "ride.withdraw"
	VerbCardIssue        = "card.issue"
	VerbCardReturn       = "card.return"
	VerbCardReplace      = "card.replace"
	VerbCardLookUp       = "card.lookup"
	VerbOwn              = "own"
	VerbTopUpCheck       = "topup.check"
	VerbLossReport       = "loss.report"
	VerbListConcession   = "list.concession"
	VerbListStudents     = "list.students"
	VerbListEnd          = "list.end"
	VerbListExpire       = "list.expire"
	VerbGuardianWithdraw = "guardian.withdraw"
	VerbConflictList     = "conflict.list"
	VerbConflictResolve  = "conflict.resolve"
	VerbHealthReport     = "health.report"
	VerbPersonDied       = "person.died"
	VerbPersonMerge      = "person.merge"
	VerbPersonSplit      = "person.split"
	VerbPersonForget     = "person.forget"
	VerbStatistics       = "statistics"
)

// hidden keeps what embeds it out of texts, whatever the verb of fmt.
type hidden struct{}

func (hidden) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "request:hidden") }

// Who names a person: by an opaque id or by an identity document, not by both.
// The two are two persons to the registry: a city agrees on one of them. Every
// fmt verb hides it.
type Who struct {
	// Person is an opaque id, 1 to 64 of A-Z, a-z, 0-9, '_', '.', '-'.
	Person string `json:"person,omitempty"`
	// Document is hashed as the request comes in, and kept nowhere.
	Document *Document `json:"document,omitempty"`
}

// Format hides the person, whatever the verb.
func (Who) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "person:hidden") }

// ByID names a person by an opaque id.
func ByID(id string) Who { return Who{Person: id} }

// ByDocument names a person by an identity document.
func ByDocument(kind, number string) Who { return Who{Document: &Document{Type: kind, Number: number}} }

// Types of identity documents.
const (
	DocumentResident   = "resident-card"   // 居民身份证
	DocumentHKMacao    = "hk-macao-permit" // 港澳居民来往内地通行证
	DocumentTaiwan     = "taiwan-permit"   // 台湾居民来往大陆通行证
	DocumentSettlement = "residence-permit"
	DocumentForeigner  = "foreigner-permit"
	DocumentPassport   = "passport"
)

// Document is an identity document. Every fmt verb hides it.
type Document struct {
	// Type is one of the constants above.
	Type string `json:"type"`
	// Number is 4 to 32 of A-Z, a-z, 0-9 and '-'; blanks and the case of letters
	// do not count.
	Number string `json:"number"`
}

// Format hides the document, whatever the verb.
func (Document) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "document:hidden") }

// UpgradeRequest binds a card or a phone's card to its holder (UPG-01). As in
// every request: ID makes a repetition harmless (rules.Request), a credential is
// in the text form of gateway.ParseCredential, and every fmt verb hides it all.
type UpgradeRequest struct {
	ID         string `json:"id,omitempty"`
	Credential string `json:"credential"`
	Who
	// Identified is the channel's word that it knows the person to be the one
	// named; where the centre has a Verifier, that one's word counts.
	Identified bool `json:"identified,omitempty"`
	// Consent is the version of the text that the person has agreed to.
	Consent uint16 `json:"consent,omitempty"`
}

// HelpRequest binds a physical card to the person it belongs to, on a helper's
// word (UPG-05). Identified and Consent speak of that person.
type HelpRequest struct {
	UpgradeRequest
	Helper Who `json:"helper"`
}

// SwapRequest ends the binding of one card and binds another in its place, both
// or neither (QTA-03).
type SwapRequest struct {
	ID  string `json:"id,omitempty"`
	Old string `json:"old"`
	New string `json:"new"`
	Who
	Identified bool   `json:"identified,omitempty"`
	Consent    uint16 `json:"consent,omitempty"`
}

// UnbindRequest ends a binding, on the word of the person bound or of the helper
// (UNB-01, UNB-03). The operator's own staff may leave the person out.
type UnbindRequest struct {
	ID         string `json:"id,omitempty"`
	Credential string `json:"credential"`
	Who
	Identified bool `json:"identified,omitempty"`
}

// RideRequest authorises a ride-code account (RC-01); the credential is ride: with
// the issuer's code and the account's number.
type RideRequest = UpgradeRequest

// RideWithdrawRequest takes the authorisation back (RC-04).
type RideWithdrawRequest struct {
	ID         string `json:"id,omitempty"`
	Credential string `json:"credential"`
	Who
}

// IssueRequest is the first top-up of a new card (TOP-04, TOP-05). Consent is the
// version agreed to with the purchase; 0 = none was asked for.
type IssueRequest = UpgradeRequest

// CardRequest names a card and nothing else: VerbCardReturn (UNB-05).
type CardRequest struct {
	hidden
	ID         string `json:"id,omitempty"`
	Credential string `json:"credential"`
}

// ReplaceRequest puts a new card in the place of one, on the issuer's word
// (IMP-28).
type ReplaceRequest struct {
	hidden
	ID  string `json:"id,omitempty"`
	Old string `json:"old"`
	New string `json:"new"`
}

// LookRequest asks about a card: VerbCardLookUp (NUM-02), VerbTopUpCheck (TOP-01).
type LookRequest struct {
	hidden
	Credential string `json:"credential"`
}

// OwnRequest asks for a person's own bindings.
type OwnRequest struct{ Who }

// ListRow is one card of a list.
type ListRow struct {
	Credential string `json:"credential"`
	Who
	// ValidTo is the card's last day, such as 2022-12-31; empty = no end.
	ValidTo string `json:"valid_to,omitempty"`
	// Guardian has authorised a student's card (BO-03); nil = nobody.
	Guardian *Who `json:"guardian,omitempty"`
}

// ListRequest is a part of a list: VerbListConcession (BO-01), VerbListStudents
// (BO-03). A row that cannot be taken is rejected by itself.
type ListRequest struct {
	hidden
	ID string `json:"id,omitempty"`
	// List is the list's number, from 1. Run numbers its full deliveries, from 1;
	// 0 = an incremental one.
	List uint8  `json:"list"`
	Run  uint32 `json:"run,omitempty"`
	// Rows are 1 to rules.MaxRows.
	Rows []ListRow `json:"rows"`
}

// ListEndRequest closes a full delivery: bindings of the list that it has not
// named end, at most Most of them or none (BO-01, IMP-20). While the answer says
// More it is sent again, under another ID.
type ListEndRequest struct {
	ID   string `json:"id,omitempty"`
	List uint8  `json:"list"`
	Run  uint32 `json:"run"`
	Most int    `json:"most"`
}

// ListExpireRequest ends the bindings whose last day is over (BO-03); see
// ListEndRequest for More.
type ListExpireRequest struct {
	ID string `json:"id,omitempty"`
}

// GuardianRequest ends a student's binding, by the guardian who has authorised it
// (BO-03).
type GuardianRequest struct {
	hidden
	ID         string `json:"id,omitempty"`
	Credential string `json:"credential"`
	Guardian   Who    `json:"guardian"`
}

// ConflictsRequest asks for what waits (BO-02, TOP-05), rules.CasesPage at a time.
type ConflictsRequest struct {
	// After is RegistryReply.Next of the page before; empty = the first page.
	After string `json:"after,omitempty"`
}

// ResolveRequest is a human's word on what waits (BO-02): Grant gives the card to
// the person it waits for.
type ResolveRequest struct {
	hidden
	ID         string `json:"id,omitempty"`
	Credential string `json:"credential"`
	Grant      bool   `json:"grant,omitempty"`
}

// HealthReport is a person's status, as the health source knows it.
type HealthReport struct {
	Who
	// Revision orders the reports of one person (IMP-12), from 1; 0 = the one
	// after the last.
	Revision uint64 `json:"revision,omitempty"`
	// Class is normal, popup, yellow or red.
	Class string `json:"class"`
	// Anchor is the day from which the test counts, such as 2022-05-28, or
	// ResultAt the instant of the result from which that day follows (IMP-16).
	// Neither: no test on record.
	Anchor   string    `json:"anchor,omitempty"`
	ResultAt time.Time `json:"result_at,omitzero"`
	// Minute of the anchor day at which the sample was taken, 0 … 1439.
	Minute int `json:"minute,omitempty"`
	// HoldThrough is the last day on which a pending result keeps the status valid
	// (IMP-15); empty = none.
	HoldThrough string `json:"hold_through,omitempty"`
}

// HealthRequest is a batch of 1 to rules.MaxReports reports. One that cannot be
// taken is rejected by itself.
type HealthRequest struct {
	hidden
	ID      string         `json:"id,omitempty"`
	Reports []HealthReport `json:"reports"`
}

// PersonRequest is about a person: VerbPersonDied (IMP-29), VerbPersonForget
// (PRV-04).
type PersonRequest struct {
	ID string `json:"id,omitempty"`
	Who
}

// MergeRequest makes one person of two (IMP-29): From is forgotten.
type MergeRequest struct {
	hidden
	ID   string `json:"id,omitempty"`
	From Who    `json:"from"`
	Into Who    `json:"into"`
}

// SplitRequest gives some of a person's cards to another one (IMP-29).
type SplitRequest struct {
	hidden
	ID          string   `json:"id,omitempty"`
	From        Who      `json:"from"`
	Into        Who      `json:"into"`
	Credentials []string `json:"credentials"`
}

// RegistryReply is what the registry's service answers. It holds neither a number
// nor a person.
type RegistryReply struct {
	OK bool `json:"ok"`
	// Number is the feed entry at which the effect is complete.
	Number uint64       `json:"number,omitempty"`
	Result rules.Result `json:"result,omitempty"`
	// Bound, Ended, Conflicts and Rejected count the rows of a list, Accepted and
	// Rejected those of a batch of reports.
	Bound     uint16 `json:"bound,omitempty"`
	Ended     uint16 `json:"ended,omitempty"`
	Conflicts uint16 `json:"conflicts,omitempty"`
	Accepted  uint16 `json:"accepted,omitempty"`
	Rejected  uint16 `json:"rejected,omitempty"`
	// More tells that the request has to be sent again, under another ID.
	More bool `json:"more,omitempty"`
	// Rows are those that were not simply taken. A repeated request has none.
	Rows []RowReply `json:"rows,omitempty"`
	// Cases answer VerbConflictList, and Next is the After of the next page; empty
	// = these were the last.
	Cases []ShownCase `json:"cases,omitempty"`
	Next  string      `json:"next,omitempty"`
	// Kind answers VerbCardLookUp, Bindings and Helped answer VerbOwn, Stats
	// answers VerbStatistics.
	Kind     *CardKind       `json:"kind,omitempty"`
	Bindings []ShownBinding  `json:"bindings,omitempty"`
	Helped   []CardKind      `json:"helped,omitempty"`
	Stats    *RegistryCounts `json:"stats,omitempty"`
	// Verbs and Schema answer VerbSchemaOf.
	Verbs  []string    `json:"verbs,omitempty"`
	Schema *VerbSchema `json:"schema,omitempty"`
	// What follows is set in a refusal; the client makes a *Refusal of it.
	Code   Code   `json:"code,omitempty"`
	ZH     string `json:"zh,omitempty"`
	EN     string `json:"en,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// RowReply is the answer to one row.
type RowReply struct {
	Row    int          `json:"row"` // from 1
	Result rules.Result `json:"result"`
	Code   Code         `json:"code,omitempty"` // of a rejected row
	Detail string       `json:"detail,omitempty"`
}

// CardKind is a kind of credential.
type CardKind struct {
	Name   string       `json:"name"`
	ZH     string       `json:"zh"`
	Medium rules.Medium `json:"medium"`
}

// ShownBinding is what a person may see of an own binding.
type ShownBinding struct {
	CardKind
	Source rules.Source `json:"source"`
	// Since is when it was made; zero while it waits for a slot (TOP-05).
	Since   time.Time `json:"since,omitzero"`
	Waiting bool      `json:"waiting,omitempty"`
}

// ShownCase is what may be seen of a card that waits: neither its number nor a
// person.
type ShownCase struct {
	CardKind
	// Reason is slot or owner (rules.CaseReason).
	Reason rules.CaseReason `json:"reason"`
	Since  time.Time        `json:"since"`
	// List and Run are those of the delivery that named the card; 0 = no list, and
	// 0 = an incremental delivery.
	List uint8  `json:"list,omitempty"`
	Run  uint32 `json:"run,omitempty"`
}

// RegistryCounts are the counters of TIME-04.
type RegistryCounts struct {
	Persons  int `json:"persons"` // with at least one binding
	Bindings int `json:"bindings"`
	Cases    int `json:"cases"` // bindings that wait
}
