package replication

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"gateline/gateway"
)

// history is a feed: entries 1 … 9 of epoch 7, one each second. Entry 5 announces
// key 2, which signs from entry 6 on.
type history struct {
	t       *testing.T
	entries [10]*Signed // by number
}

func newHistory(t *testing.T) *history {
	h := &history{t: t}
	for n := uint64(1); n < 10; n++ {
		h.entries[n] = h.next(n, nil)
	}
	return h
}

// next returns the entry of a number as it follows the one before, or changed
// before it is signed.
func (h *history) next(number uint64, change func(*Entry)) *Signed {
	e, key := h.plain(number)
	if change != nil {
		change(&e)
	}
	return decode(h.t, sign(h.t, key, e))
}

func (h *history) plain(number uint64) (e Entry, key byte) {
	e = Entry{Epoch: 7, Number: number, Time: int64(number) * 1e6, Changes: []gateway.Change{{Token: gateway.Token(number)}}}
	key = 1
	if number > 1 {
		e.Before = h.entries[number-1].Hash
	}
	if number == 5 {
		e.NextKey = testSecret(2).Public()
	}
	if number > 5 {
		key = 2
	}
	return e, key
}

// signedBy returns the entry of a number, signed with another key.
func (h *history) signedBy(key byte, number uint64) *Signed {
	e, _ := h.plain(number)
	return decode(h.t, sign(h.t, key, e))
}

// altered returns the entry of a number with a bit of one byte changed.
func (h *history) altered(number uint64, at int) *Signed {
	b := bytes.Clone(h.entries[number].bytes)
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 1
	return decode(h.t, b)
}

// followed returns a follower that has applied the entries up to a number.
func (h *history) followed(number uint64, trusted ...gateway.FeedKey) Follower {
	f := NewFollower(Start{Trusted: testKeys})
	for n := uint64(1); n <= number; n++ {
		h.apply(&f, h.entries[n])
	}
	if trusted != nil {
		f.trusted = trusted
	}
	return f
}

func (h *history) apply(f *Follower, s *Signed) {
	h.t.Helper()
	if action, err := f.Step(s, false); action != ActionApply {
		h.t.Fatalf("entry %d: %v, %v", s.Number, action, err)
	}
	u := f.Update(s)
	f.Applied(&u)
}

