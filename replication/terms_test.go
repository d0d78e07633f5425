package replication

import (
	"errors"
	"slices"
	"testing"

	"gateline/gateway"
)

// announce returns the entry of epoch 7 that announces a key.
func announce(t *testing.T, signer byte, number uint64, next byte) Signed {
	t.Helper()
	return *decode(t, sign(t, signer, Entry{Epoch: 7, Number: number, Time: int64(number), Before: someHash, NextKey: testSecret(next).Public()}))
}

func termsOf(terms ...any) (all []gateway.KeyTerm) {
	for i := 0; i < len(terms); i += 2 {
		all = append(all, gateway.KeyTerm{Key: testSecret(byte(terms[i].(int))).Public(), From: uint64(terms[i+1].(int))})
	}
	return all
}

// What a box makes of a head and the announcements beside it. The feed of epoch 7
// began with key 1, then came key 2 after entry 10 and key 3 after entry 20.
func TestAccept(t *testing.T) {
	two, three := announce(t, 1, 10, 2), announce(t, 2, 20, 3)
	all := []Signed{three, two}
	at := func(epoch uint64, time int64) gateway.Position {
		return gateway.Position{Epoch: epoch, Number: 30, Watermark: time, Hash: someHash}
	}
	altered := two
	altered.bytes = slices.Clone(two.bytes)
	altered.bytes[len(altered.bytes)-1] ^= 1
	whole := termsOf(1, 1, 2, 11, 3, 21)
	for _, test := range []struct {
		name      string
		position  gateway.Position // of the box
		terms     []gateway.KeyTerm
		trusted   []byte
		head      gateway.Position
		signer    byte
		announced []Signed
		want      []gateway.KeyTerm
		err       error
	}{
		{"first contact", gateway.Position{}, nil, []byte{1}, at(7, 50), 3, all, whole, nil},
		{"first contact, no key was changed", gateway.Position{}, nil, []byte{9, 1}, at(7, 50), 1, nil, termsOf(1, 1), nil},
		{"first contact, another key is configured", gateway.Position{}, nil, []byte{9}, at(7, 50), 3, all, nil, ErrKey},
		{"first contact, the key in force is configured only", gateway.Position{}, nil, []byte{3}, at(7, 50), 3, all, nil, ErrKey},
		{"an announcement is withheld", gateway.Position{}, nil, []byte{1}, at(7, 50), 3, []Signed{two}, nil, ErrKey},
		{"the first is withheld", gateway.Position{}, nil, []byte{1}, at(7, 50), 3, []Signed{three}, nil, ErrKey},
		{"a retired key signs the head", gateway.Position{}, nil, []byte{1}, at(7, 50), 1, all, nil, ErrKey},
		{"an announcement is altered", gateway.Position{}, nil, []byte{1}, at(7, 50), 2, []Signed{altered}, nil, ErrSignature},
		{"an announcement by a stranger", gateway.Position{}, nil, []byte{1}, at(7, 50), 3, []Signed{two, announce(t, 9, 20, 3)}, nil, ErrKey},
		{"a key comes back", gateway.Position{}, nil, []byte{1}, at(7, 50), 1, []Signed{two, announce(t, 2, 20, 1)}, nil, ErrRetired},
		{"of another feed", gateway.Position{}, nil, []byte{1}, at(8, 50), 3, all, nil, ErrEntry},
		{"the box knows some", at(7, 5), termsOf(1, 1, 2, 11), []byte{1}, at(7, 50), 3, all, whole, nil},
		{"the box knows all", at(7, 5), whole, []byte{1}, at(7, 50), 3, all, whole, nil},
		{"the box has forgotten the first", at(7, 5), termsOf(2, 11), []byte{2}, at(7, 50), 3, all, termsOf(2, 11, 3, 21), nil},
		{"none of the box's is configured any more", at(7, 5), termsOf(1, 1), []byte{9}, at(7, 50), 3, all, nil, ErrKey},
		{"new epoch", at(6, 49), termsOf(5, 1), []byte{5, 1}, at(7, 50), 3, all, whole, nil},
		{"new epoch, the same key", at(6, 49), termsOf(1, 1), []byte{1}, at(7, 50), 1, nil, termsOf(1, 1), nil},
		{"new epoch, a key that was retired in the old one", at(6, 49), termsOf(1, 1, 2, 9), []byte{1, 2}, at(7, 50), 1, nil, nil, ErrKey},
		{"new epoch, the key in force, not configured", at(6, 49), termsOf(1, 1, 2, 9), []byte{1}, at(7, 50), 2, nil, nil, ErrKey},
		{"new epoch, the key in force, configured", at(6, 49), termsOf(1, 1, 2, 9), []byte{1, 2}, at(7, 50), 2, nil, termsOf(2, 1), nil},
		{"an old epoch", at(6, 50), termsOf(1, 1), []byte{1}, at(7, 50), 1, nil, nil, ErrOldEpoch},
		{"a foreign epoch", at(6, 49), termsOf(1, 1), []byte{1}, at(7, 50), 9, nil, nil, ErrKey},
	} {
		f := NewFollower(Start{Position: test.position, Terms: test.terms})
		for _, n := range test.trusted {
			f.trusted = append(f.trusted, testSecret(n).Public())
		}
		h := decodeHead(t, signHead(t, test.signer, Head{At: test.head, Complete: true}))
		got, err := f.Accept(h, slices.Clone(test.announced))
		if !errors.Is(err, test.err) || !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, %v; want %v, %v", test.name, got, err, test.want, test.err)
		}
		if h.bytes[len(h.bytes)-1] ^= 1; test.err == nil {
			if _, err := f.Accept(h, slices.Clone(test.announced)); !errors.Is(err, ErrSignature) {
				t.Errorf("%s, altered: %v", test.name, err)
			}
		}
	}
}

// More keys than a box remembers: the newest count.
func TestAcceptForgets(t *testing.T) {
	var announced []Signed
	for n := byte(1); n <= gateway.MaxKeyTerms+3; n++ {
		announced = append(announced, announce(t, n, uint64(n)*10, n+1))
	}
	f := NewFollower(Start{Trusted: []gateway.FeedKey{testSecret(1).Public(), testSecret(9).Public()}})
	h := decodeHead(t, signHead(t, gateway.MaxKeyTerms+4, Head{At: someAt}))
	terms, err := f.Accept(h, announced)
	if err != nil || len(terms) != gateway.MaxKeyTerms || terms[len(terms)-1].From != uint64(gateway.MaxKeyTerms+3)*10+1 {
		t.Errorf("%d terms, %v", len(terms), err)
	}
}

// A box whose shards came from before a change of the key that it was told of
// meets that entry in the feed.
func TestFollowerKnowsKeyAhead(t *testing.T) {
	h := newHistory(t)
	f := h.followed(3)
	f.Moved(f.position, termsOf(1, 1, 2, 6))
	for n := uint64(4); n < 10; n++ {
		h.apply(&f, h.entries[n])
	}
	if !slices.Equal(f.terms, termsOf(1, 1, 2, 6)) {
		t.Errorf("terms %v", f.terms)
	}
	f = h.followed(3)
	f.Moved(f.position, termsOf(1, 1, 3, 6))
	h.apply(&f, h.entries[4])
	if action, err := f.Step(h.next(5, func(e *Entry) { e.NextKey = testSecret(1).Public() }), false); action != ActionRefuse || !errors.Is(err, ErrRetired) {
		t.Errorf("a retired key comes back: %v, %v", action, err)
	}
}
