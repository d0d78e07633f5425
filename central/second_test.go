package central

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"gateline/central/ledgercopy"
	"gateline/gateway"
	"gateline/internal/logtest"
	"gateline/replication"
)

// noCopy is an empty copy, for a writer without a ledger.
type noCopy struct{ secondCopy }

func (noCopy) Last() uint64 { return 0 }

// copied returns what the copy of a stopped centre holds.
func copied(t testing.TB, dir string) (all [][]byte) {
	t.Helper()
	withCopy(t, dir, testKey(), func(c *ledgercopy.Copy) {
		err := c.Each(t.Context(), 0, func(_ uint64, data []byte) error {
			all = append(all, append([]byte(nil), data...))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	return all
}

func withCopy(t testing.TB, dir string, key gateway.TokenKey, fn func(*ledgercopy.Copy)) {
	t.Helper()
	c, err := ledgercopy.Open(filepath.Join(dir, CopyFolder), ledgercopy.KeyCheck(newKeyCheck(key)), nil)
	if err != nil {
		t.Fatal(err)
	}
	fn(c)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// stopInStep stops a centre and checks that its copy holds the ledger, no more and no
// less.
func (r *running) stopInStep() {
	r.t.Helper()
	r.held() // the ledger has been replayed
	ledger := r.messages(StreamLedger)
	if err := r.stop(); err != nil {
		r.t.Fatal(err)
	}
	all := copied(r.t, r.cfg.Dir)
	if len(all) != len(ledger) {
		r.t.Fatalf("the copy has %d messages, the ledger %d", len(all), len(ledger))
	}
	for i := range all {
		if string(all[i]) != string(ledger[i]) {
			r.t.Fatalf("message %d of the copy is another than that of the ledger", i+1)
		}
	}
}

// stopped returns the configuration of a centre that has bound so many cards, one
// after the other, and was stopped, with its records.
func stoppedCentre(t *testing.T, log *logtest.Buffer, cards int) (Config, map[gateway.Token]gateway.Record) {
	t.Helper()
	cfg := testConfig(t.TempDir(), log)
	c := start(t, cfg)
	for i := range cards {
		c.must(c.Bind(t.Context(), account(i), fmt.Sprintf("p%d", i/50)))
	}
	held := c.held()
	c.checkFeed()
	c.stopInStep()
	return cfg, held
}

// onStreams lets fn work on the streams of a stopped centre.
func onStreams(t *testing.T, dir string, fn func(jetstream.JetStream)) {
	t.Helper()
	hub, err := replication.OpenHub(replication.HubConfig{Dir: streamsDir(dir)})
	if err != nil {
		t.Fatal(err)
	}
	defer hub.Close()
	conn, err := hub.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	fn(js)
}

// rewriteLedger replaces the stream by one with these messages.
func rewriteLedger(t *testing.T, dir string, messages [][]byte) {
	t.Helper()
	onStreams(t, dir, func(js jetstream.JetStream) {
		if err := js.DeleteStream(t.Context(), StreamLedger); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			t.Fatal(err)
		}
		if _, err := js.CreateStream(t.Context(), ledgerConfig(1, 1)); err != nil {
			t.Fatal(err)
		}
		var window []jetstream.PubAckFuture
		for i, m := range messages {
			future, err := js.PublishAsync(SubjectLedger, m)
			if err != nil {
				t.Fatal(err)
			}
			if window = append(window, future); len(window) < moveWindow && i+1 < len(messages) {
				continue
			}
			if err := acknowledged(t.Context(), window, func(error) bool { return false }); err != nil {
				t.Fatal(err)
			}
			window = window[:0]
		}
	})
}

// fallingCopy stores what it is given, or fails before.
type fallingCopy struct {
	secondCopy
	stored atomic.Bool
}

func (f *fallingCopy) Append(messages [][]byte) error {
	if f.stored.Load() {
		return f.secondCopy.Append(messages)
	}
	return errKilled
}

// TestKilledBetweenLedgerAndCopy kills a centre around each of the steps of a round:
// ledger, copy, feed.
func TestKilledBetweenLedgerAndCopy(t *testing.T) {
	for name, at := range map[string]struct{ inCopy, inFeed bool }{
		"before the copy":              {false, false},
		"between copy and feed":        {true, false},
		"after all, before the answer": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			log := &logtest.Buffer{}
			cfg, _ := stoppedCentre(t, log, 3)
			central, err := Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			falling := &fallingCopy{secondCopy: central.copy}
			falling.stored.Store(at.inCopy)
			central.writer.kept.copy = falling
			central.writer.feed = &faultyFeed{feed: central.writer.feed, stored: at.inFeed}
			c := run(t, central)
			if _, err := c.Bind(t.Context(), account(7), "ann"); err == nil {
				t.Fatal("a centre that was killed has answered")
			}
			if err := c.stop(); !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			want := 3
			if at.inCopy {
				want = 4
			}
			if n := len(copied(t, cfg.Dir)); n != want {
				t.Fatalf("the copy has %d messages, not %d", n, want)
			}
			c = start(t, cfg)
			if n := len(c.held()); n != 4 {
				t.Errorf("%d cards are bound", n)
			}
			c.must(c.Bind(t.Context(), account(8), "ann"))
			c.checkFeed()
			c.stopInStep()
		})
	}
}

// What the ledger refuses is not in the copy.
func TestCopyIsNeverAhead(t *testing.T) {
	cfg, _ := stoppedCentre(t, &logtest.Buffer{}, 3)
	c, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.writer.replay(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(c.conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), SubjectLedger, []byte("another writer's")); err != nil {
		t.Fatal(err)
	}
	r := &round{state: c.writer.state}
	if err := c.writer.decide(r, item{command: bindCommand(t, account(9), "ann")}); err != nil {
		t.Fatal(err)
	}
	if err := c.writer.commit(t.Context(), r); !errors.Is(err, ErrTakenOver) || c.copy.Last() != 3 {
		t.Errorf("the copy has %d messages, %v", c.copy.Last(), err)
	}
}

// A copy that cannot be written stops nothing, and has all again once it can.
func TestCopyFailsForAWhile(t *testing.T) {
	log := &logtest.Buffer{}
	cfg, _ := stoppedCentre(t, log, 1)
	cfg.StatusListen = "127.0.0.1:0"
	central, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	full := &fallingCopy{secondCopy: central.copy}
	var later atomic.Int64 // the keeper's clock is ahead by so much
	central.writer.kept.now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	central.writer.kept.copy = full
	c := run(t, central)
	for i := range 2 * mendMost {
		c.must(c.Bind(t.Context(), account(100+i), fmt.Sprintf("q%d", i/50)))
	}
	c.checkFeed()
	if n := strings.Count(log.String(), "cannot be written"); n != 1 {
		t.Errorf("said %d times", n)
	}
	if n := central.copy.Last(); n != 1 {
		t.Errorf("the copy has %d messages", n)
	}
	const metric, lacks = "gateline_central_ledger_copy_behind_messages", 2 * mendMost
	until(t, "the metric tells what the copy lacks", func() bool { return metricOf(t, c, metric) == fmt.Sprint(lacks) })
	if n := strings.Count(log.String(), "copy of the ledger is behind"); n != 0 {
		t.Errorf("told %d times before it was time", n)
	}
	// Two heartbeats later it is still the same ten minutes.
	for i := range 2 {
		later.Add(int64(behindPause))
		until(t, "the log tells it again", func() bool {
			return strings.Count(log.String(), fmt.Sprintf("is behind; until it is complete the ledger alone has what it lacks: see to the disk of the centre's directory\" lacks=%d copied=1 ledger=%d", lacks, lacks+1)) == i+1
		})
	}
	full.stored.Store(true)
	later.Add(int64(mendPause))
	until(t, "the copy is complete", func() bool { return strings.Contains(log.String(), "complete again") })
	until(t, "the metric is back to 0", func() bool { return metricOf(t, c, metric) == "0" })
	c.stopInStep()
}

// The copy is gone, of an earlier moment, or damaged: it is made from the ledger.
func TestCopyIsMadeAnew(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"gone": func(t *testing.T, dir string) { removeCopy(t, dir) },
		"older": func(t *testing.T, dir string) {
			all := copied(t, dir)
			removeCopy(t, dir)
			withCopy(t, dir, testKey(), func(c *ledgercopy.Copy) {
				if err := c.Append(all[:3]); err != nil {
					t.Fatal(err)
				}
			})
		},
		"no manifest": func(t *testing.T, dir string) {
			// A table is what a copy without a manifest would lose.
			if err := errors.Join(os.WriteFile(filepath.Join(dir, CopyFolder, "000001.sst"), nil, 0o600), os.Remove(filepath.Join(dir, CopyFolder, "MANIFEST"))); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			log := &logtest.Buffer{}
			cfg, held := stoppedCentre(t, log, 12)
			spoil(t, cfg.Dir)
			c := start(t, cfg)
			if !maps.Equal(c.held(), held) {
				t.Error("other records than before")
			}
			c.stopInStep()
			_, err := os.Stat(filepath.Join(cfg.Dir, CopyFolder+".damaged"))
			if said := strings.Contains(log.String(), "made anew"); said != (name == "no manifest") || said != (err == nil) {
				t.Errorf("said %v, kept aside: %v", said, err)
			}
		})
	}
}

