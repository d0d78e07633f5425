package central

import (
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
	"gateline/gateway"
	"gateline/internal/logtest"
	"gateline/replication"
)

// entries reads the whole feed of a running centre.
func (r *running) entries() []replication.Signed {
	r.t.Helper()
	var all []replication.Signed
	for _, data := range r.messages(replication.StreamFeed) {
		e, err := replication.DecodeEntry(data)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func (r *running) messages(name string) [][]byte {
	r.t.Helper()
	js, err := jetstream.New(r.Client.conn)
	if err != nil {
		r.t.Fatal(err)
	}
	stream, err := js.Stream(r.t.Context(), name)
	if err != nil {
		r.t.Fatal(err)
	}
	info, err := stream.Info(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	var all [][]byte
	for n := max(1, info.Config.FirstSeq); n <= info.State.LastSeq; n++ {
		var m *jetstream.RawStreamMsg
		// Of several servers one may answer that has not got the last ones yet.
		until(r.t, "the message is there", func() bool {
			m, err = stream.GetMsg(r.t.Context(), n)
			return !errors.Is(err, jetstream.ErrMsgNotFound)
		})
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, m.Data)
	}
	return all
}

// checkFeed follows the feed as a box does: genuine, numbers without a hole, one
// epoch, times and sources that never fall, one entry with an effect for each ledger
// message, and in the end the records of the centre.
func (r *running) checkFeed(compacted ...Receipt) []replication.Signed {
	r.t.Helper()
	after := map[uint64]uint64{} // a ledger message → the next that entries tell of
	for _, c := range compacted {
		after[c.Destroyed.Last] = c.Kept.Last
	}
	all := r.entries()
	if n := len(compacted); n > 0 {
		// The first entry after the snapshot is the heartbeat of a start.
		until(r.t, "the feed covers the snapshot", func() bool {
			all = r.entries()
			return all[len(all)-1].Source >= compacted[n-1].Kept.Last
		})
	}
	follower := replication.NewFollower(replication.Start{Trusted: []gateway.FeedKey{r.cfg.FeedKeys[0].Public()}})
	box := map[gateway.Token]gateway.Record{}
	for i, e := range all {
		if e.Number != uint64(i+1) || e.Epoch != all[0].Epoch {
			r.t.Fatalf("entry %d has number %d", i+1, e.Number)
		}
		if action, err := follower.Step(&e, false); action != replication.ActionApply {
			r.t.Fatalf("entry %d: %v, %v", e.Number, action, err)
		}
		u := follower.Update(&e)
		follower.Applied(&u)
		var before replication.Signed
		if i > 0 {
			before = all[i-1]
		}
		next, jumps := after[before.Source]
		if !jumps {
			next = before.Source + 1
		}
		if e.Time < before.Time || e.Source != before.Source && e.Source != next && e.Source != next+1 {
			r.t.Fatalf("entry %d: source %d after %d", e.Number, e.Source, before.Source)
		}
		if (e.Source == before.Source || jumps && e.Source == next) && (len(e.Changes) > 0 || e.Schedule != nil || e.Purge) {
			r.t.Fatalf("entry %d repeats ledger message %d", e.Number, e.Source)
		}
		if e.Purge {
			clear(box)
		}
		for _, c := range e.Changes {
			if c.Delete {
				delete(box, c.Token)
			} else {
				box[c.Token] = c.Record
			}
		}
	}
	if !maps.Equal(box, r.held()) {
		r.t.Fatal("a box that followed the feed does not hold what the centre holds")
	}
	n := uint64(len(r.messages(StreamLedger)))
	if len(compacted) > 0 {
		n += compacted[len(compacted)-1].Destroyed.Last
	}
	if n != all[len(all)-1].Source {
		r.t.Fatalf("the feed covers ledger message %d of %d", all[len(all)-1].Source, n)
	}
	return all
}

func (r *running) must(d Done, err error) Done {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

func TestRestartResumes(t *testing.T) {
	cfg := testConfig(t.TempDir(), &logtest.Buffer{})
	c := start(t, cfg)
	c.must(c.SetPolicy(t.Context(), gateway.DefaultPolicy(noon)))
	for i := range 20 {
		id := fmt.Sprintf("p%d", i%7)
		c.must(c.Bind(t.Context(), account(i), id))
		c.must(c.Report(t.Context(), id, Status{Class: "normal", Anchor: "2022-05-28", Minute: i}))
	}
	c.must(c.Unbind(t.Context(), account(3), ""))
	before, held := c.checkFeed(), c.held()
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	if got := recordsOf(c.writer.state); !maps.Equal(got, held) {
		t.Fatal("the state changed while stopping")
	}

	c = start(t, cfg)
	if n := c.FeedNumber(); n < uint64(len(before)) {
		t.Fatalf("the feed went back from %d to %d", len(before), n)
	}
	if !maps.Equal(c.held(), held) {
		t.Fatal("the records differ after a restart")
	}
	d := c.must(c.Bind(t.Context(), account(3), "p1"))
	if d.Number <= uint64(len(before)) {
		t.Fatalf("number %d after %d", d.Number, len(before))
	}
	s, err := c.Policy(t.Context())
	if err != nil || s.Version != 1 {
		t.Fatalf("schedule %+v, %v", s, err)
	}
	if after := c.checkFeed(); after[0].Epoch != before[0].Epoch {
		t.Error("another epoch")
	}
}

// faultyFeed fails at the next publication that carries changes, before or
// after the entry is stored: what a kill leaves behind.
type faultyFeed struct {
	feed
	stored bool
}

var errKilled = errors.New("killed")

func (f *faultyFeed) Publish(ctx context.Context, e *replication.Entry) error {
	if len(e.Changes) == 0 {
		return f.feed.Publish(ctx, e)
	}
	if f.stored {
		if err := f.feed.Publish(ctx, e); err != nil {
			return err
		}
	}
	return errKilled
}

func TestKilledBetweenLedgerAndFeed(t *testing.T) {
	for _, stored := range []bool{false, true} {
		t.Run(fmt.Sprintf("stored=%v", stored), func(t *testing.T) {
			cfg := testConfig(t.TempDir(), &logtest.Buffer{})
			c := start(t, cfg)
			c.must(c.Report(t.Context(), "ann", Status{Class: "red"}))
			c.must(c.Bind(t.Context(), account(1), "ann"))
			if err := c.stop(); err != nil {
				t.Fatal(err)
			}
			central, err := Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			central.writer.feed = &faultyFeed{feed: central.writer.feed, stored: stored}
			c = run(t, central)
			var refusal *Refusal
			if _, err := c.Bind(t.Context(), account(2), "ann"); !errors.As(err, &refusal) || refusal.Code != CodeBusy {
				t.Fatalf("the caller got %v", err)
			}
			if err := c.Records(nil); !errors.Is(err, errNoRecords) {
				t.Errorf("records of a failed centre: %v", err)
			}
			if err := c.stop(); !errors.Is(err, errKilled) {
				t.Fatalf("Run returned %v", err)
			}

			c = start(t, cfg)
			until(t, "the missing entry is published", func() bool { return len(c.held()) == 2 })
			c.checkFeed()
			if again := c.must(c.Bind(t.Context(), account(2), "ann")); again.Changed != 0 {
				t.Error("the caller's second attempt changed something")
			}
			c.checkFeed()
		})
	}
}

// TestFeedIsRebuilt loses the feed and keeps the ledger.
func TestFeedIsRebuilt(t *testing.T) {
	cfg := testConfig(t.TempDir(), &logtest.Buffer{})
	c := start(t, cfg)
	c.must(c.SetPolicy(t.Context(), gateway.DefaultPolicy(noon)))
	for i := range 5 {
		c.must(c.Bind(t.Context(), account(i), "ann"))
	}
	before := c.checkFeed()
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	removeStream(t, cfg.Dir, replication.StreamFeed)
	c = start(t, cfg)
	until(t, "the feed covers the ledger", func() bool { return c.FeedNumber() >= 6 })
	after := c.checkFeed()
	if after[0].Epoch == before[0].Epoch || after[0].Schedule == nil || len(c.held()) != 5 {
		t.Error("the feed was not rebuilt under a new epoch")
	}
}

// TestLostLedgerIsNoticed loses the ledger and keeps the feed.
func TestLostLedgerIsNoticed(t *testing.T) {
	cfg := testConfig(t.TempDir(), &logtest.Buffer{})
	c := start(t, cfg)
	c.must(c.Bind(t.Context(), account(1), "ann"))
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	removeStream(t, cfg.Dir, StreamLedger)
	runFails(t, cfg, ErrLedgerLost, "gateline central rebuild")
	// Without the copy the feed tells.
	removeCopy(t, cfg.Dir)
	runFails(t, cfg, ErrLedger, "restore")
}

func TestAnotherKeyIsNoticed(t *testing.T) {
	cfg := testConfig(t.TempDir(), &logtest.Buffer{})
	c := start(t, cfg)
	c.must(c.Bind(t.Context(), account(1), "ann"))
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	cfg.TokenKey[0]++
	runFails(t, cfg, ledgercopy.ErrForeignKey, "key")
	removeCopy(t, cfg.Dir)
	runFails(t, cfg, ErrLedger, "key")
}

// runFails starts a centre that refuses to, at once or once it has looked.
func runFails(t *testing.T, cfg Config, want error, hint string) {
	t.Helper()
	c, err := Open(cfg)
	if err == nil {
		err = run(t, c).stopped()
	}
	if !errors.Is(err, want) || !strings.Contains(err.Error(), hint) {
		t.Errorf("the centre says %v", err)
	}
}

func removeCopy(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, CopyFolder)); err != nil {
		t.Fatal(err)
	}
}

// stopped waits until Run ends by itself.
func (r *running) stopped() error {
	select {
	case err := <-r.ended:
		r.ended <- err
	case <-time.After(10 * time.Second):
		r.t.Error("Run goes on")
	}
	return r.stop()
}

func removeStream(t *testing.T, dir, name string) {
	t.Helper()
	var found string
	err := filepath.WalkDir(streamsDir(dir), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == name {
			found = path
			return fs.SkipAll
		}
		return err
	})
	if err != nil || found == "" {
		t.Fatalf("no directory of the stream %s: %v", name, err)
	}
	if err := os.RemoveAll(found); err != nil {
		t.Fatal(err)
	}
}

