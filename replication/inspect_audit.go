package replication

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"gateline/gateway"
)

// Proof is how far a signature was proven.
type Proof uint8

const (
	// ProofNone: the public key is not known, so nothing was verified.
	ProofNone Proof = 0
	// ProofChained: the signature is right, by a key that was announced under a
	// key which is not known.
	ProofChained Proof = 1
	// ProofGiven: the signature is right, by a key that was given, or by one whose
	// announcement goes back to such a key.
	ProofGiven Proof = 2
)

// String returns what a person reads.
func (p Proof) String() string {
	switch p {
	case ProofNone:
		return "not verified"
	case ProofChained:
		return "right by a key of the feed itself"
	case ProofGiven:
		return "right"
	}
	return "invalid"
}

// Audit verifies entries of a feed, one after the other, and shards beside it, by
// the rules a Follower has, apart from any box. An entry names its key by the
// key's id, so the first public key has to be given; those after it are in the
// feed. Make it with NewAudit.
type Audit struct {
	epoch uint64
	keys  map[gateway.FeedKeyID]auditKey
	given bool // a key was
	terms []auditTerm
	last  gateway.Position // number 0 = before the first entry that is looked at
}

type auditKey struct {
	key    gateway.FeedKey
	proven bool
}

// auditTerm says that from entry from on the feed is signed with a key.
type auditTerm struct {
	id   gateway.FeedKeyID
	from uint64
}

// NewAudit returns an Audit of the feed of an epoch. With keys given, whatever
// does not go back to one of them is a fault.
func NewAudit(epoch uint64, given []gateway.FeedKey) *Audit {
	a := &Audit{epoch: epoch, keys: map[gateway.FeedKeyID]auditKey{}, given: len(given) > 0}
	for _, key := range given {
		a.keys[key.ID()] = auditKey{key: key, proven: true}
	}
	return a
}

// Announced takes the entries that announced keys, as the stream of shards keeps
// them: they are needed where the feed is not read from its first entry. It goes
// before all else.
func (a *Audit) Announced(entries []Signed) error {
	slices.SortFunc(entries, func(x, y Signed) int { return cmp.Compare(x.Number, y.Number) })
	for i := range entries {
		e := &entries[i]
		if e.Epoch != a.epoch {
			return fmt.Errorf("announcement of a key at entry %d: it is of another epoch, %016x", e.Number, e.Epoch)
		}
		if len(a.terms) == 0 {
			a.terms = append(a.terms, auditTerm{id: e.Signer, from: 1})
		}
		if _, err := a.signed(e); err != nil {
			return fmt.Errorf("announcement of a key at entry %d: %w", e.Number, err)
		}
	}
	return nil
}

// Entry checks the next entry, which the stream has at number stored: its place,
// the hash of the one before, its time, its key and its signature. The first one
// may have any number.
func (a *Audit) Entry(stored uint64, e *Signed) (Proof, error) {
	last := a.last
	switch {
	case last.Number != 0 && stored != last.Number+1:
		return ProofNone, fmt.Errorf("entry %d is missing: entry %d follows entry %d", last.Number+1, stored, last.Number)
	case e.Number != stored:
		return ProofNone, fmt.Errorf("entry %d: it is stored as number %d", e.Number, stored)
	case e.Epoch != a.epoch:
		return ProofNone, fmt.Errorf("entry %d: it is of epoch %016x, the feed of %016x", e.Number, e.Epoch, a.epoch)
	case last.Number != 0 && e.Before != last.Hash:
		return ProofNone, fmt.Errorf("entry %d: the hash it names is not that of entry %d, so one of the two was changed", e.Number, last.Number)
	case last.Number != 0 && e.Time <= last.Watermark:
		return ProofNone, fmt.Errorf("entry %d: its time is not after that of entry %d", e.Number, last.Number)
	}
	if a.inForce(e.Number) == (gateway.FeedKeyID{}) {
		a.terms = append(a.terms, auditTerm{id: e.Signer, from: e.Number})
	}
	proof, err := a.signed(e)
	if err != nil {
		return ProofNone, fmt.Errorf("entry %d: %w", e.Number, err)
	}
	a.last = positionOf(e)
	return proof, nil
}

