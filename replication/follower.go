package replication

import (
	"errors"
	"fmt"
	"slices"

	"gateline/gateway"
)

// Action is what a Follower says about an entry. The zero Action refuses.
type Action uint8

const (
	// ActionRefuse: the entry does not belong to the history the box holds.
	ActionRefuse Action = 0
	// ActionApply: the entry is the next one, and genuine.
	ActionApply Action = 1
	// ActionRepeat: the box has applied the entry already.
	ActionRepeat Action = 2
	// ActionGap: entries before this one are missing; fetch from the box's
	// position + 1. Whether it is genuine is not known.
	ActionGap Action = 3
	// ActionLoad: nothing in the feed leads on from where the box is; if the
	// shards are genuine (see Accept), they have to be loaded. Whether the entry
	// is genuine is not known.
	ActionLoad Action = 4
)

// String returns the action's name.
func (a Action) String() string {
	switch a {
	case ActionRefuse:
		return "refuse"
	case ActionApply:
		return "apply"
	case ActionRepeat:
		return "repeat"
	case ActionGap:
		return "gap"
	case ActionLoad:
		return "load"
	}
	return "invalid"
}

// Reasons to refuse, besides ErrEntry.
var (
	// ErrForeignEpoch: the entry is from another life of the feed.
	ErrForeignEpoch = errors.New("the centre's feed has another epoch than this box")
	// ErrWentBack: the entry has a number the box has applied, and it is not
	// the entry the box applied (the feed was restored from a backup).
	ErrWentBack = errors.New("the centre's feed has lost entries that this box holds")
	// ErrForked: the next entry does not follow the one that the box holds (the
	// feed was restored from a backup and has grown past the box).
	ErrForked = errors.New("the next entry of the centre's feed does not follow the last one of this box")
	// ErrTimeBack: the next entry is older than the one before it.
	ErrTimeBack = errors.New("the next entry of the centre's feed is older than the last")
	// ErrMissing: the feed no longer holds the entry the box needs next.
	ErrMissing = errors.New("the centre's feed no longer holds the next entry this box needs")
	// ErrKey: the entry names a key that this box has no reason to trust.
	ErrKey = errors.New("the entry is signed with a key that is not the feed's")
	// ErrRetired: the entry names a key whose term had ended before it.
	ErrRetired = errors.New("the entry is signed with a key that was retired before it")
	// ErrSignature: the entry was not signed with the key it names, or was
	// changed since.
	ErrSignature = errors.New("the signature of the entry is wrong")
	// ErrOldEpoch: shards are of another life of the feed, and not a newer one.
	ErrOldEpoch = errors.New("the centre's shards are of another epoch and not newer than what this box holds")
	// ErrNoShards: the centre has not yet a snapshot of every shard.
	ErrNoShards = errors.New("the centre has no snapshot of every shard yet")
)

// Start is what a Follower starts from: what the store says of itself, and the
// keys of the box's configuration.
type Start struct {
	Position gateway.Position
	// Usable says whether the store has ever been complete.
	Usable bool
	// Terms are those of the feed's keys, as the last Update that had any gave
	// them; none where Position is zero.
	Terms []gateway.KeyTerm
	// Trusted are the public keys that the configuration gives. One of them
	// signs entry 1, and one is among the terms of a feed that was followed.
	Trusted []gateway.FeedKey
}

// Follower decides, entry by entry, how a box follows the feed. It does no I/O
// and reads no clock; Box holds the one that is in use. Make it with
// NewFollower.
type Follower struct {
	position gateway.Position
	usable   bool
	terms    []gateway.KeyTerm // replaced, never changed
	trusted  []gateway.FeedKey
	// target is the number of the feed's last entry when the box first asked;
	// it counts only once asked is true.
	target uint64
	asked  bool
}

// NewFollower returns a Follower that goes on from start.
func NewFollower(start Start) Follower {
	return Follower{position: start.Position, usable: start.Usable, terms: start.Terms, trusted: start.Trusted}
}

// Position returns where the box is.
func (f *Follower) Position() gateway.Position { return f.position }

// Step says what is to be done with s, before which the feed holds no other
// where oldest is true; it changes nothing. An error comes with ActionRefuse and
// ActionLoad and wraps one of the reasons above.
//
// A box that has never applied an entry adopts the epoch of entry 1, and of no
// other. The signature is verified where the entry is the next or an earlier
// one; with a gap before it, nobody can say which key it had to be.
func (f *Follower) Step(s *Signed, oldest bool) (Action, error) {
	at := f.position
	switch {
	case at.Epoch != 0 && s.Epoch != at.Epoch && s.Time <= at.Watermark:
		return ActionRefuse, fmt.Errorf("%w: entry %d, not newer than this box's data", ErrForeignEpoch, s.Number)
	case at.Epoch != 0 && s.Epoch != at.Epoch:
		return ActionLoad, fmt.Errorf("%w: entry %d", ErrForeignEpoch, s.Number)
	case s.Number > at.Number+1 && oldest:
		return ActionLoad, fmt.Errorf("%w: it starts at entry %d, position of this box %d", ErrMissing, s.Number, at.Number)
	case s.Number > at.Number+1:
		return ActionGap, nil
	}
	if err := f.authenticate(s); err != nil {
		return ActionRefuse, fmt.Errorf("%w: entry %d", err, s.Number)
	}
	switch {
	// Times grow with the numbers, so an entry of our history is never newer
	// than the watermark; of the one at our position we know the hash.
	case s.Number < at.Number && s.Time >= at.Watermark,
		s.Number == at.Number && s.Hash != at.Hash:
		return ActionRefuse, fmt.Errorf("%w: entry %d is not the one applied, position %d", ErrWentBack, s.Number, at.Number)
	case s.Number <= at.Number:
		return ActionRepeat, nil
	case s.Before != at.Hash:
		return ActionRefuse, fmt.Errorf("%w: entry %d", ErrForked, s.Number)
	case s.Time <= at.Watermark:
		return ActionRefuse, fmt.Errorf("%w: entry %d", ErrTimeBack, s.Number)
	}
	return ActionApply, nil
}

