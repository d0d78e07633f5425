package central

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"gateline/central/ledgercopy"
	"gateline/internal/logtest"
)

// A ledger that was lost in one way or another is written anew; the centre has what it
// had, goes on, and its feed begins a new epoch.
func TestRebuild(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, cfg Config, all [][]byte)
		want  RebuildPlan
	}{
		"no streams at all": {func(t *testing.T, cfg Config, _ [][]byte) {
			if err := os.RemoveAll(streamsDir(cfg.Dir)); err != nil {
				t.Fatal(err)
			}
		}, RebuildPlan{Copy: 12, Gone: true}},
		"gone":        {func(t *testing.T, cfg Config, _ [][]byte) { removeStream(t, cfg.Dir, StreamLedger) }, RebuildPlan{Copy: 12, Gone: true}},
		"shorter":     {func(t *testing.T, cfg Config, all [][]byte) { rewriteLedger(t, cfg.Dir, all[:9]) }, RebuildPlan{Copy: 12, Ledger: 9}},
		"one changed": {func(t *testing.T, cfg Config, all [][]byte) { rewriteLedger(t, cfg.Dir, append(all[:11:11], all[0])) }, RebuildPlan{Copy: 12, Ledger: 12}},
		"the same":    {func(*testing.T, Config, [][]byte) {}, RebuildPlan{Copy: 12, Ledger: 12, Agree: true}},
		"its description lost": {func(t *testing.T, cfg Config, _ [][]byte) {
			files, err := filepath.Glob(filepath.Join(streamsDir(cfg.Dir), "jetstream", "*", "streams", StreamLedger, "meta.*"))
			if err != nil || len(files) == 0 {
				t.Fatal(files, err)
			}
			for _, f := range files {
				if err := os.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
		}, RebuildPlan{Copy: 12, Gone: true}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, held := stoppedCentre(t, &logtest.Buffer{}, 12)
			before := copied(t, cfg.Dir)
			c.spoil(t, cfg, before)
			if name != "the same" {
				runFails(t, cfg, ErrLedgerLost, "rebuild")
			}
			refused := errors.New("refused")
			plan, err := Rebuild(t.Context(), RebuildConfig{Config: cfg, Confirm: func(RebuildPlan) error { return refused }})
			if plan != c.want || !errors.Is(err, refused) {
				t.Fatalf("%+v, %v", plan, err)
			}
			phases := map[string]bool{}
			plan, err = Rebuild(t.Context(), RebuildConfig{Config: cfg, Progress: func(phase string, done, total uint64) { phases[phase] = phases[phase] || done == total }})
			if plan != c.want || err != nil {
				t.Fatalf("%+v, %v", plan, err)
			}
			if !phases["read the copy"] || !phases["compare LEDGER"] || phases["write LEDGER"] == c.want.Agree {
				t.Errorf("phases %v", phases)
			}
			cfg.VerifyLedger = true
			r := start(t, cfg)
			if !maps.Equal(r.held(), held) {
				t.Error("other records than before")
			}
			r.must(r.Bind(t.Context(), account(50), "after"))
			r.checkFeed()
			r.stopInStep()
			if after := copied(t, cfg.Dir); len(after) != 13 || string(after[11]) != string(before[11]) {
				t.Errorf("%d messages in the end", len(after))
			}
		})
	}
}

// A rebuild that is broken off in each phase goes on when it is called again, and no
// centre opens what is there meanwhile.
func TestRebuildBrokenOff(t *testing.T) {
	cfg, held := stoppedCentre(t, &logtest.Buffer{}, 12)
	rewriteLedger(t, cfg.Dir, copied(t, cfg.Dir)[:3])
	for i, phase := range []string{"read the copy", "write LEDGER", "compare LEDGER"} {
		ctx, cancel := context.WithCancel(t.Context())
		plan, err := Rebuild(ctx, RebuildConfig{Config: cfg, Progress: func(at string, _, _ uint64) {
			if at == phase {
				cancel()
			}
		}})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("broken off in %q: %+v, %v", phase, plan, err)
		}
		want := ErrLedgerLost
		if i > 0 {
			want = ErrUnfinishedRebuild
		}
		runFails(t, cfg, want, "gateline central rebuild")
	}
	plan, err := Rebuild(t.Context(), RebuildConfig{Config: cfg})
	if err != nil || !plan.Unfinished || plan.Ledger != 12 {
		t.Fatalf("%+v, %v", plan, err)
	}
	c := start(t, cfg)
	if !maps.Equal(c.held(), held) {
		t.Error("other records than before")
	}
	c.stopInStep()
}

