package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gateline/cache"
	"gateline/gateway"
	"gateline/replication"
)

// Each fault is found and named, by whoever looks.
func TestInspectFaults(t *testing.T) {
	t.Parallel()
	dir, box := inspectDir(t)
	key := " --feed-key " + testFeedSecret.Public().String()
	cut := func(from, to int) func([][]byte) [][]byte {
		return func(m [][]byte) [][]byte { return slices.Delete(m, from, to) }
	}
	half := func(m [][]byte) [][]byte {
		m[8] = m[8][:len(m[8])/2]
		return m
	}
	for name, c := range map[string]struct {
		stream string
		change func([][]byte) [][]byte
		args   string
		out    string
		err    string
	}{
		"changed entry":                {"FEED", flip(6, 100), "feed" + key, "1 … 6", "entry 7: "},
		"changed entry, no key":        {"FEED", flip(0, 85), "feed", "1 … 1", "entry 2: the hash it names is not that of entry 1, so one of the two was changed"},
		"changed hash, no key":         {"FEED", flip(3, 80), "feed", "1 … 3", "entry 4: the hash it names is not that of entry 3"},
		"changed entry alone":          {"FEED", flip(3, 80), "feed --entry 4" + key, "signature   wrong", "entry 4: its signature is wrong"},
		"forged signature":             {"FEED", flip(3, 0), "feed" + key, "1 … 3", "entry 4: its signature is wrong (key " + testFeedSecret.Public().ID().String()},
		"forged signature, later key":  {"FEED", flip(7, 0), "feed", "1 … 7", "entry 8: its signature is wrong"},
		"another key's id":             {"FEED", flip(7, 64), "feed", "1 … 7", "entry 8: it names key "},
		"missing entry":                {"FEED", cut(3, 4), "feed" + key, "1 … 3", "entry 4 is missing: entry 5 follows entry 3"},
		"missing end":                  {"FEED", cut(3, 9), "feed", "1 … 3", "the feed ends at entry 3, and the head of the shards was made at entry 5"},
		"half of an entry":             {"FEED", half, "feed", "1 … 8", "a file of a stream is damaged: "},
		"changed order":                {"FEED", func(m [][]byte) [][]byte { m[1], m[2] = m[2], m[1]; return m }, "feed", "1 … 1", "entry 2 is missing"},
		"entry of a snapshot missing":  {"FEED", cut(4, 5), "shard", "! snapshot", "snapshot of shard 2: entry 5, at which it was made, is missing"},
		"snapshot at another entry":    {"FEED", flip(4, 80), "shard all", "    2 ! snapshot of shard 2: it was made at another entry 5", "snapshot of shard 2"},
		"forged snapshot":              {"SHARDS", flipLast("gateline.shard.002", 0), "shard" + key, "3 of 4096 written", "snapshot of shard 2: its signature is wrong"},
		"changed snapshot":             {"SHARDS", flipLast("gateline.shard.002", 75), "shard 2", "shard       2", "has not the sum it says"},
		"changed announcement":         {"SHARDS", flipLast("gateline.shard.key.", 0), "feed" + key, "", "announcement of a key at entry 5: its signature is wrong"},
		"box, an entry changed":        {"FEED", flip(7, 0), "store --against", "store ", "entry 8: its signature is wrong"},
		"box, a snapshot changed":      {"SHARDS", flipLast("gateline.shard.002", 0), "store --against", "store ", "snapshot of shard 2: its signature is wrong"},
		"box, the centre went back":    {"FEED", cut(8, 9), "store --against", "store ", "the box stands at entry 9 and the centre's feed ends at entry 8"},
		"box, the end is another":      {"FEED", flip(8, 10), "store --against", "store ", "entry 9: its signature is wrong"},
		"shards, damaged file":         {"SHARDS", func(m [][]byte) [][]byte { m[1][0]++; return m }, "shard", "", "a file of a stream is damaged"},
		"feed, damaged file of shards": {"SHARDS", func(m [][]byte) [][]byte { m[1][0]++; return m }, "feed", "", "a file of a stream is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			at, args := alter(t, dir, c.stream, c.change), words(c.args)
			if args[0] == "store" {
				args = append(args, at, "--shard", "2", "--dir", box)
			} else {
				args = append(args, "--dir", at)
			}
			inspect(t, args...).want(t, 1, c.out, c.err)
			var found inspected
			r := inspect(t, append(args, "--json")...)
			if err := json.Unmarshal([]byte(r.out), &found); err != nil || found.OK || !strings.Contains(found.Error, c.err) {
				t.Errorf("%v, ok %v, error %q", err, found.OK, found.Error)
			}
		})
	}
}