// damagedCopy finds in the middle of a replay that it is damaged.
type damagedCopy struct {
	secondCopy
	renewed bool
}

func (d *damagedCopy) Each(ctx context.Context, after uint64, fn func(uint64, []byte) error) error {
	return d.secondCopy.Each(ctx, after, func(n uint64, data []byte) error {
		if n == 6 && !d.renewed {
			return ledgercopy.ErrDamaged
		}
		return fn(n, data)
	})
}

func (d *damagedCopy) Renew() error {
	d.renewed = true
	return d.secondCopy.Renew()
}

// Damage that shows when the copy is read leaves nothing of it in the state.
func TestCopyIsDamagedInTheMiddle(t *testing.T) {
	log := &logtest.Buffer{}
	cfg, held := stoppedCentre(t, log, 12)
	central, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	central.writer.kept.copy = &damagedCopy{secondCopy: central.copy}
	c := run(t, central)
	if !maps.Equal(c.held(), held) {
		t.Error("other records than before")
	}
	c.checkFeed()
	c.stopInStep()
}

// A ledger that lacks what the copy holds is not served, and nothing is changed.
func TestLedgerThatLostMessages(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, cfg *Config, all [][]byte)
		want  string
	}{
		"gone":    {func(t *testing.T, cfg *Config, _ [][]byte) { removeStream(t, cfg.Dir, StreamLedger) }, "there is no stream LEDGER, and the copy in "},
		"shorter": {func(t *testing.T, cfg *Config, all [][]byte) { rewriteLedger(t, cfg.Dir, all[:9]) }, "the stream LEDGER ends at message 9, and the copy in "},
		"empty":   {func(t *testing.T, cfg *Config, _ [][]byte) { rewriteLedger(t, cfg.Dir, nil) }, "the stream LEDGER ends at message 0"},
		"one changed": {func(t *testing.T, cfg *Config, all [][]byte) {
			all[4] = all[5]
			rewriteLedger(t, cfg.Dir, all)
		}, "message 5 of the stream LEDGER differs"},
		"restored from a backup, and run without its copy": {func(t *testing.T, cfg *Config, all [][]byte) {
			rewriteLedger(t, cfg.Dir, append(all[:9:9], all[0], all[1], all[2], all[3]))
		}, "message 10 of the stream LEDGER differs"},
		"its first purged": {func(t *testing.T, cfg *Config, _ [][]byte) {
			onStreams(t, cfg.Dir, func(js jetstream.JetStream) {
				stream, err := js.Stream(t.Context(), StreamLedger)
				if err != nil {
					t.Fatal(err)
				}
				shorter := stream.CachedInfo().Config
				shorter.MaxMsgs = 10
				if _, err := js.UpdateStream(t.Context(), shorter); err != nil {
					t.Fatal(err)
				}
			})
		}, "of the 12 messages of the stream LEDGER 2 are missing"},
		"the copy is another centre's": {func(t *testing.T, cfg *Config, all [][]byte) {
			other, _ := stoppedCentre(t, &logtest.Buffer{}, 5)
			removeCopy(t, cfg.Dir)
			if err := os.Rename(filepath.Join(other.Dir, CopyFolder), filepath.Join(cfg.Dir, CopyFolder)); err != nil {
				t.Fatal(err)
			}
		}, "message 1 of the stream LEDGER differs"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, _ := stoppedCentre(t, &logtest.Buffer{}, 12)
			all := copied(t, cfg.Dir)
			c.spoil(t, &cfg, all)
			for range 2 { // it stays so
				runFails(t, cfg, ErrLedgerLost, c.want)
			}
		})
	}
}

