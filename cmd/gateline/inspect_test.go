package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"gateline/cache"
	"gateline/gateway"
	"gateline/replication"
)

// inspectNext is the second key of the feed under inspection.
var inspectNext = gateway.FeedSecret{8}

// inspectToken returns a token of a shard.
func inspectToken(shard, n uint64) gateway.Token {
	return gateway.Token(shard<<52 | n*0x1234567)
}

var inspectRecord = gateway.Record{Class: gateway.ClassYellow, Anchor: 19213}

// inspectFeed is a real centre's server and publisher; records go through the
// feed, so that a box may follow it too.
type inspectFeed struct {
	t    *testing.T
	dir  string // as inspect takes it
	hub  *replication.Hub
	js   jetstream.JetStream
	feed *replication.Publisher
}

func openInspectFeed(t *testing.T, dir string) *inspectFeed {
	t.Helper()
	f := &inspectFeed{t: t, dir: dir}
	var err error
	f.hub, err = replication.OpenHub(replication.HubConfig{Dir: filepath.Join(dir, "streams"), LeafListen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	nc, err := f.hub.Connect()
	if err != nil {
		t.Fatal(err)
	}
	if f.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	f.feed, err = replication.OpenPublisher(t.Context(), f.js, replication.PublisherConfig{Keys: []gateway.FeedSecret{testFeedSecret, inspectNext}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	return f
}

func (f *inspectFeed) close() {
	f.js.Conn().Close()
	if err := f.hub.Close(); err != nil {
		f.t.Error(err)
	}
}

func (f *inspectFeed) publish(e replication.Entry) {
	f.t.Helper()
	e.Time = 1_653_868_800_000_000 + int64(f.feed.Last().Number)*1_000_000
	if err := f.feed.Publish(f.t.Context(), &e); err != nil {
		f.t.Fatal(err)
	}
}

func set(t gateway.Token) gateway.Change { return gateway.Change{Token: t, Record: inspectRecord} }

// inspectDir fills the directory of a centre and stops it: entries 1 to 9, with
// a change of the key at 5, snapshots of shards 1 to 4, and a box that followed
// all.
func inspectDir(t *testing.T) (dir, box string) {
	t.Helper()
	dir, box = t.TempDir(), t.TempDir()
	f := openInspectFeed(t, dir)
	f.publish(replication.Entry{Changes: []gateway.Change{set(inspectToken(1, 1)), set(inspectToken(2, 1)), set(inspectToken(2, 2))}})
	f.publish(replication.Entry{Schedule: &gateway.Schedule{Version: 7, Policies: []gateway.Policy{gateway.DefaultPolicy(boxStart)}}})
	f.snapshot(1, set(inspectToken(1, 1)))
	f.publish(replication.Entry{}) // has the checkpoint of shard 1
	f.publish(replication.Entry{})
	f.publish(replication.Entry{NextKey: inspectNext.Public()})
	f.snapshot(2, set(inspectToken(2, 1)), set(inspectToken(2, 2)))
	f.publish(replication.Entry{Changes: []gateway.Change{{Token: inspectToken(2, 2), Delete: true}, set(inspectToken(2, 3)), set(inspectToken(4, 1))}})
	f.snapshot(3)
	f.snapshot(4, set(inspectToken(4, 1)))
	for range 3 {
		f.publish(replication.Entry{})
	}
	f.follow(box, 9)
	f.close()
	return dir, box
}

func (f *inspectFeed) snapshot(id gateway.ShardID, records ...gateway.Change) {
	f.t.Helper()
	if err := f.feed.PublishShard(f.t.Context(), gateway.Shard{ID: id, Records: records}); err != nil {
		f.t.Fatal(err)
	}
}

// follow lets a real box follow the feed up to an entry.
func (f *inspectFeed) follow(dir string, number uint64) {
	f.t.Helper()
	log := slog.New(slog.DiscardHandler)
	store, err := cache.Open(dir, cache.Options{Log: log})
	if err != nil {
		f.t.Fatal(err)
	}
	box, err := replication.OpenBox(replication.BoxConfig{Station: "xidan", CentreURL: "nats-leaf://" + f.hub.LeafAddr(), Store: store, Keys: []gateway.FeedKey{testFeedSecret.Public()}, Log: log})
	if err != nil {
		f.t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(f.t.Context())
	go func() { done <- box.Run(ctx) }()
	poll(f.t, func() bool { return store.Position().Number >= number }, func() string { return "the box does not follow" })
	cancel()
	if err := <-done; err != nil {
		f.t.Error(err)
	}
	if err := box.Close(); err != nil {
		f.t.Error(err)
	}
	if err := store.Close(); err != nil {
		f.t.Error(err)
	}
}

// copyOf returns a copy of a directory.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// contents returns every file below dir.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, path))
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// alter changes the stored messages of a stream of a copy of a centre's
// directory.
func alter(t *testing.T, dir, stream string, change func(messages [][]byte) [][]byte) string {
	t.Helper()
	dir = copyOf(t, dir)
	path := filepath.Join(dir, "streams", "jetstream", "$G", "streams", stream, "msgs", "1.blk")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var messages [][]byte
	for rest := b; len(rest) > 0; {
		size := binary.LittleEndian.Uint32(rest) &^ (1 << 31)
		messages = append(messages, rest[:size:size])
		rest = rest[size:]
	}
	if err := os.WriteFile(path, slices.Concat(change(messages)...), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// flip changes one bit of the data of message i, so many bytes before its last,
// where the server's checksum of 8 is not counted.
func flip(i, before int) func([][]byte) [][]byte {
	return func(m [][]byte) [][]byte {
		m[i][len(m[i])-9-before] ^= 1
		return m
	}
}

// flipLast is flip for the last message of a subject.
func flipLast(subject string, before int) func([][]byte) [][]byte {
	return func(m [][]byte) [][]byte {
		for i := len(m) - 1; ; i-- {
			if bytes.Contains(m[i], []byte(subject)) {
				return flip(i, before)(m)
			}
		}
	}
}

func inspect(t *testing.T, args ...string) result {
	t.Helper()
	r := gateline(t, environment{}, nil, append([]string{"inspect"}, args...)...)
	for _, token := range []gateway.Token{inspectToken(1, 1), inspectToken(2, 1), inspectToken(2, 2), inspectToken(2, 3), inspectToken(4, 1)} {
		for _, secret := range []string{fmt.Sprintf("%x", uint64(token)), fmt.Sprint(uint64(token)), "yellow"} {
			if strings.Contains(strings.ToLower(r.out+r.err), secret) {
				t.Errorf("%v shows a token or a record:\n%s%s", args, r.out, r.err)
			}
		}
	}
	return r
}

// What an operator sees of a feed, of shards and of a store that are sound.
// Nothing in the centre's directory changes by it.
func TestInspect(t *testing.T) {
	t.Parallel()
	dir, box := inspectDir(t)
	before := contents(t, dir)
	key := testFeedSecret.Public()
	from, next := key.ID(), inspectNext.Public().ID()
	for _, c := range []struct {
		args string
		want []string
	}{
		{"feed --feed-key " + key.String(), []string{
			"entries     1 … 9, 2022-05-30 08:00:00 … 2022-05-30 08:00:08\n", "signatures  9 right\n",
			fmt.Sprintf("key         %v from entry 1\nkey         %v from entry 6\n", from, next),
			"changes     6 in 2 of the entries\nschedules   1\nnext keys   1\ncheckpoints 3\npurges      0\nheartbeats  3\n",
		}},
		{"feed", []string{"signatures  5 NOT VERIFIED, 4 right by keys that the feed itself announces; give the public key"}},
		// The key of a part comes from what announced it.
		{"feed --from 7 --to 8 --feed-key " + key.String(), []string{"entries     7 … 8, ", "signatures  2 right\n", fmt.Sprintf("%v from entry 7", next)}},
		{"feed --entry 6 --feed-key " + key.String(), []string{"entry       6 of epoch ", fmt.Sprintf("key         %v\nsignature   right\n", next), "holds       3 changes in ", ", the checkpoint of shard 2, sum "}},
		{"feed --entry 5", []string{"signature   not verified\nholds       the next key, " + next.String()}},
		{"feed --entry 2", []string{"holds       a schedule of "}},
		{"feed --entry 4", []string{"holds       nothing: a heartbeat; 138 bytes"}},
		{"shard --feed-key " + key.String(), []string{
			"shards      4 of 4096 written", "head        entry 5, 2022-05-30 08:00:04", "policy      version 7, set by entry 2\n",
			"oldest      shard 1, entry 2, 2022-05-30 08:00:01; the newest at entry 6\n", "records     4 in ", "signatures  4 right\n",
			"feed        4 made at an entry of the feed, 0 at one that has expired\nfaults      0\n",
		}},
		{"shard all", []string{"\n    2            5 2022-05-30 08:00:04        2      ", "same    right by a key of the feed itself\n"}},
		{"shard 0x2", []string{"shard       2\nentry       5 of epoch ", "records     2 in ", "feed        same\n"}},
		{"shard 5", []string{"has no snapshot yet"}},
		{"store", []string{"store       entry 9 of epoch ", ", complete\n", "policy      version 7\n", "shards      4096 of 4096 loaded", "records     4\n", " of all shards\n"}},
		{"store --shard 4095", []string{"shard       4095, 0 records, mark at entry 0\nsum         "}},
		{"store --shard all", []string{"\n    2            0        2 "}},
		{"store --against " + dir + " --feed-key " + key.String(), []string{"centre      4096 shards are the same, 0 differ, 0 cannot be compared\nsignatures  13 right\n"}},
		{"store --shard 2 --against " + dir, []string{"centre      1 shards are the same, "}},
	} {
		at := dir
		if strings.HasPrefix(c.args, "store") {
			at = box
		}
		r := inspect(t, append(words(c.args), "--dir", at)...)
		for _, want := range c.want {
			r.want(t, 0, want, "")
		}
	}
	if !maps.Equal(before, contents(t, dir)) {
		t.Error("the centre's directory was changed")
	}
	for args, want := range map[string]func(*inspected) bool{
		"feed --dir " + dir: func(f *inspected) bool {
			return f.Feed.Last == 9 && f.Feed.Signatures == proofs{0, 4, 5} && f.Feed.Whole
		},
		"feed --entry 3 --dir " + dir: func(f *inspected) bool { return *f.Entry.CheckpointShard == 1 && f.Entry.Changes == 0 },
		"shard --dir " + dir: func(f *inspected) bool {
			return f.Shards.Shards == nil && f.Shards.Written == 4 && f.Shards.Records == 4
		},
		"shard all --dir " + dir:       func(f *inspected) bool { return len(f.Shards.Shards) == 4 && f.Shards.Shards[1].Records == 2 },
		"store --dir " + box:           func(f *inspected) bool { return f.Store.Number == 9 && f.Store.Shards == nil },
		"store --shard 2 --dir " + box: func(f *inspected) bool { return len(f.Store.Shards) == 1 && f.Store.Shards[0].Records == 2 },
	} {
		r := inspect(t, append(words(args), "--json")...)
		var found inspected
		if err := json.Unmarshal([]byte(r.out), &found); err != nil || r.code != 0 || !found.OK || !want(&found) {
			t.Errorf("%s: %v, exit code %d, %s", args, err, r.code, r.err)
		}
	}
	// The centre goes on in it as if nothing had been.
	f := openInspectFeed(t, dir)
	f.publish(replication.Entry{})
	if n := f.feed.Last().Number; n != 10 {
		t.Errorf("entry %d after 9", n)
	}
}