// What was begun is continued in the middle; a stream that somebody else has written to
// is begun anew the next time.
func TestRebuildContinues(t *testing.T) {
	cfg, _ := stoppedCentre(t, &logtest.Buffer{}, 12)
	all := copied(t, cfg.Dir)
	var mark string
	withCopy(t, cfg.Dir, testKey(), func(c *ledgercopy.Copy) { mark = (&rebuilder{copy: c}).mark() })
	begin := func(messages [][]byte) {
		rewriteLedger(t, cfg.Dir, messages)
		onStreams(t, cfg.Dir, func(js jetstream.JetStream) {
			config := ledgerConfig(1, 1)
			config.Metadata = map[string]string{metadataRebuild: mark}
			if _, err := js.UpdateStream(t.Context(), config); err != nil {
				t.Fatal(err)
			}
		})
	}
	begin(append(all[:4:4], all[0]))
	if plan, err := Rebuild(t.Context(), RebuildConfig{Config: cfg}); !errors.Is(err, errRebuildDiffers) || !plan.Unfinished || plan.Ledger != 5 {
		t.Fatalf("%+v, %v", plan, err)
	}
	if plan, err := Rebuild(t.Context(), RebuildConfig{Config: cfg}); err != nil || !plan.Gone {
		t.Fatalf("%+v, %v", plan, err)
	}
	begin(all[:5])
	if plan, err := Rebuild(t.Context(), RebuildConfig{Config: cfg}); err != nil || !plan.Unfinished || plan.Ledger != 5 {
		t.Fatalf("%+v, %v", plan, err)
	}
	start(t, cfg).stopInStep()
}

func TestRebuildRefuses(t *testing.T) {
	cfg, held := stoppedCentre(t, &logtest.Buffer{}, 5)
	all := copied(t, cfg.Dir)
	refused := func(want error, hint string) {
		t.Helper()
		if _, err := Rebuild(t.Context(), RebuildConfig{Config: cfg}); !errors.Is(err, want) || !strings.Contains(err.Error(), hint) {
			t.Errorf("%v", err)
		}
	}
	removeCopy(t, cfg.Dir)
	refused(ErrRebuild, "has no message")
	withCopy(t, cfg.Dir, testKey(), func(c *ledgercopy.Copy) {
		if err := c.Append(all[:4]); err != nil {
			t.Fatal(err)
		}
	})
	refused(ErrRebuild, "goes to message 5, and the copy in "+filepath.Join(cfg.Dir, CopyFolder)+" to 4 only")
	cfg.TokenKey[0]++
	refused(ledgercopy.ErrForeignKey, "key it had before")
	cfg.TokenKey[0]--
	c := start(t, cfg) // nothing was changed
	if !maps.Equal(c.held(), held) {
		t.Error("other records than before")
	}
	if _, err := Rebuild(t.Context(), RebuildConfig{Config: cfg}); err == nil || !strings.Contains(err.Error(), "stop that one first") {
		t.Errorf("while the centre runs: %v", err)
	}
}

// On servers of the operator's the stream is written there, also while they choose
// another leader of it.
func TestRebuildOnServers(t *testing.T) {
	_, cfg, _ := onServers(t, &logtest.Buffer{})
	c := start(t, cfg)
	for i := range 5 {
		c.must(c.Bind(t.Context(), account(i), "ann"))
	}
	held := c.held()
	conn, err := cfg.Servers.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), StreamLedger); err != nil {
		t.Fatal(err)
	}
	runFails(t, cfg, ErrLedgerLost, "there is no stream LEDGER")
	changed := 0
	plan, err := Rebuild(t.Context(), RebuildConfig{Config: cfg, Progress: func(phase string, _, _ uint64) {
		if phase == "write LEDGER" {
			changed++
			reply, err := conn.Request("$JS.API.STREAM.LEADER.STEPDOWN."+StreamLedger, nil, 10*time.Second)
			if err != nil || !strings.Contains(string(reply.Data), `"success":true`) {
				t.Errorf("the leader does not step down: %v", err)
			}
		}
	}})
	if err != nil || !plan.Gone || changed == 0 {
		t.Fatalf("%+v, %v", plan, err)
	}
	c = start(t, cfg)
	if got := c.held(); !maps.Equal(got, held) {
		t.Errorf("%d records of %d", len(got), len(held))
	}
	if err := c.stop(); err != nil {
		t.Error(err)
	}
}
