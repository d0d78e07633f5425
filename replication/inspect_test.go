package replication

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"gateline/gateway"
)

// stored is a message of the feed as the files or the server have it.
type stored struct {
	number uint64
	data   string
}

// readFeed returns the messages of the feed from the files.
func readFeed(t *testing.T, dir string, from uint64) (all []stored) {
	t.Helper()
	s := openStreams(t, dir)
	defer s.Close()
	err := s.Feed(from, func(number uint64, data []byte, _ int64) error {
		all = append(all, stored{number, string(data)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func openStreams(t *testing.T, dir string) *Streams {
	t.Helper()
	s, err := OpenStreams(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask returns the messages from … to as the server has them.
func (c *centre) ask(from, to uint64) (all []stored) {
	c.t.Helper()
	for n := from; n <= to; n++ {
		msg, err := c.pub.stream.GetMsg(c.t.Context(), n)
		if err != nil {
			c.t.Fatal(err)
		}
		all = append(all, stored{msg.Sequence, string(msg.Data)})
	}
	return all
}

// The files say what the server says, also after snapshots were replaced over and
// over, after a restart, and where the feed lies in several files.
func TestStreamsReadWhatTheServerHas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openCentre(t, dir, "")
	if _, err := OpenStreams(dir); !errors.Is(err, ErrCentreRuns) {
		t.Errorf("while a centre runs: %v", err)
	}
	c.publish(40)
	snapshots := func() {
		for range 100 {
			for id := range gateway.ShardID(3) {
				first, _ := id.Range()
				s := gateway.Shard{ID: id, Records: []gateway.Change{{Token: first + gateway.Token(c.pub.shards.sequence)}}}
				if err := c.pub.PublishShard(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	snapshots()
	c.close()
	c = openCentre(t, dir, "")
	c.publish(10)
	snapshots()
	last := map[gateway.ShardID]string{}
	for id := range gateway.ShardID(3) {
		msg, err := c.pub.shards.stream.GetLastMsgForSubject(t.Context(), subjectOfShard(id))
		if err != nil {
			t.Fatal(err)
		}
		last[id] = string(msg.Data)
	}
	want := c.ask(1, 50)
	c.close()

	if got := readFeed(t, dir, 0); !slices.Equal(got, want) {
		t.Errorf("%d messages in the files, %d at the server, or they differ", len(got), len(want))
	}
	s := openStreams(t, dir)
	shards, err := s.Shards()
	if err != nil {
		t.Fatal(err)
	}
	for id, data := range last {
		snapshot, size, err := shards.Snapshot(id)
		if err != nil || size != len(data) || string(snapshot.bytes) != data {
			t.Errorf("snapshot of shard %d: %v", id, err)
		}
	}
	if _, _, err := shards.Snapshot(3); !errors.Is(err, ErrNoSnapshot) {
		t.Errorf("a shard without a snapshot: %v", err)
	}
	if h, err := shards.Head(); err != nil || h.At.Number != 50 && h.At.Number != 40 {
		t.Errorf("head at entry %d: %v", h.At.Number, err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}

	splitFeed(t, dir, 20, 35)
	if got := readFeed(t, dir, 0); !slices.Equal(got, want) {
		t.Error("in three files the feed is another")
	}
	// Files that end below the entry asked for are not read.
	if got := readFeed(t, dir, 30); !slices.Equal(got, want[20:]) {
		t.Errorf("from entry 30: %d messages from %d", len(got), got[0].number)
	}
	if got := readFeed(t, dir, 36); !slices.Equal(got, want[35:]) {
		t.Errorf("from entry 36: %d messages from %d", len(got), got[0].number)
	}
}

// splitFeed divides the one file of the feed after these entries; the second and
// the third are 2.blk and 10.blk.
func splitFeed(t *testing.T, dir string, after ...int) {
	t.Helper()
	msgs := filepath.Join(dir, "jetstream", "$G", "streams", StreamFeed, "msgs")
	b, err := os.ReadFile(filepath.Join(msgs, "1.blk"))
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"1.blk", "2.blk", "10.blk"}
	start, offset := 0, 0
	for n := 1; offset < len(b); n++ {
		_, size, err := readRecord(b[offset:])
		if err != nil {
			t.Fatal(err)
		}
		offset += size
		if slices.Contains(after, n) || offset == len(b) {
			if err := os.WriteFile(filepath.Join(msgs, names[0]), b[start:offset], 0o600); err != nil {
				t.Fatal(err)
			}
			names, start = names[1:], offset
		}
	}
}

// What has expired leaves no hole: the files begin where the server does, or
// before.
func TestStreamsOfAFeedThatExpires(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openCentre(t, dir, "")
	c.publish(20)
	config := c.pub.stream.CachedInfo().Config
	config.MaxAge, config.Duplicates = 100*time.Millisecond, 100*time.Millisecond
	if _, err := c.js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	var state jetstream.StreamState
	until(t, "all expired", func() bool {
		info, err := c.pub.stream.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		state = info.State
		return state.FirstSeq == 21
	})
	config.MaxAge = time.Hour
	if _, err := c.js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	c.publish(5)
	want := c.ask(21, 25)
	c.close()
	got := readFeed(t, dir, 0)
	if len(got) < len(want) || !slices.Equal(got[len(got)-len(want):], want) || got[0].number+uint64(len(got)) != 26 {
		t.Errorf("%d messages from %d", len(got), got[0].number)
	}
	s := openStreams(t, dir)
	defer s.Close()
	if info, err := s.FeedInfo(); err != nil || info.Keep != time.Hour || info.Epoch != c.pub.Last().Epoch || info.Bytes == 0 {
		t.Errorf("%+v, %v", info, err)
	}
}

// Whatever a file holds, reading it ends in an error or in messages that lie
// within it.
func TestRecordsOfDamagedFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openCentre(t, dir, "")
	c.publish(2)
	c.close()
	b, err := os.ReadFile(filepath.Join(dir, "jetstream", "$G", "streams", StreamFeed, "msgs", "1.blk"))
	if err != nil {
		t.Fatal(err)
	}
	_, first, err := readRecord(b)
	if err != nil {
		t.Fatal(err)
	}
	read := func(b []byte) (n int, err error) {
		err = walkBlock("1.blk", b, 0, func(r *record, at place) error {
			if n++; at.size > len(b) || len(r.data) > at.size {
				t.Errorf("a message of %d bytes, data of %d, in a file of %d", at.size, len(r.data), len(b))
			}
			return nil
		})
		return n, err
	}
	for end := range b {
		n, err := read(b[:end])
		if whole := end == 0 || end == first; (err == nil) != whole || err != nil && !errors.Is(err, ErrStored) {
			t.Errorf("cut at byte %d of %d: %d messages, %v", end, len(b), n, err)
		}
	}
	for i := range recordHead {
		for bit := range 8 {
			damaged := bytes.Clone(b)
			damaged[i] ^= 1 << bit
			if _, err := read(damaged); err != nil && !errors.Is(err, ErrStored) {
				t.Errorf("bit %d of byte %d: %v", bit, i, err)
			}
		}
	}
}

func TestStreamsThatAreNone(t *testing.T) {
	t.Parallel()
	if _, err := OpenStreams(t.TempDir()); !errors.Is(err, ErrNoStreams) {
		t.Error(err)
	}
	dir := t.TempDir()
	hub, err := OpenHub(HubConfig{Dir: dir, Log: (&lines{}).logger()})
	if err == nil {
		err = hub.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	s := openStreams(t, dir)
	if _, err := s.FeedInfo(); !errors.Is(err, ErrNoStreams) {
		t.Error(err)
	}
	if _, err := s.Shards(); !errors.Is(err, ErrNoStreams) {
		t.Error(err)
	}
	// Two may look, and no centre starts meanwhile.
	if err := openStreams(t, dir).Close(); err != nil {
		t.Error(err)
	}
	if _, err := OpenHub(HubConfig{Dir: dir, Log: (&lines{}).logger()}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a centre starts beside: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// feedOf signs entries that follow each other, with the key given first; an entry
// with NextKey changes it to the next in the order of testSecret.
func feedOf(t *testing.T, secret byte, entries ...Entry) (all []Signed) {
	t.Helper()
	before := gateway.Hash{}
	for i := range entries {
		e := entries[i]
		e.Epoch, e.Number, e.Before = 7, uint64(i+1), before
		if e.Time == 0 {
			e.Time = int64(i + 1)
		}
		s := decode(t, sign(t, secret, e))
		if e.NextKey != (gateway.FeedKey{}) {
			secret++
		}
		before = s.Hash
		all = append(all, *s)
	}
	return all
}

// Rules that a real publisher never breaks.
func TestAudit(t *testing.T) {
	t.Parallel()
	k1, k2, k3 := testSecret(1).Public(), testSecret(2).Public(), testSecret(3).Public()
	rotated := feedOf(t, 1, Entry{}, Entry{NextKey: k2}, Entry{}, Entry{NextKey: k3}, Entry{})
	foreign := rotated[1]
	foreign.Epoch = 8
	for name, c := range map[string]struct {
		given     []gateway.FeedKey
		announced []Signed
		entries   []Signed
		proofs    []Proof
		err       string
	}{
		"two rotations":           {[]gateway.FeedKey{k1}, nil, rotated, []Proof{2, 2, 2, 2, 2}, ""},
		"no key given":            {nil, nil, rotated, []Proof{0, 0, 1, 1, 1}, ""},
		"from the middle":         {[]gateway.FeedKey{k1}, []Signed{rotated[3], rotated[1]}, rotated[2:], []Proof{2, 2, 2}, ""},
		"the middle by itself":    {[]gateway.FeedKey{k2}, nil, rotated[2:], []Proof{2, 2, 2}, ""},
		"a later key only":        {[]gateway.FeedKey{k2}, nil, rotated, nil, "entry 1: it is signed with key " + k1.ID().String()},
		"the last key only":       {[]gateway.FeedKey{k3}, []Signed{rotated[1], rotated[3]}, rotated[4:], nil, "announcement of a key at entry 2: "},
		"time does not grow":      {nil, nil, feedOf(t, 1, Entry{Time: 5}, Entry{Time: 5}), []Proof{0}, "entry 2: its time is not after"},
		"a retired key":           {nil, nil, feedOf(t, 1, Entry{NextKey: k2}, Entry{NextKey: k1}, Entry{}), []Proof{0}, "entry 2: it announces key " + k1.ID().String()},
		"the key that signs":      {nil, nil, feedOf(t, 1, Entry{NextKey: k1}), nil, "entry 1: it announces key"},
		"a key that nobody named": {nil, nil, feedOf(t, 1, Entry{NextKey: k3}, Entry{}), []Proof{0}, "entry 2: it names key " + k2.ID().String()},
		"of another epoch":        {nil, nil, []Signed{foreign}, nil, "entry 2: it is of epoch 0000000000000008"},
		"announced in another":    {nil, []Signed{foreign}, nil, nil, "it is of another epoch"},
		"announced is not so":     {nil, feedOf(t, 1, Entry{NextKey: k2})[:1], rotated, []Proof{0}, "entry 2: it names key"},
		"a hole":                  {nil, nil, []Signed{rotated[0], rotated[2]}, []Proof{0}, "entry 2 is missing: entry 3 follows entry 1"},
		"of another entry before": {nil, nil, []Signed{rotated[0], feedOf(t, 1, Entry{Source: 9}, Entry{})[1]}, []Proof{0}, "entry 2: the hash it names"},
	} {
		a := NewAudit(7, c.given)
		var got []Proof
		err := a.Announced(slices.Clone(c.announced))
		for i := 0; err == nil && i < len(c.entries); i++ {
			var p Proof
			if p, err = a.Entry(c.entries[i].Number, &c.entries[i]); err == nil {
				got = append(got, p)
			}
		}
		if !slices.Equal(got, c.proofs) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: proofs %v, %v", name, got, err)
		}
	}
	a := NewAudit(7, nil)
	if _, err := a.Entry(2, &rotated[0]); err == nil || !strings.Contains(err.Error(), "it is stored as number 2") {
		t.Error(err)
	}
	if a.last != (gateway.Position{}) {
		t.Error("what was refused counts")
	}
}