// What is not there, not ours, in use, or another's is refused, and nothing is
// made in it.
func TestInspectRefuses(t *testing.T) {
	t.Parallel()
	dir, box := inspectDir(t)
	other := filepath.Dir(writeFile(t, "photo.jpg", ""))
	empty, noFeed := t.TempDir(), copyOf(t, dir)
	if err := os.RemoveAll(filepath.Join(noFeed, "streams", "jetstream", "$G", "streams", "FEED")); err != nil {
		t.Fatal(err)
	}
	oneKey := t.TempDir()
	first := openInspectFeed(t, oneKey)
	first.publish(replication.Entry{})
	first.snapshot(1)
	first.close()
	for args, want := range map[string]string{
		"feed --dir " + empty:                        "no centre has ever run there; give the directory that the centre's configuration names",
		"feed --dir " + other:                        "no centre has ever run there",
		"feed --dir " + box:                          "no centre has ever run there",
		"shard --dir /nonexistent":                   "no centre has ever run there",
		"feed --dir " + noFeed:                       "not the streams of a centre: there is no stream FEED",
		"feed --from 10 --dir " + dir:                "the feed has no such entry",
		"feed --entry 10 --dir " + dir:               "entry 10 is not there",
		"store --dir " + empty:                       "not a gateline cache: there is no folder badger in it",
		"store --dir " + other:                       "not a gateline cache",
		"store --dir " + dir:                         "not a gateline cache",
		"store --dir /nonexistent":                   "give the directory that [cache] dir names",
		"store --against " + empty + " --dir " + box: "no centre has ever run there",
		"shard --dir " + oneKey + " --feed-key " + inspectNext.Public().String(): "none of the keys given",
		"feed --dir " + dir + " --feed-key " + inspectNext.Public().String():     "none of the keys given, nor announced under one of them; give the public key that signed entry 1",
	} {
		if r := inspect(t, words(args)...); r.code != 1 || !strings.Contains(r.err, want) || strings.Contains(r.err, "restore") || strings.Contains(r.out, "!") {
			t.Errorf("%s: exit code %d\n%s", args, r.code, r.err)
		}
	}
	for args, want := range map[string]string{
		"feed --entry 3 --from 2": "give --entry, or --from", "feed --from 3 --to 2": "not below it", "feed x": "unknown command",
		"shard 4096": "is not a shard", "shard one": "is not a shard", "shard 1 2": "accepts at most 1 arg", "store --shard -1": "is not a shard",
		"feed --dir " + dir + " --feed-key x": "--feed-key: bad feed key", "store --feed-key x": "only with --against", "frob": "unknown command",
		"feed --dir " + dir + " --feed-key " + testFeedSecret.Reveal(): "this is the secret",
	} {
		if r := inspect(t, words(args)...); r.code != 2 || !strings.Contains(r.err, want) || strings.Contains(r.err, "feedsecret-0") {
			t.Errorf("%s: exit code %d\n%s", args, r.code, r.err)
		}
	}
	for _, d := range []string{empty, other} {
		if n := len(contents(t, d)); n > 1 {
			t.Errorf("something was made in %s", d)
		}
	}
	// While a centre or a box runs.
	f := openInspectFeed(t, dir)
	for _, args := range []string{"feed", "shard", "store --against " + dir + " --dir " + box} {
		if !strings.Contains(args, "--dir") {
			args += " --dir " + dir
		}
		if r := inspect(t, words(args)...); r.code != 1 || !strings.Contains(r.err, "a centre runs on this directory") {
			t.Errorf("%s: exit code %d\n%s", args, r.code, r.err)
		}
	}
	f.close()
	store, err := cache.Open(box, cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	inspect(t, "store", "--dir", box).want(t, 1, "", "in use by another process")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errOut bytes.Buffer
	if code := runWith(ctx, environment{}, []string{"inspect", "feed", "--dir", dir}, nil, &out, &errOut); code != 1 || !strings.Contains(errOut.String(), "inspect feed: interrupted") {
		t.Errorf("exit code %d\n%s", code, errOut.String())
	}
}

// Root leaves no files of its own in the store of the box's user.
func TestInspectStoreOfAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	_, box := inspectDir(t)
	if err := os.Chown(box, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	inspect(t, "store", "--dir", box).want(t, 1, "", "belongs to user 12345 and is not opened as root")
}

// A box that differs from the centre, has not everything, or follows another
// feed.
func TestInspectStoreAgainst(t *testing.T) {
	t.Parallel()
	dir, box := inspectDir(t)
	key := " --feed-key " + testFeedSecret.Public().String()
	change := func(t *testing.T, load func(gateway.Position) gateway.Load) string {
		t.Helper()
		at := copyOf(t, box)
		store, err := cache.Open(at, cache.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(store.Load(load(store.Position())), store.Close()); err != nil {
			t.Fatal(err)
		}
		return at
	}
	shard := func(at gateway.Position, records ...gateway.Change) gateway.Load {
		return gateway.Load{Shards: []gateway.Shard{{ID: 2, At: at, Records: records}}}
	}
	differs := change(t, func(at gateway.Position) gateway.Load { return shard(at, set(inspectToken(2, 1))) })
	inspect(t, words("store --against "+dir+" --dir "+differs+key)...).want(t, 1, "centre      4095 shards are the same, 1 differ, 0 cannot be compared\n", "shard 2 differs: 1 records with sum ")

	// Behind the snapshots of shards 2, 3 and 4, of which the last alone was
	// changed in between.
	behind := change(t, func(at gateway.Position) gateway.Load {
		to := inspectEntry(t, dir, 4)
		return gateway.Load{To: &to, Shards: []gateway.Shard{{ID: 2, At: to, Records: []gateway.Change{set(inspectToken(2, 1)), set(inspectToken(2, 2))}}, {ID: 4, At: to}}}
	})
	inspect(t, words("store --against "+dir+" --dir "+behind+key)...).want(t, 0, "centre      4095 shards are the same, 0 differ, 1 cannot be compared\n            shard 4: changed since the entry at which the box stands\n", "")

	// Amid a load a shard is ahead of the box's position.
	amid := change(t, func(at gateway.Position) gateway.Load {
		to := inspectEntry(t, dir, 4)
		l := shard(at, set(inspectToken(2, 1)), set(inspectToken(2, 3)))
		l.To = &to
		return l
	})
	inspect(t, words("store --shard 2 --against "+dir+" --dir "+amid+key)...).want(t, 0, "centre      1 shards are the same, 0 differ", "")

	fork := change(t, func(at gateway.Position) gateway.Load {
		at.Hash[0]++
		return gateway.Load{To: &at}
	})
	inspect(t, words("store --against "+dir+" --shard 2 --dir "+fork)...).want(t, 1, "store ", "the box has applied another entry 9 than the centre's feed has")
	another, _ := inspectDir(t)
	inspect(t, words("store --against "+another+" --shard 2 --dir "+box)...).want(t, 1, "store ", "nothing can be compared")
	// Without its first file a feed leads from no snapshot to the box.
	expired := alter(t, dir, "FEED", func(m [][]byte) [][]byte { return m[6:] })
	inspect(t, words("store --against "+expired+" --dir "+box+key)...).want(t, 0,
		"centre      2 shards are the same, 0 differ, 4094 cannot be compared\n            shard 0: the entries after its snapshot have expired up to entry 6\n", "")
	inspect(t, words("feed --dir "+expired+key)...).want(t, 0, "note        the entries before 7 are gone although the feed keeps everything", "")
	inspect(t, words("shard --dir "+expired+key)...).want(t, 0, "feed        0 made at an entry of the feed, 4 at one that has expired\n", "")
	// A store that was never connected.
	fresh := t.TempDir()
	store, err := cache.Open(fresh, cache.Options{})
	if err == nil {
		err = store.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	inspect(t, "store", "--shard", "2", "--dir", fresh).want(t, 0, "never complete yet (R24)", "")
	inspect(t, "store", "--shard", "2", "--dir", fresh, "--against", dir).want(t, 1, "0 of 4096 loaded", "has applied no entry yet")
}

// inspectEntry returns the position at an entry of a stopped centre.
func inspectEntry(t *testing.T, dir string, number uint64) (at gateway.Position) {
	t.Helper()
	s, err := replication.OpenStreams(filepath.Join(dir, "streams"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	err = s.Feed(0, func(_ uint64, data []byte, _ int64) error {
		e, err := replication.DecodeEntry(data)
		if e.Number == number {
			at = gateway.Position{Epoch: e.Epoch, Number: e.Number, Watermark: e.Time, Hash: e.Hash}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return at
}
