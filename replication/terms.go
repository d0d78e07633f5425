package replication

import (
	"cmp"
	"fmt"
	"slices"

	"gateline/gateway"
)

// Anchored reports whether one of the keys a feed was followed by is configured.
// Who takes them all out of the configuration trusts that feed no more.
func Anchored(terms []gateway.KeyTerm, trusted []gateway.FeedKey) bool {
	return slices.ContainsFunc(terms, func(t gateway.KeyTerm) bool { return slices.Contains(trusted, t.Key) })
}

// Accept says whether a box may load shards that stand beside h, and returns the
// terms of the feed's keys at h. announced are the entries that announced keys,
// of which those that the box has followed are passed over.
//
// The same epoch is followed on from the terms the box has. Another one has to be
// newer than all that the box holds, so that nobody makes it go back by showing
// an old feed again, and has to begin with a key that is configured and that the
// box has not known to be retired.
func (f *Follower) Accept(h *Head, announced []Signed) ([]gateway.KeyTerm, error) {
	at, terms, trusted := f.position, f.terms, f.trusted
	if h.At.Epoch != at.Epoch {
		if at.Epoch != 0 && h.At.Watermark <= at.Watermark {
			return nil, fmt.Errorf("%w: it is from %v, this box's data are from %v", ErrOldEpoch, h.At.Time().UTC(), at.Time().UTC())
		}
		terms, trusted = nil, f.unretired()
	}
	terms, err := extendTerms(terms, trusted, h, announced)
	if err != nil {
		return nil, err
	}
	key := terms[len(terms)-1].Key
	switch {
	case !Anchored(terms, trusted):
		return nil, fmt.Errorf("%w: no key of this feed is configured", ErrKey)
	case h.Signer != key.ID():
		return nil, fmt.Errorf("%w: the head of the shards names key %v", ErrKey, h.Signer)
	case !h.Verify(key):
		return nil, fmt.Errorf("%w: the head of the shards", ErrSignature)
	}
	return terms, nil
}

// unretired returns the configured keys without those that the box has seen
// retired.
func (f *Follower) unretired() (keys []gateway.FeedKey) {
	for _, key := range f.trusted {
		i := slices.IndexFunc(f.terms, func(t gateway.KeyTerm) bool { return t.Key == key })
		if i < 0 || i == len(f.terms)-1 {
			keys = append(keys, key)
		}
	}
	return keys
}

// extendTerms goes on from terms by the entries that announced keys. Without
// terms the first of them, or the head if there is none, names the key that
// signed entry 1, which has to be a trusted one.
func extendTerms(terms []gateway.KeyTerm, trusted []gateway.FeedKey, h *Head, announced []Signed) ([]gateway.KeyTerm, error) {
	slices.SortFunc(announced, func(x, y Signed) int { return cmp.Compare(x.Number, y.Number) })
	terms = slices.Clone(terms)
	if len(terms) == 0 {
		first := h.Signer
		if len(announced) > 0 {
			first = announced[0].Signer
		}
		i := slices.IndexFunc(trusted, func(k gateway.FeedKey) bool { return k.ID() == first })
		if i < 0 {
			return nil, fmt.Errorf("%w: key %v, which signed entry 1, is not configured, or is retired", ErrKey, first)
		}
		terms = append(terms, gateway.KeyTerm{Key: trusted[i], From: 1})
	}
	for i := range announced {
		a, last := &announced[i], terms[len(terms)-1]
		if a.Number < last.From {
			continue
		}
		switch {
		case a.Epoch != h.At.Epoch || a.NextKey == (gateway.FeedKey{}):
			return nil, fmt.Errorf("%w: entry %d announces no key of this feed", ErrEntry, a.Number)
		case a.Signer != last.Key.ID():
			return nil, fmt.Errorf("%w: entry %d names key %v", ErrKey, a.Number, a.Signer)
		case !a.Verify(last.Key):
			return nil, fmt.Errorf("%w: entry %d", ErrSignature, a.Number)
		case slices.ContainsFunc(terms, func(t gateway.KeyTerm) bool { return t.Key == a.NextKey }):
			return nil, fmt.Errorf("%w: entry %d brings back key %v", ErrRetired, a.Number, a.NextKey.ID())
		}
		terms = append(terms, gateway.KeyTerm{Key: a.NextKey, From: a.Number + 1})
	}
	return terms[max(0, len(terms)-gateway.MaxKeyTerms):], nil
}