// What a channel can do to messages (the threats of EN 50159), and what a centre
// can do to its feed.
func TestFollowerStep(t *testing.T) {
	h := newHistory(t)
	one, two, foreign := testSecret(1).Public(), testSecret(2).Public(), testSecret(9).Public()
	for _, test := range []struct {
		name   string
		at     uint64
		entry  *Signed
		action Action
		err    error
	}{
		{"next in order", 7, h.entries[8], ActionApply, nil},
		{"next in order, a purge", 7, h.next(8, func(e *Entry) { e.Changes, e.Purge, e.Ordered = nil, true, 5 }), ActionApply, nil},
		{"purge by another", 7, h.named(h.altered(8, -1), testSecret(2).Public()), ActionRefuse, ErrSignature},
		{"repetition", 7, h.entries[7], ActionRepeat, nil},
		{"repetition of an old one", 7, h.entries[3], ActionRepeat, nil},
		{"deletion", 7, h.entries[9], ActionGap, nil},
		{"deletion of all before the first", 0, h.entries[2], ActionGap, nil},
		{"oldest of the feed leads on", 7, h.entries[8], ActionApply, nil},
		{"oldest of the feed is applied", 7, h.entries[6], ActionRepeat, nil},
		{"oldest of the feed is beyond us", 7, h.entries[9], ActionLoad, ErrMissing},
		{"oldest of the feed, and we have nothing", 0, h.entries[2], ActionLoad, ErrMissing},
		{"insertion before the next", 7, h.next(8, func(e *Entry) { e.Before = h.entries[6].Hash }), ActionRefuse, ErrForked},
		{"insertion of another next", 8, h.next(8, func(e *Entry) { e.Source = 99 }), ActionRefuse, ErrWentBack},
		{"insertion of a second first", 0, h.next(1, func(e *Entry) { e.Number, e.Before = 2, someHash }), ActionGap, nil},
		{"resequencing", 6, h.entries[8], ActionGap, nil},
		{"corruption of the changes", 7, h.altered(8, -trailerSize-9), ActionRefuse, ErrSignature},
		{"corruption of the time", 7, h.altered(8, 18), ActionRefuse, ErrSignature},
		{"corruption of the hash", 7, h.altered(8, 40), ActionRefuse, ErrSignature},
		{"corruption of the signer", 7, h.altered(8, -trailerSize), ActionRefuse, ErrKey},
		{"corruption of the signature", 7, h.altered(8, -1), ActionRefuse, ErrSignature},
		{"corruption of an old one", 7, h.altered(3, -1), ActionRefuse, ErrSignature},
		{"delay", 8, h.entries[6], ActionRepeat, nil},
		{"masquerade", 7, h.signedBy(9, 8), ActionRefuse, ErrKey},
		{"masquerade under the feed's key", 7, h.named(h.signedBy(9, 8), two), ActionRefuse, ErrSignature},
		{"masquerade at first contact", 0, h.signedBy(9, 1), ActionRefuse, ErrKey},
		{"masquerade at first contact, as the centre", 0, h.named(h.signedBy(9, 1), one), ActionRefuse, ErrSignature},
		{"masquerade as the past", 7, h.signedBy(9, 3), ActionRefuse, ErrKey},
		{"rollback to our place", 7, h.next(7, func(e *Entry) { e.Source = 99 }), ActionRefuse, ErrWentBack},
		{"rollback to our place, newer", 7, h.next(7, func(e *Entry) { e.Time++ }), ActionRefuse, ErrWentBack},
		{"rollback behind us, rewritten later", 7, h.next(6, func(e *Entry) { e.Time = 7e6 }), ActionRefuse, ErrWentBack},
		{"rollback, grown past us", 7, h.next(8, func(e *Entry) { e.Before = someHash }), ActionRefuse, ErrForked},
		{"rollback before the key changed", 7, h.signedBy(1, 7), ActionRefuse, ErrRetired},
		{"next, not newer", 7, h.next(8, func(e *Entry) { e.Time = 7e6 }), ActionRefuse, ErrTimeBack},
		{"next, older", 7, h.next(8, func(e *Entry) { e.Time = 1 }), ActionRefuse, ErrTimeBack},
		{"foreign epoch, next", 7, h.next(8, func(e *Entry) { e.Epoch = 8 }), ActionLoad, ErrForeignEpoch},
		{"foreign epoch, ahead", 7, h.next(9, func(e *Entry) { e.Epoch = 8 }), ActionLoad, ErrForeignEpoch},
		{"foreign epoch, first and newer", 7, h.next(1, func(e *Entry) { e.Epoch, e.Time = 8, 8e6 }), ActionLoad, ErrForeignEpoch},
		{"foreign epoch, as old as we", 7, h.next(8, func(e *Entry) { e.Epoch, e.Time = 8, 7e6 }), ActionRefuse, ErrForeignEpoch},
		{"foreign epoch, older", 7, h.next(1, func(e *Entry) { e.Epoch = 8 }), ActionRefuse, ErrForeignEpoch},
		{"key rotation in order, announced", 4, h.entries[5], ActionApply, nil},
		{"key rotation in order, in force", 5, h.entries[6], ActionApply, nil},
		{"key rotation ahead of its time", 4, h.signedBy(2, 5), ActionRefuse, ErrKey},
		{"key rotation by nobody's word", 3, h.next(4, func(e *Entry) { e.NextKey = one }), ActionRefuse, ErrRetired},
		{"signature by a retired key", 7, h.signedBy(1, 8), ActionRefuse, ErrRetired},
		{"signature by a retired key, right after", 5, h.signedBy(1, 6), ActionRefuse, ErrRetired},
		{"retired key brought back", 7, h.next(8, func(e *Entry) { e.NextKey = one }), ActionRefuse, ErrRetired},
		{"key in force announced again", 7, h.next(8, func(e *Entry) { e.NextKey = two }), ActionRefuse, ErrRetired},
		{"another next key", 7, h.next(8, func(e *Entry) { e.NextKey = foreign }), ActionApply, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := h.followed(test.at)
			at, terms := f.position, len(f.terms)
			oldest := strings.HasPrefix(test.name, "oldest")
			action, err := f.Step(test.entry, oldest)
			if action != test.action || !errors.Is(err, test.err) {
				t.Errorf("%v, %v; want %v, %v", action, err, test.action, test.err)
			}
			if f.Position() != at || len(f.terms) != terms {
				t.Error("Step moved the follower")
			}
		})
	}
	var zero Action
	if zero != ActionRefuse || zero.String() != "refuse" {
		t.Error("the zero Action does not refuse")
	}
}

// named returns s with another key named as its signer's.
func (h *history) named(s *Signed, key gateway.FeedKey) *Signed {
	id := key.ID()
	b := bytes.Clone(s.bytes)
	copy(b[len(b)-trailerSize:], id[:])
	return decode(h.t, b)
}

// What came out of order is applied once it is in order.
func TestFollowerResequenced(t *testing.T) {
	h := newHistory(t)
	f := h.followed(6)
	if action, _ := f.Step(h.entries[8], false); action != ActionGap {
		t.Fatal(action)
	}
	h.apply(&f, h.entries[7])
	h.apply(&f, h.entries[8])
}

