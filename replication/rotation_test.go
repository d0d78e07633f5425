package replication

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"gateline/gateway"
)

// rotate lets the nth key sign from the next entry on.
func (c *centre) rotate(secret byte) error {
	c.t.Helper()
	return c.pub.Publish(c.t.Context(), &Entry{Time: time.Now().UnixMicro(), NextKey: testSecret(secret).Public()})
}

func TestPublisherRotates(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "")
	reopen := func(secrets ...byte) error {
		t.Helper()
		again, err := OpenPublisher(t.Context(), c.js, testPublisher(secrets...))
		if err == nil {
			c.pub = again
		}
		return err
	}
	if _, err := OpenPublisher(t.Context(), c.js, PublisherConfig{}); !errors.Is(err, ErrNoKey) {
		t.Errorf("without a key: %v", err)
	}
	if err := reopen(3, 1, 2); err != nil { // an empty feed: the first key signs
		t.Fatal(err)
	}
	if c.pub.Key() != testSecret(3).Public() {
		t.Error("an empty feed is not signed by the first key")
	}
	if err := reopen(1, 2); err != nil {
		t.Fatal(err)
	}
	c.publish(2)
	for _, secret := range []byte{1, 9} { // in force; not there
		if err := c.rotate(secret); !errors.Is(err, ErrNoKey) {
			t.Errorf("to key %d: %v", secret, err)
		}
	}
	if err := c.rotate(2); err != nil || c.pub.Key() != testSecret(2).Public() {
		t.Fatal(err)
	}
	if err := c.rotate(1); !errors.Is(err, ErrNoKey) {
		t.Errorf("back to the retired key: %v", err)
	}
	// Killed right after the announcement: the new key goes on, the old one is
	// not needed, and without the new one there is no way.
	for _, secrets := range [][]byte{{1}, {9}} {
		if err := reopen(secrets...); !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), testSecret(2).Public().ID().String()) {
			t.Errorf("with keys %v: %v", secrets, err)
		}
	}
	for _, secrets := range [][]byte{{1, 2}, {2, 1}, {2}} {
		if err := reopen(secrets...); err != nil || c.pub.Key() != testSecret(2).Public() {
			t.Errorf("with keys %v: %v", secrets, err)
		}
	}
	c.publish(2)
	if err := reopen(1); !errors.Is(err, ErrNoKey) {
		t.Errorf("with the retired key only: %v", err)
	}
	if err := reopen(1, 2); err != nil {
		t.Fatal(err)
	}
	msg, err := c.pub.stream.GetMsg(t.Context(), 5)
	if err != nil || !decode(t, msg.Data).Verify(testSecret(2).Public()) {
		t.Errorf("entry 5 is not signed by the new key: %v", err)
	}
}

// What is in the feed and not signed as it says, or of another version, is not
// built upon.
func TestPublisherRefusesForgedLast(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		forge func(good []byte) []byte
		err   error
		next  string
	}{
		"altered":   {func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, ErrSignature, "backup"},
		"version 1": {func(b []byte) []byte { b[0] = 1; return b }, ErrVersion, "written anew from the ledger"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := openCentre(t, t.TempDir(), "")
			last := c.pub.Last()
			e := Entry{Epoch: last.Epoch, Number: 1, Time: 5}
			if _, err := c.js.Publish(t.Context(), SubjectFeed, test.forge(sign(t, 1, e))); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenPublisher(t.Context(), c.js, testPublisher()); !errors.Is(err, test.err) || !strings.Contains(err.Error(), test.next) {
				t.Errorf("%v", err)
			}
		})
	}
}

// A box that is connected, one that is cut off during the rotation, and one that
// joins afterwards end with the same data and the same keys.
func TestBoxesFollowRotation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openCentre(t, dir, "127.0.0.1:0")
	pub, err := OpenPublisher(t.Context(), c.js, testPublisher(1, 2, 3))
	if err != nil {
		t.Fatal(err)
	}
	c.pub = pub
	connected, cut, late := newMemory(), newMemory(), newMemory()
	log := &lines{}
	_, _ = startBox(t, c.url(), connected, log, nil)
	_, stop := startBox(t, c.url(), cut, &lines{}, func(cfg *BoxConfig) { cfg.Station = "cut" })
	c.publish(10)
	same(t, c, connected)
	same(t, c, cut)
	stop()
	for _, secret := range []byte{2, 3} {
		if err := c.rotate(secret); err != nil {
			t.Fatal(err)
		}
		c.publish(10)
	}
	_, _ = startBox(t, c.url(), cut, &lines{}, func(cfg *BoxConfig) { cfg.Station = "cut" })
	_, _ = startBox(t, c.url(), late, &lines{}, func(cfg *BoxConfig) { cfg.Station = "late" })
	want := []gateway.KeyTerm{{Key: testSecret(1).Public(), From: 1}, {Key: testSecret(2).Public(), From: 12}, {Key: testSecret(3).Public(), From: 23}}
	for _, store := range []*memory{connected, cut, late} {
		same(t, c, store)
		if !slices.Equal(store.Keys(), want) {
			t.Errorf("terms %v", store.Keys())
		}
	}
	if n := log.count("the feed has a new key"); n != 2 {
		t.Errorf("2 rotations, %d reports:\n%s", n, log)
	}
}

// A box that knows another key, or is shown entries of another version, takes
// nothing, says so once with what to do, and asks only as often as it polls.
func TestBoxTakesNothingForeign(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		keys  []gateway.FeedKey
		alter func([]byte)
		want  string
	}{
		"another key":   {[]gateway.FeedKey{testSecret(9).Public()}, func([]byte) {}, "compares [feed] keys"},
		"not signed so": {testKeys, func(b []byte) { b[len(b)-1] ^= 1 }, "find out who is between"},
		"version 1":     {testKeys, func(b []byte) { b[0] = 1 }, "update the older one"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := openCentre(t, t.TempDir(), "127.0.0.1:0")
			epoch, before := c.pub.Last().Epoch, gateway.Hash{}
			for n := uint64(1); n <= 3; n++ {
				b := sign(t, 1, Entry{Epoch: epoch, Number: n, Time: int64(n), Before: before})
				before = decode(t, b).Hash
				test.alter(b)
				if _, err := c.js.Publish(t.Context(), SubjectFeed, b); err != nil {
					t.Fatal(err)
				}
			}
			store, log := newMemory(), &lines{}
			box, _ := startBox(t, c.url(), store, log, func(cfg *BoxConfig) { cfg.Keys = test.keys })
			until(t, "refused twice", func() bool { return box.Stats().Refused >= 2 })
			if store.Position() != (gateway.Position{}) || store.Keys() != nil || log.count("next=") != 1 || log.count(test.want) != 1 {
				t.Errorf("position %v, log:\n%s", store.Position(), log)
			}
		})
	}
}
