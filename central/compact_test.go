package central

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"gateline/central/ledgercopy"
	"gateline/central/rules"
	"gateline/gateway"
	"gateline/internal/logtest"
	"gateline/replication"
)

// history makes a centre whose ledger says more than is so: cards that were unbound, a
// status that was replaced, a person who is forgotten. It returns the token and the
// pseudonym of that person as the ledger writes them.
func history(t *testing.T, cfg Config) (gone []string, held map[gateway.Token]gateway.Record) {
	t.Helper()
	c := start(t, cfg)
	c.must(c.SetPolicy(t.Context(), gateway.DefaultPolicy(noon)))
	for i := range 40 {
		id := fmt.Sprintf("p%d", i%7)
		c.must(c.Bind(t.Context(), account(i), id))
		c.must(c.Report(t.Context(), id, Status{Class: "normal", Anchor: "2022-05-28", Minute: i}))
	}
	for i := 3; i < 40; i += 7 {
		c.must(c.Unbind(t.Context(), account(i), ""))
	}
	if _, err := c.channel(rules.ChannelOps).Forget(t.Context(), PersonRequest{ID: "forget-1", Who: ByID("p3")}); err != nil {
		t.Fatal(err)
	}
	person, refusal := testDoor().person("p3")
	if refusal != nil {
		t.Fatal(refusal)
	}
	gone = []string{fmt.Sprintf("%016x", uint64(tokenOf(t, account(3)))), fmt.Sprintf("%x", person[:])}
	if !bytes.Contains(bytes.Join(c.messages(StreamLedger), nil), []byte(gone[0])) || !bytes.Contains(bytes.Join(c.messages(StreamLedger), nil), []byte(gone[1])) {
		t.Fatal("the test does not know what the ledger writes")
	}
	held = c.held()
	c.stopInStep()
	return gone, held
}