// A box that was there all the time, one that was restarted at any entry, and
// one that joins late end with the same keys.
func TestFollowerTerms(t *testing.T) {
	h := newHistory(t)
	want := []gateway.KeyTerm{{Key: testSecret(1).Public(), From: 1}, {Key: testSecret(2).Public(), From: 6}}
	for restart := range uint64(10) {
		f := h.followed(restart)
		f = NewFollower(Start{Position: f.position, Terms: f.terms, Trusted: testKeys})
		for n := restart + 1; n < 10; n++ {
			h.apply(&f, h.entries[n])
		}
		if !slices.Equal(f.terms, want) {
			t.Errorf("restarted at %d: %v", restart, f.terms)
		}
	}
}

func TestFollowerTrust(t *testing.T) {
	h := newHistory(t)
	one, two, foreign := testSecret(1).Public(), testSecret(2).Public(), testSecret(9).Public()
	for _, test := range []struct {
		name    string
		at      uint64
		trusted []gateway.FeedKey
		err     error
	}{
		{"the first key of a feed that has rotated", 7, []gateway.FeedKey{one}, nil},
		{"the key in force only", 7, []gateway.FeedKey{two}, nil},
		{"both and another", 7, []gateway.FeedKey{foreign, two, one}, nil},
		{"none of the feed any more", 7, []gateway.FeedKey{foreign}, ErrKey},
		{"first contact, several", 0, []gateway.FeedKey{foreign, two, one}, nil},
		{"first contact, the later key only", 0, []gateway.FeedKey{two}, ErrKey},
	} {
		f := h.followed(test.at, test.trusted...)
		action, err := f.Step(h.entries[test.at+1], false)
		if !errors.Is(err, test.err) || (err == nil) != (action == ActionApply) {
			t.Errorf("%s: %v, %v; want %v", test.name, action, err, test.err)
		}
	}
}

// With more rotations than a box remembers, the oldest terms are forgotten and
// following goes on.
func TestFollowerForgetsOldTerms(t *testing.T) {
	f := NewFollower(Start{Trusted: testKeys})
	var first *Signed
	for n := uint64(1); n <= gateway.MaxKeyTerms+5; n++ {
		key := byte(n)
		s := decode(t, sign(t, key, Entry{Epoch: 7, Number: n, Time: int64(n), Before: f.position.Hash, NextKey: testSecret(key + 1).Public()}))
		if first == nil {
			first = s
		}
		f.trusted = []gateway.FeedKey{testSecret(key).Public()}
		if action, err := f.Step(s, false); action != ActionApply {
			t.Fatal(n, action, err)
		}
		u := f.Update(s)
		f.Applied(&u)
		if len(u.Keys) > gateway.MaxKeyTerms {
			t.Fatalf("%d terms", len(u.Keys))
		}
	}
	if f.terms[0].From != 7 || len(f.terms) != gateway.MaxKeyTerms {
		t.Errorf("%d terms, the first from %d", len(f.terms), f.terms[0].From)
	}
	if action, err := f.Step(first, false); action != ActionRefuse || !errors.Is(err, ErrKey) {
		t.Errorf("an entry of a forgotten key: %v, %v", action, err)
	}
}

func TestFollowerComplete(t *testing.T) {
	const never = ^uint64(0)
	for _, test := range []struct {
		name     string
		usable   bool
		askedAt  uint64 // position at which the centre is first asked
		last     uint64 // the feed's last entry then
		complete uint64 // the entry that carries Complete, 0 = none of 1 … 9
	}{
		{"empty feed", false, 0, 0, 1},
		{"five to fetch", false, 0, 5, 5},
		{"one to fetch", false, 0, 1, 1},
		{"feed ends at our position", false, 3, 3, 4},
		{"asked on the way", false, 2, 6, 6},
		{"more than there will be", false, 0, 12, 0},
		{"never asked", false, never, 0, 0},
		{"usable already", true, 0, 5, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := NewFollower(Start{Usable: test.usable, Trusted: testKeys})
			complete := uint64(0)
			for n := uint64(1); n < 10; n++ {
				if n == test.askedAt+1 {
					f.Asked(test.last)
					f.Asked(test.last + 1000) // only the first counts
				}
				e := decode(t, sign(t, 1, Entry{Epoch: 9, Number: n, Time: int64(n), Before: f.position.Hash}))
				if action, err := f.Step(e, false); action != ActionApply {
					t.Fatal(n, action, err)
				}
				u := f.Update(e)
				if u.Complete && complete != 0 {
					t.Errorf("complete at %d and %d", complete, n)
				}
				if u.Complete {
					complete = n
				}
				f.Applied(&u)
			}
			if complete != test.complete {
				t.Errorf("complete at %d, want %d", complete, test.complete)
			}
		})
	}
}
