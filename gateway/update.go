package gateway

import "time"

// Directory is what the decision needs of a store.
type Directory interface {
	// Lookup returns the record of a token and whether there is one. It does
	// not block on writes. An error means that the store cannot tell; the
	// rider is then sent to the manual lane (R24), never accused.
	Lookup(Token) (Record, bool, error)
}

// Hash is the SHA-256 of all bytes of a feed entry. Each entry carries that of
// the one before, which makes the feed a chain.
type Hash [32]byte

// Position is a place in the feed: everything up to entry Number of Epoch has
// been applied. The zero Position is before the first entry.
type Position struct {
	// Epoch identifies one life of the feed; 0 = none seen yet.
	Epoch uint64
	// Number is the number of the last entry applied; the first entry is 1.
	Number uint64
	// Watermark is the centre's time in that entry, in Unix microseconds; its
	// age drives freshness. 0 = none.
	Watermark int64
	// Hash is that entry's; the next one must name it.
	Hash Hash
}

// Time returns the watermark as an instant; the zero Time if there is none.
func (p Position) Time() time.Time {
	if p.Watermark == 0 {
		return time.Time{}
	}
	return time.UnixMicro(p.Watermark)
}

// MaxChanges is the largest number of changes in one Update. It keeps an entry
// below every message and transaction limit on its way.
const MaxChanges = 2048

// Change sets or deletes the record of one token.
type Change struct {
	Token  Token
	Record Record
	// Delete removes the record: the credential is not bound any more.
	Delete bool
}

// Update is what one feed entry does to a box, all or nothing.
type Update struct {
	// To is the position the box is at once the update is applied.
	To Position
	// Changes has at most MaxChanges elements, at most one per token.
	Changes []Change
	// Schedule replaces the policy documents the box holds; nil = unchanged.
	Schedule *Schedule
	// Keys replaces the terms of the feed's keys the box knows, oldest first,
	// at most MaxKeyTerms of them; nil = unchanged.
	Keys []KeyTerm
	// Purge erases every record of every shard, whatever purpose they were for,
	// so that nobody can read them any more (IMP-10); Changes is then empty.
	// Ordered is then the instant of the order, as Erasure has it.
	Purge   bool
	Ordered int64
	// Complete marks the first entry at which the box holds everything the
	// centre had when the box first asked. Until then an absent record means
	// nothing (R24, IMP-19). It is never taken back.
	Complete bool
}

// Erasure says why every record was erased, so that nobody can read one any more.
type Erasure struct {
	// Ordered is the instant of the centre's last order to do so, in Unix
	// microseconds; 0 = there was none. It tells one order from another in whatever
	// epoch it is heard of, and grows with each of them.
	Ordered int64
	// Epoch and Number are those of the entry that the order was heard by.
	Epoch, Number uint64
	// Sunset is the end of the policy at which a box has erased its records by
	// itself, and has held none since (IMP-11); the zero Time if it has not.
	Sunset time.Time
}