// nowhere looks for what is to be gone in every file of the centre.
func nowhere(t *testing.T, dir string, gone []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil {
			leaks(t, path, data, gone)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range copied(t, dir) {
		leaks(t, "the copy", data, gone)
	}
	for _, name := range []string{beforeFolder, compactedFolder, CopyFolder + ".damaged", filepath.Join(ReceiptsFolder, pendingReceipt)} {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
}

// What has ended leaves ledger and copy; what is so stays, the feed goes on where it
// was, and a box that follows it notices nothing. It works again, and again.
func TestCompact(t *testing.T) {
	cfg := testConfig(t.TempDir(), &logtest.Buffer{})
	gone, held := history(t, cfg)
	refused := errors.New("refused")
	if _, err := Compact(t.Context(), CompactConfig{Config: cfg, Confirm: func(p CompactPlan) error {
		if p.First != 1 || p.Last < 80 || p.Persons != 6 || p.Credentials != len(held) || p.Unfinished {
			t.Errorf("%+v", p)
		}
		return refused
	}}); !errors.Is(err, refused) {
		t.Fatal(err)
	}
	var all []Receipt
	for round := range 3 {
		phases := map[string]bool{}
		r, err := Compact(t.Context(), CompactConfig{Config: cfg, Progress: func(phase string, _, _ uint64) { phases[phase] = true }})
		if err != nil {
			t.Fatal(err)
		}
		if r.Kept.First != r.Destroyed.Last+1 || r.Kept.Last != r.Kept.First || r.Credentials != len(held) || r.Persons != 6 || r.FeedKeep != "" || len(phases) != 5 {
			t.Errorf("%+v, %v", r, phases)
		}
		all = append(all, r)
		c := start(t, cfg)
		if !maps.Equal(c.held(), held) {
			t.Fatal("other records than before")
		}
		c.checkFeed(all...)
		c.must(c.Bind(t.Context(), account(100+round), "p1"))
		c.must(c.Unbind(t.Context(), account(round), ""))
		held = c.held()
		c.checkFeed(all...)
		c.stopInStep()
	}
	// Also what the feed has told of it goes, where that is asked for.
	cfg.FeedKeep = 100 * time.Hour
	r, err := Compact(t.Context(), CompactConfig{Config: cfg, NewEpoch: true})
	if err != nil || r.FeedKeep != "0s" {
		t.Fatal(err)
	}
	nowhere(t, cfg.Dir, gone)
	c := start(t, cfg)
	if !maps.Equal(c.held(), held) {
		t.Fatal("other records than before")
	}
	first := c.entries()[0]
	if first.Number != 1 || first.Source != r.Kept.First {
		t.Errorf("the new feed begins with entry %d of message %d", first.Number, first.Source)
	}
}

// A compacted ledger can do what any can: it is verified, its copy is made anew from it,
// and it from its copy.
func TestCompactedLedger(t *testing.T) {
	cfg := testConfig(t.TempDir(), &logtest.Buffer{})
	_, held := history(t, cfg)
	r, err := Compact(t.Context(), CompactConfig{Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	same := func(c *running, compacted ...Receipt) {
		t.Helper()
		if !maps.Equal(c.held(), held) {
			t.Fatal("other records than before")
		}
		c.checkFeed(compacted...)
		c.stopInStep()
	}
	cfg.VerifyLedger = true
	same(start(t, cfg), r)
	removeCopy(t, cfg.Dir)
	same(start(t, cfg), r)
	withCopy(t, cfg.Dir, testKey(), func(c *ledgercopy.Copy) {
		if c.First() != r.Kept.First {
			t.Errorf("the copy that was made anew begins at %d", c.First())
		}
	})
	removeStream(t, cfg.Dir, StreamLedger)
	runFails(t, cfg, ErrLedgerLost, "there is no stream LEDGER")
	if _, err := Compact(t.Context(), CompactConfig{Config: cfg}); !errors.Is(err, ErrCompact) || !strings.Contains(err.Error(), "gateline central rebuild") {
		t.Errorf("without a ledger: %v", err)
	}
	if plan, err := Rebuild(t.Context(), RebuildConfig{Config: cfg}); err != nil || !plan.Gone || plan.Copy != r.Kept.Last {
		t.Fatalf("%+v, %v", plan, err)
	}
	c := start(t, cfg)
	if !maps.Equal(c.held(), held) || c.entries()[0].Source != r.Kept.First {
		t.Error("the rebuilt centre says something else")
	}
	c.stopInStep()
	// An older copy is not what belongs to it.
	messages := copied(t, cfg.Dir)
	removeCopy(t, cfg.Dir)
	withCopy(t, cfg.Dir, testKey(), func(c *ledgercopy.Copy) {
		if err := c.Append(messages); err != nil {
			t.Fatal(err)
		}
	})
	runFails(t, cfg, ErrLedgerLost, "begins with message")
}

// Broken off wherever, no centre opens what is half done, and the next attempt ends it;
// or the ledger is still the one it was.
func TestCompactBrokenOff(t *testing.T) {
	for _, phase := range []string{"compare LEDGER", "read the copy", "write the snapshot", "prove the snapshot", "write LEDGER", "compare LEDGER again"} {
		t.Run(phase, func(t *testing.T) {
			cfg := testConfig(t.TempDir(), &logtest.Buffer{})
			gone, held := history(t, cfg)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			written := false
			_, err := Compact(ctx, CompactConfig{Config: cfg, NewEpoch: true, Progress: func(at string, _, _ uint64) {
				if written = written || at == "write LEDGER"; at == phase || written && at+" again" == phase {
					cancel()
				}
			}})
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if written {
				runFails(t, cfg, ErrUnfinishedRebuild, "gateline central compact")
			} else {
				c := start(t, cfg)
				if !maps.Equal(c.held(), held) {
					t.Error("other records than before")
				}
				c.stopInStep()
			}
			r, err := Compact(t.Context(), CompactConfig{Config: cfg, NewEpoch: true, Confirm: func(p CompactPlan) error {
				if p.Unfinished != written || p.Persons != 6 {
					t.Errorf("%+v", p)
				}
				return nil
			}})
			if err != nil || r.Destroyed.First != 1 || r.Persons != 6 {
				t.Fatalf("%+v, %v", r, err)
			}
			nowhere(t, cfg.Dir, gone)
			c := start(t, cfg)
			if !maps.Equal(c.held(), held) {
				t.Error("other records than before")
			}
			c.stopInStep()
		})
	}
}

// What a kill can leave between two steps, made by hand.
func TestCompactKilled(t *testing.T) {
	half := func(t *testing.T) (cfg Config, gone []string, held map[gateway.Token]gateway.Record) {
		cfg = testConfig(t.TempDir(), &logtest.Buffer{})
		gone, held = history(t, cfg)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_, err := Compact(ctx, CompactConfig{Config: cfg, NewEpoch: true, Progress: func(at string, _, _ uint64) {
			if at == "write LEDGER" {
				cancel()
			}
		}})
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		return cfg, gone, held
	}
	ends := func(t *testing.T, cfg Config, gone []string, held map[gateway.Token]gateway.Record) {
		t.Helper()
		if _, err := Compact(t.Context(), CompactConfig{Config: cfg, NewEpoch: true}); err != nil {
			t.Fatal(err)
		}
		nowhere(t, cfg.Dir, gone)
		c := start(t, cfg)
		if !maps.Equal(c.held(), held) {
			t.Error("other records than before")
		}
		c.stopInStep()
	}
	t.Run("between the two renames", func(t *testing.T) {
		cfg, gone, held := half(t)
		at := func(name string) string { return filepath.Join(cfg.Dir, name) }
		if err := os.Rename(at(CopyFolder), at(compactedFolder)); err != nil {
			t.Fatal(err)
		}
		runFails(t, cfg, ErrUnfinishedRebuild, "gateline central compact") // and it leaves an empty copy
		ends(t, cfg, gone, held)
	})
	t.Run("between the two streams", func(t *testing.T) {
		cfg, gone, held := half(t)
		removeStream(t, cfg.Dir, StreamLedger)
		ends(t, cfg, gone, held)
	})
	t.Run("between the two streams, and the new copy is lost", func(t *testing.T) {
		cfg, gone, held := half(t)
		removeStream(t, cfg.Dir, StreamLedger)
		removeCopy(t, cfg.Dir)
		for range 2 {
			runFails(t, cfg, ErrLedgerLost, "has what was before it")
		}
		removeCopy(t, cfg.Dir)
		if err := os.Rename(filepath.Join(cfg.Dir, beforeFolder), filepath.Join(cfg.Dir, CopyFolder)); err != nil {
			t.Fatal(err)
		}
		if _, err := Rebuild(t.Context(), RebuildConfig{Config: cfg}); err != nil {
			t.Fatal(err)
		}
		ends(t, cfg, gone, held)
	})
	t.Run("before the pending receipt was removed", func(t *testing.T) {
		cfg, gone, held := half(t)
		pending := filepath.Join(cfg.Dir, ReceiptsFolder, pendingReceipt)
		text, err := os.ReadFile(pending)
		if err != nil {
			t.Fatal(err)
		}
		ends(t, cfg, gone, held)
		if err := os.WriteFile(pending, text, 0o600); err != nil {
			t.Fatal(err)
		}
		ends(t, cfg, gone, held)
	})
	t.Run("and rebuilt instead", func(t *testing.T) {
		cfg, gone, held := half(t)
		if _, err := Rebuild(t.Context(), RebuildConfig{Config: cfg}); err != nil {
			t.Fatal(err)
		}
		ends(t, cfg, gone, held)
	})
	t.Run("rebuilt, and started", func(t *testing.T) {
		cfg, gone, held := half(t)
		if _, err := Rebuild(t.Context(), RebuildConfig{Config: cfg}); err != nil {
			t.Fatal(err)
		}
		c := start(t, cfg)
		c.held()
		c.stopInStep()
		if _, err := os.Stat(filepath.Join(cfg.Dir, beforeFolder)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the old copy is still there: %v", err)
		}
		ends(t, cfg, gone, held)
	})
}

func TestCompactRefuses(t *testing.T) {
	cfg := testConfig(t.TempDir(), &logtest.Buffer{})
	_, held := history(t, cfg)
	refused := func(want error, hint string) {
		t.Helper()
		if _, err := Compact(t.Context(), CompactConfig{Config: cfg}); err == nil || want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), hint) {
			t.Errorf("%v", err)
		}
	}
	onStreams(t, cfg.Dir, func(js jetstream.JetStream) {
		if _, err := js.Publish(t.Context(), SubjectLedger, appendHeader(nil, 1, newKeyCheck(testKey()), 0)); err != nil {
			t.Fatal(err)
		}
	})
	refused(ErrCompact, "start the centre, stop it")
	withCopy(t, cfg.Dir, testKey(), func(c *ledgercopy.Copy) {
		if err := c.Append([][]byte{appendHeader(nil, 1, newKeyCheck(testKey()), 0)}); err != nil {
			t.Fatal(err)
		}
	})
	refused(ErrCompact, "the feed covers ledger message")
	mark := func(metadata map[string]string) {
		onStreams(t, cfg.Dir, func(js jetstream.JetStream) {
			config := ledgerConfig(1, 1)
			config.Metadata = metadata
			if _, err := js.UpdateStream(t.Context(), config); err != nil {
				t.Fatal(err)
			}
		})
	}
	mark(map[string]string{metadataMove: "x"})
	refused(ErrUnfinished, "gateline central move")
	mark(map[string]string{metadataRebuild: "x"})
	refused(ErrUnfinishedRebuild, "gateline central rebuild")
	mark(nil)
	keys := cfg.FeedKeys
	cfg.FeedKeys = nil
	refused(nil, "feed keys: missing")
	cfg.FeedKeys = keys
	c := start(t, cfg) // nothing was changed
	if !maps.Equal(c.held(), held) {
		t.Error("other records than before")
	}
	refused(nil, "stop that one first")
}

// Whatever the numbers of a compacted ledger say, messages that do not belong together
// are no ledger.
func TestSnapshotMessages(t *testing.T) {
	header := func(end uint64) []byte { return appendHeader(nil, 1, newKeyCheck(testKey()), end) }
	for name, c := range map[string]struct {
		first    uint64
		messages [][]byte
		hint     string
	}{
		"no snapshot at its beginning": {5, [][]byte{header(0)}, "it is no snapshot"},
		"one that ends before it":      {5, [][]byte{header(4)}, "it is no snapshot"},
		"of another snapshot":          {5, [][]byte{header(6), header(7)}, "another snapshot"},
		"of none in the middle":        {5, [][]byte{header(7), header(0), header(7)}, "another snapshot"},
		"of one that has ended":        {5, [][]byte{header(5), header(5)}, "another snapshot"},
		"of one without a beginning":   {1, [][]byte{header(0), header(2)}, "another snapshot"},
		"it ends too early":            {5, [][]byte{header(7), header(7)}, "ends at 6"},
		"whole":                        {5, [][]byte{header(6), header(6), header(0)}, ""},
		"whole, from 1 on":             {1, [][]byte{header(1), header(0)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t.TempDir(), &logtest.Buffer{})
			onStreams(t, cfg.Dir, func(js jetstream.JetStream) {
				if _, err := js.CreateStream(t.Context(), ledgerConfig(1, c.first)); err != nil {
					t.Fatal(err)
				}
				for _, m := range c.messages {
					if _, err := js.Publish(t.Context(), SubjectLedger, m); err != nil {
						t.Fatal(err)
					}
				}
			})
			if c.hint != "" {
				runFails(t, cfg, ErrLedger, c.hint)
				return
			}
			start(t, cfg).held()
		})
	}
}

// A feed that has not what was before the snapshot could not be told what it lacks.
func TestFeedBehindSnapshot(t *testing.T) {
	cfg := testConfig(t.TempDir(), &logtest.Buffer{})
	history(t, cfg)
	before := filepath.Join(t.TempDir(), "feed")
	var feed string
	for _, name := range []string{replication.StreamFeed} {
		found, err := filepath.Glob(filepath.Join(streamsDir(cfg.Dir), "jetstream", "*", "streams", name))
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		feed = found[0]
	}
	if err := os.CopyFS(before, os.DirFS(feed)); err != nil {
		t.Fatal(err)
	}
	c := start(t, cfg)
	c.must(c.Bind(t.Context(), account(50), "p1"))
	c.stopInStep()
	if _, err := Compact(t.Context(), CompactConfig{Config: cfg}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.RemoveAll(feed), os.CopyFS(feed, os.DirFS(before))); err != nil {
		t.Fatal(err)
	}
	runFails(t, cfg, ErrLedger, "under a new epoch")
}

// A compacted ledger is moved to servers of the operator's like any, and is compacted
// there.
func TestCompactMoveCompact(t *testing.T) {
	m := startMoving(t, 20)
	// A move was broken off before, in the middle of the ledger.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	broken := m.config()
	broken.Progress = func(phase string, _, _ uint64) {
		if phase == "compare LEDGER" {
			cancel()
		}
	}
	if _, err := Move(ctx, broken); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	first, err := Compact(t.Context(), CompactConfig{Config: m.old})
	if err != nil {
		t.Fatal(err)
	}
	if moved, err := Move(t.Context(), m.config()); err != nil || moved.Ledger != first.Kept.Last || moved.FeedFirst != 1 {
		t.Fatalf("%+v, %v", moved, err)
	}
	m.removeMark()
	if moved, err := Move(t.Context(), m.config()); err != nil || !moved.Already {
		t.Fatalf("%+v, %v", moved, err)
	}
	c := start(t, m.new)
	if !maps.Equal(c.held(), m.held) || c.writer.feed.Last().Epoch != m.epoch {
		t.Error("other records than before, or another epoch")
	}
	c.checkFeed(first)
	c.must(c.Unbind(t.Context(), card(0), ""))
	m.held = c.held()
	elsewhere := m.new
	elsewhere.Dir = t.TempDir()
	if _, err := Compact(t.Context(), CompactConfig{Config: elsewhere}); !errors.Is(err, ErrCompact) || !strings.Contains(err.Error(), "a centre writes") {
		t.Errorf("beside a centre that runs: %v", err)
	}
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	second, err := Compact(t.Context(), CompactConfig{Config: m.new})
	if err != nil || second.Destroyed.First != first.Kept.First {
		t.Fatalf("%+v, %v", second, err)
	}
	c = start(t, m.new)
	if !maps.Equal(c.held(), m.held) || c.writer.feed.Last().Epoch != m.epoch {
		t.Error("other records than before, or another epoch")
	}
	c.must(c.Bind(t.Context(), card(0), "somebody-else"))
	c.checkFeed(first, second)
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
}