// Snapshot checks epoch, key and signature of a snapshot. The key is the one that
// signs the entry after those it contains.
func (a *Audit) Snapshot(s *Snapshot) (Proof, error) {
	proof, err := a.shard(s.Shard.At, s.Signer, s.Verify)
	if err != nil {
		return ProofNone, fmt.Errorf("snapshot of shard %d: %w", s.Shard.ID, err)
	}
	return proof, nil
}

// Head is Snapshot for a head.
func (a *Audit) Head(h *Head) (Proof, error) {
	proof, err := a.shard(h.At, h.Signer, h.Verify)
	if err != nil {
		return ProofNone, fmt.Errorf("head of the shards: %w", err)
	}
	return proof, nil
}

func (a *Audit) shard(at gateway.Position, signer gateway.FeedKeyID, verify func(gateway.FeedKey) bool) (Proof, error) {
	if at.Epoch != a.epoch {
		return ProofNone, fmt.Errorf("it is of epoch %016x, the feed of %016x", at.Epoch, a.epoch)
	}
	return a.signature(at.Number+1, signer, verify)
}

// Verify says what can be said of the signature of one entry by itself.
func (a *Audit) Verify(e *Signed) (Proof, error) { return a.signature(e.Number, e.Signer, e.Verify) }

// signed checks the signature of an entry and learns the key that it announces.
func (a *Audit) signed(e *Signed) (Proof, error) {
	proof, err := a.signature(e.Number, e.Signer, e.Verify)
	if err != nil || e.NextKey == (gateway.FeedKey{}) {
		return proof, err
	}
	next := auditTerm{id: e.NextKey.ID(), from: e.Number + 1}
	if slices.Contains(a.terms, next) {
		return proof, nil // it was among those announced
	}
	if slices.ContainsFunc(a.terms, func(t auditTerm) bool { return t.id == next.id || t.from >= next.from }) {
		return ProofNone, fmt.Errorf("it announces key %v, which has been in force before, or is not what the shards say", next.id)
	}
	a.terms = append(a.terms, next)
	a.keys[next.id] = auditKey{key: e.NextKey, proven: a.keys[next.id].proven || proof == ProofGiven}
	return proof, nil
}

// ErrNotGiven: what is inspected does not go back to a key that was given.
var ErrNotGiven = errors.New("none of the keys given, nor announced under one of them; give the public key that signed entry 1, or find out who signed this feed")

// signature checks what is signed as entry number has to be.
func (a *Audit) signature(number uint64, signer gateway.FeedKeyID, verify func(gateway.FeedKey) bool) (Proof, error) {
	if want := a.inForce(number); want != (gateway.FeedKeyID{}) && want != signer {
		return ProofNone, fmt.Errorf("it names key %v, and key %v is in force there", signer, want)
	}
	k, known := a.keys[signer]
	switch {
	case !known && a.given:
		return ProofNone, fmt.Errorf("it is signed with key %v: %w", signer, ErrNotGiven)
	case !known:
		return ProofNone, nil
	case !verify(k.key):
		return ProofNone, fmt.Errorf("its signature is wrong (key %v)", signer)
	case !k.proven && a.given:
		return ProofNone, fmt.Errorf("it is signed with key %v: %w", signer, ErrNotGiven)
	case !k.proven:
		return ProofChained, nil
	}
	return ProofGiven, nil
}

// inForce returns the id of the key that signs entry number, zero where that is
// not known.
func (a *Audit) inForce(number uint64) (id gateway.FeedKeyID) {
	for _, t := range a.terms {
		if t.from <= number {
			id = t.id
		}
	}
	return id
}

// SectionSizes are sizes in bytes of the sections of an entry, 0 for one that it
// has not got.
type SectionSizes struct{ Changes, Schedule, Key, Checkpoint, Purge int }

// SectionSizes returns the sizes, and that of the whole entry.
func (s *Signed) SectionSizes() (sizes SectionSizes, all int) {
	if text, err := gateway.EncodeSchedule(s.Schedule); s.Schedule != nil && err == nil {
		sizes.Schedule = 4 + len(text) // what was decoded encodes to the same bytes
	}
	if s.NextKey != (gateway.FeedKey{}) {
		sizes.Key = len(s.NextKey)
	}
	if s.Checkpoint != nil {
		sizes.Checkpoint = checkpointSize
	}
	if s.Purge {
		sizes.Purge = orderedSize
	}
	sizes.Changes = len(s.bytes) - headerSize - trailerSize - sizes.Schedule - sizes.Key - sizes.Checkpoint - sizes.Purge
	return sizes, len(s.bytes)
}