// authenticate reports why s, whose number is at most our next, is not what the
// centre signed.
func (f *Follower) authenticate(s *Signed) error {
	key, err := f.keyOf(s)
	switch {
	case err != nil:
		return err
	case !s.Verify(key):
		return fmt.Errorf("%w: key %v", ErrSignature, s.Signer)
	case s.Number > f.position.Number && s.NextKey != (gateway.FeedKey{}) && !f.announced(s) && f.hadKey(s, key):
		return fmt.Errorf("%w: it brings back key %v", ErrRetired, s.NextKey.ID())
	}
	return nil
}

// keyOf returns the key that must have signed s.
func (f *Follower) keyOf(s *Signed) (gateway.FeedKey, error) {
	if len(f.terms) == 0 {
		for _, key := range f.trusted {
			if key.ID() == s.Signer {
				return key, nil
			}
		}
		return gateway.FeedKey{}, fmt.Errorf("%w: key %v is not one of those configured", ErrKey, s.Signer)
	}
	if !Anchored(f.terms, f.trusted) {
		return gateway.FeedKey{}, fmt.Errorf("%w: no key that this box has followed it by is configured any more", ErrKey)
	}
	var inForce gateway.FeedKey
	ended := uint64(0) // where the next term after that of the named key began; 0 = none did
	for i, term := range f.terms {
		if term.From <= s.Number {
			inForce = term.Key
		}
		if term.Key.ID() == s.Signer && i+1 < len(f.terms) {
			ended = f.terms[i+1].From
		}
	}
	switch {
	case inForce != (gateway.FeedKey{}) && inForce.ID() == s.Signer:
		return inForce, nil
	case ended != 0 && ended <= s.Number:
		return gateway.FeedKey{}, fmt.Errorf("%w: key %v, up to entry %d", ErrRetired, s.Signer, ended-1)
	}
	return gateway.FeedKey{}, fmt.Errorf("%w: key %v", ErrKey, s.Signer)
}

// announced reports whether the box knows of the key that s announces already:
// shards come with the keys in force when they were made.
func (f *Follower) announced(s *Signed) bool {
	return slices.Contains(f.terms, gateway.KeyTerm{Key: s.NextKey, From: s.Number + 1})
}

// hadKey reports whether the next key that s, signed with key, announces has
// been in force before. A retired key never comes back.
func (f *Follower) hadKey(s *Signed, key gateway.FeedKey) bool {
	return s.NextKey == key || slices.ContainsFunc(f.terms, func(t gateway.KeyTerm) bool { return t.Key == s.NextKey })
}

// Asked tells the number of the feed's last entry, as an answer of the centre
// gave it. The first one counts: the box is complete once it is there.
func (f *Follower) Asked(last uint64) {
	if !f.asked {
		f.asked, f.target = true, last
	}
}

// Update returns what s, for which Step said ActionApply, does to the store.
// Complete is set on the first entry at which the box holds everything the
// centre had when the box first asked; where the feed ended exactly at the
// box's position then, that is the next entry, at the latest a heartbeat.
func (f *Follower) Update(s *Signed) gateway.Update {
	return gateway.Update{
		To:       positionOf(s),
		Changes:  s.Changes,
		Schedule: s.Schedule,
		Purge:    s.Purge,
		Ordered:  s.Ordered,
		Keys:     f.termsAfter(s),
		Complete: !f.usable && f.asked && s.Number >= f.target,
	}
}

// positionOf returns the position at which s is the last entry.
func positionOf(s *Signed) gateway.Position {
	return gateway.Position{Epoch: s.Epoch, Number: s.Number, Watermark: s.Time, Hash: s.Hash}
}

// termsAfter returns the terms once s is applied, nil where they stay.
func (f *Follower) termsAfter(s *Signed) []gateway.KeyTerm {
	terms := slices.Clone(f.terms)
	if len(terms) == 0 {
		key, err := f.keyOf(s)
		if err != nil {
			return nil // Step did not say ActionApply
		}
		terms = append(terms, gateway.KeyTerm{Key: key, From: s.Number})
	} else if s.NextKey == (gateway.FeedKey{}) || f.announced(s) {
		return nil
	}
	if s.NextKey != (gateway.FeedKey{}) {
		terms = append(terms, gateway.KeyTerm{Key: s.NextKey, From: s.Number + 1})
	}
	return terms[max(0, len(terms)-gateway.MaxKeyTerms):]
}

// Moved tells that loading has brought the store to a place in the feed, with
// these terms.
func (f *Follower) Moved(to gateway.Position, terms []gateway.KeyTerm) {
	f.position, f.terms = to, terms
	f.asked = false // another feed may be shorter
}

// Applied tells that the store has applied u.
func (f *Follower) Applied(u *gateway.Update) {
	f.position = u.To
	f.usable = f.usable || u.Complete
	if u.Keys != nil {
		f.terms = u.Keys
	}
}