// Between the samples only a start that verifies all sees a message that was changed.
func TestVerifyLedger(t *testing.T) {
	cfg := testConfig(t.TempDir(), &logtest.Buffer{})
	messages := make([][]byte, compareTail+3*compareSamples)
	for i := range messages {
		messages[i] = appendHeader(nil, int64(i), newKeyCheck(testKey()), 0)
	}
	withCopy(t, cfg.Dir, testKey(), func(c *ledgercopy.Copy) {
		if err := c.Append(messages); err != nil {
			t.Fatal(err)
		}
	})
	changed := append([][]byte(nil), messages...)
	changed[2] = appendHeader(nil, 77, newKeyCheck(testKey()), 0)
	rewriteLedger(t, cfg.Dir, changed)
	cfg.VerifyLedger = true
	runFails(t, cfg, ErrLedgerLost, "message 3 of the stream LEDGER differs")
	cfg.VerifyLedger = false
	c := start(t, cfg)
	c.held() // it has compared all it wanted
	if s, _, err := c.Stats(t.Context()); err != nil || s.Ledger != uint64(len(messages)) {
		t.Errorf("%+v, %v", s, err)
	}
}

// Without a ledger a damaged copy stays where it is.
func TestBothLost(t *testing.T) {
	cfg, _ := stoppedCentre(t, &logtest.Buffer{}, 2)
	if err := errors.Join(os.WriteFile(filepath.Join(cfg.Dir, CopyFolder, "000001.sst"), nil, 0o600), os.Remove(filepath.Join(cfg.Dir, CopyFolder, "MANIFEST"))); err != nil {
		t.Fatal(err)
	}
	removeStream(t, cfg.Dir, StreamLedger)
	for range 2 {
		runFails(t, cfg, ledgercopy.ErrDamaged, "from a backup")
	}
}

// A centre is killed amid commands, wherever it is: nothing it answered is missing in
// ledger or copy, and after the next start both are the same.
func TestKill(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	next := 0
	for life := range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		c := exec.CommandContext(ctx, self)
		c.Env = append(os.Environ(), powerDir+"="+dir, fmt.Sprintf("%s=%d", powerFirst, next))
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		last, said := -1, 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var number uint64
			if _, err := fmt.Sscan(lines.Text(), &last, &number); err != nil {
				t.Errorf("it says %s", lines.Text())
			}
			if said++; said == 20+7*life {
				if err := c.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = c.Wait() // it was killed
		cancel()
		if last < next {
			t.Fatalf("life %d: it has bound nothing", life)
		}
		r := start(t, testConfig(dir, &logtest.Buffer{}))
		held := r.held()
		for i := range last + 1 {
			if _, bound := held[tokenOf(t, account(i))]; !bound {
				t.Fatalf("card %d is not bound, after %d was acknowledged", i, last)
			}
		}
		next = len(held)
		r.checkFeed()
		r.stopInStep()
	}
}
