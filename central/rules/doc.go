// Package rules decides who may upgrade what: the centre's registry as a pure
// core. A request and the present state go in; events, or a coded refusal, come
// out.
//
//	events, answer, refusal := rules.Decide(view, data, request, now)
//	for _, e := range events {
//		changes = rules.Changes(view, e, changes) // what it means for boxes
//		err := memory.Apply(e)                    // then the state takes it up
//	}
//
// It does no I/O, reads no clock, logs nothing and starts no goroutine. Equal
// state, data, request and instant always give equal events.
//
// # For whoever wires it
//
// One goroutine decides, computes the changes and applies, one request after
// the other: a decision holds for the state it was made on and no other, and
// that is all that QTA-07 needs. Store the events of a request before applying
// them, all or none. A refusal may come with an event: that the request was
// settled with it. Everything else that is decided has no event where it was so
// already.
//
// An event says what has become so, not why: Apply asks no quota, no table and
// no channel. A ledger that was written under other rules, or by an earlier
// version of them, so gives the state it gave then. An event that cannot have
// happened in this state is an error of Apply that wraps ErrState, and leaves
// the state as it was.
//
// Changes is asked before Apply and holds for any View. One event means at most
// MaxPerPerson changes, which go into one feed entry (IMP-27). A new binding
// brings the status that the person has by then: decide a report first and the
// upgrade after it, and no box sees a binding without its status.
//
// View is what is read of the state. Memory is one; a view of a store on disk
// can be another. Its methods cannot fail: a view that cannot read must stop
// the writer by itself.
//
// # What the caller has done before
//
// A channel has proven who its user is, and the door in front of this package
// has made numbers and ids into tokens and pseudonyms: a Card is a token with
// the code of its kind, which KindOf finds by number. Whoever asks is a field
// of the command; whether the identity was verified (UPG-02, E108) is the field
// Identified, the verifier's answer. A centre that cannot be reached (E114) and
// what an outlet then does about a top-up (OQ-08) belong to the service.
//
// No event, command or answer holds a name, a number or a document, and every
// type that holds a token or a person hides it in every verb of fmt. Encoding
// events for a ledger is therefore the ledger's own work: their JSON would show
// nothing either.
//
// # Idempotency
//
// A request that has an id is settled once. Its outcome is kept, and the same
// id of the same channel has that outcome again, with no event. The last
// KeptRequests outcomes are kept, by count and not by age: the count bounds the
// memory whatever the load and needs no clock, and at a hundred changes a
// second it still reaches back 43 minutes, where a channel repeats within some
// seconds. What is kept is a hash of channel and id, a hash of the command, the
// code and four sums; not the rows of a list, which say the same if they are
// sent again under another id. An id that comes back with another command is
// refused (E100). What only reads is never kept, and neither is a refusal of
// form (E100) or channel (E116).
//
// # Data
//
// Rules holds what may change without a new program: quotas, kinds, channels,
// consent texts, how an anchor day is counted, and two instants. Each is a list
// of terms, every one in force from its own instant. DefaultRules is the state
// of the public notice of 2022-05-31 and its history.
//
// docs/rules.md lists every rule of the registry with the tests that hold it.
package rules