func TestSecondCentreIsRefused(t *testing.T) {
	cfg := testConfig(t.TempDir(), &logtest.Buffer{})
	c := start(t, cfg)
	if second, err := Open(cfg); err == nil {
		t.Fatal("a second centre opened the same directory", second.Close())
	} else if !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), cfg.Dir) {
		t.Errorf("not clear: %v", err)
	}
	c.must(c.Bind(t.Context(), account(1), "ann"))
}

func bindCommand(t *testing.T, credential, person string) command {
	t.Helper()
	c, refusal := byOps(testDoor().rows([]Row{{Credential: credential, Person: person}}, needBind))
	if refusal != nil {
		t.Fatal(refusal)
	}
	return c
}

// TestStaleWriterIsFenced has two writers over one hub, which the directory's
// lock excludes on one machine but not in a cluster.
func TestStaleWriterIsFenced(t *testing.T) {
	cfg := testConfig(t.TempDir(), &logtest.Buffer{})
	c := start(t, cfg)
	c.must(c.Bind(t.Context(), account(1), "ann"))
	js, err := jetstream.New(c.Client.conn)
	if err != nil {
		t.Fatal(err)
	}
	checked, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	other, err := ledgercopy.Open(t.TempDir(), ledgercopy.KeyCheck(newKeyCheck(testKey())), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	second, err := openWriter(t.Context(), js, checked, other)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.replay(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	r := &round{state: second.state}
	if err := second.decide(r, item{command: bindCommand(t, account(2), "bob")}); err != nil {
		t.Fatal(err)
	}
	// A heartbeat of the first may come in between the second's replay and its
	// publication: then the second is the one that is fenced in the feed.
	if err := second.commit(t.Context(), r); err != nil && !errors.Is(err, ErrTakenOver) {
		t.Fatal(err)
	}
	_, _ = c.Bind(t.Context(), account(3), "ann") // answered with E114 or not at all
	until(t, "the first centre's Run has ended", func() bool { return len(c.ended) == 1 })
	if n := len(c.messages(StreamLedger)); n != 2 {
		t.Errorf("%d messages in the ledger: the stale writer added one", n)
	}
	if err := c.stop(); !errors.Is(err, ErrTakenOver) {
		t.Errorf("the first centre's Run returned %v", err)
	}
}

func TestOpenReportsEveryFault(t *testing.T) {
	_, err := Open(Config{Heartbeat: -1})
	for _, want := range []string{"dir:", "token key:", "heartbeat"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(testConfig(file, &logtest.Buffer{})); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file as directory: %v", err)
	}
}
