package central

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"gateline/gateway"
	"gateline/internal/clustertest"
	"gateline/internal/logtest"
	"gateline/replication"
)

// moving is a centre with a directory of its own that has been stopped, and three
// servers that it is to be moved to.
type moving struct {
	t       *testing.T
	cluster *clustertest.Cluster
	old     Config
	new     Config
	held    map[gateway.Token]gateway.Record
	epoch   uint64
	js      jetstream.JetStream // of the servers
}

// startMoving fills a centre with cards, a policy and a report, and stops it.
func startMoving(t *testing.T, cards int) *moving {
	t.Helper()
	log := &logtest.Buffer{}
	m := &moving{t: t, old: testConfig(filepath.Join(t.TempDir(), "central"), log)}
	c := start(t, m.old)
	if _, err := c.SetPolicy(t.Context(), gateway.DefaultPolicy(time.Now().Add(-time.Hour))); err != nil {
		t.Fatal(err)
	}
	for i := range cards {
		if _, err := c.Bind(t.Context(), card(i), fmt.Sprintf("p%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	reports(t, c, "xizhimen", nil)
	m.held = c.held()
	m.epoch = c.writer.feed.Last().Epoch
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	m.cluster, m.new, _ = onServers(t, log)
	conn, err := m.new.Servers.connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if m.js, err = jetstream.New(conn); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *moving) config() MoveConfig { return MoveConfig{Dir: m.old.Dir, Servers: m.new.Servers} }

// works starts the centre on the servers: it has the bindings of the old one, takes
// another, and misses the station that has reported to the old one.
func (m *moving) works(epoch bool) {
	m.t.Helper()
	c := start(m.t, m.new)
	if held := c.held(); !maps.Equal(held, m.held) {
		m.t.Errorf("%d records, not the %d of before, or others", len(held), len(m.held))
	}
	if _, err := c.Bind(m.t.Context(), account(1), "after"); err != nil {
		m.t.Error(err)
	}
	c.checkFeed()
	if same := c.writer.feed.Last().Epoch == m.epoch; same != epoch {
		m.t.Errorf("same epoch: %v, want %v", same, epoch)
	}
	until(m.t, "the station is known", func() bool {
		_, err := c.FleetStation(m.t.Context(), "xizhimen")
		return err == nil
	})
	if err := c.stop(); err != nil {
		m.t.Error(err)
	}
}

// atHome lets fn work on the old centre's streams.
func (m *moving) atHome(fn func(jetstream.JetStream)) {
	m.t.Helper()
	hub, err := replication.OpenHub(replication.HubConfig{Dir: streamsDir(m.old.Dir)})
	if err != nil {
		m.t.Fatal(err)
	}
	defer hub.Close()
	conn, err := hub.Connect()
	if err != nil {
		m.t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		m.t.Fatal(err)
	}
	fn(js)
}

// expire takes the first entries from the old centre's feed.
func (m *moving) expire(n uint64) {
	m.t.Helper()
	m.atHome(func(js jetstream.JetStream) {
		stream, err := js.Stream(m.t.Context(), replication.StreamFeed)
		if err != nil {
			m.t.Fatal(err)
		}
		config := stream.CachedInfo().Config
		config.MaxMsgs = int64(stream.CachedInfo().State.Msgs - n)
		for range 2 {
			if _, err := js.UpdateStream(m.t.Context(), config); err != nil {
				m.t.Fatal(err)
			}
			config.MaxMsgs = -1
		}
	})
}

// removeMark lets a centre start in a directory that has been moved.
func (m *moving) removeMark() {
	m.t.Helper()
	if err := os.Remove(filepath.Join(streamsDir(m.old.Dir), "moved")); err != nil {
		m.t.Fatal(err)
	}
}

// A centre is moved: every message to its place, and the old directory is no centre's
// any more. Moving again does nothing, also when the new centre has gone on.
func TestMove(t *testing.T) {
	m := startMoving(t, 20)
	phases := map[string]bool{}
	cfg := m.config()
	cfg.Progress = func(phase string, done, total uint64) {
		phases[phase] = phases[phase] || done == total
	}
	moved, err := Move(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if moved.Already || moved.Ledger != 21 || moved.FeedFirst != 1 || moved.FeedLast < 21 || moved.Epoch != m.epoch || moved.Shards == 0 || moved.Reports != 1 {
		t.Errorf("%+v", moved)
	}
	for _, phase := range []string{"copy LEDGER", "copy FEED", "copy SHARDS", "copy STATUS", "compare LEDGER", "compare FEED", "compare SHARDS"} {
		if !phases[phase] {
			t.Errorf("no end of %q in %v", phase, phases)
		}
	}
	m.works(true)
	if _, err := Open(m.old); !errors.Is(err, replication.ErrMoved) || !strings.Contains(err.Error(), m.cluster.URLs()[0]) {
		t.Errorf("a centre on the old directory: %v", err)
	}
	if _, err := Move(t.Context(), m.config()); !errors.Is(err, replication.ErrMoved) {
		t.Errorf("moved again: %v", err)
	}
	// A power cut between the last step there and the mark here.
	m.removeMark()
	if moved, err = Move(t.Context(), m.config()); err != nil || !moved.Already {
		t.Errorf("moved again without the mark: %+v, %v", moved, err)
	}
	// Two histories: the old centre was run again.
	m.removeMark()
	c := start(t, m.old)
	if _, err := c.Bind(t.Context(), account(2), "other"); err != nil {
		t.Fatal(err)
	}
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := Move(t.Context(), m.config()); !errors.Is(err, ErrTarget) {
		t.Errorf("moved over another history: %v", err)
	}
}

// Boxes reach the servers while the centre is moved there: what a station says meanwhile
// is in nobody's way, and stays instead of what it had said before.
func TestMoveWhileStationsReport(t *testing.T) {
	m := startMoving(t, 1)
	say := func(js jetstream.JetStream, station, what string) {
		if _, err := js.Publish(t.Context(), replication.SubjectStatus+station, []byte(what)); err != nil {
			t.Error(err)
		}
	}
	m.atHome(func(js jetstream.JetStream) {
		say(js, "xidan", "before")
		say(js, "haidian", "before")
	})
	cfg, once := m.config(), false
	cfg.Progress = func(phase string, _, _ uint64) {
		if phase == "copy STATUS" && !once {
			once = true
			say(m.js, "xidan", "since")
			say(m.js, "jishuitan", "since")
		}
	}
	if _, err := Move(t.Context(), cfg); err != nil || !once {
		t.Fatalf("stations reported: %v, %v", once, err)
	}
	stream, err := m.js.Stream(t.Context(), replication.StreamStatus)
	if err != nil {
		t.Fatal(err)
	}
	for station, want := range map[string]string{"xidan": "since", "haidian": "before", "jishuitan": "since"} {
		if msg, err := stream.GetLastMsgForSubject(t.Context(), replication.SubjectStatus+station); err != nil || string(msg.Data) != want {
			t.Errorf("the last report of station %s is not that of %s: %v", station, want, err)
		}
	}
	m.works(true)
}

// A move is broken off in every phase. No centre starts on the servers meanwhile; the
// old one may be run in between; the next attempt goes on.
func TestMoveBrokenOff(t *testing.T) {
	m := startMoving(t, 5)
	for _, phase := range []string{"copy LEDGER", "copy FEED", "copy SHARDS", "compare FEED"} {
		ctx, cancel := context.WithCancel(t.Context())
		cfg := m.config()
		cfg.Progress = func(at string, _, _ uint64) {
			if at == phase {
				cancel()
			}
		}
		_, err := Move(ctx, cfg)
		cancel()
		if !errors.Is(err, context.Canceled) || errors.Is(err, ErrServers) || !strings.Contains(err.Error(), "run this again") {
			t.Errorf("broken off in %q: %v", phase, err)
		}
		if _, err := Open(m.new); !errors.Is(err, ErrUnfinished) {
			t.Errorf("a centre on half a ledger: %v", err)
		}
		feed, err := m.js.Stream(t.Context(), replication.StreamFeed)
		if phase != "copy LEDGER" && (err != nil || feed.CachedInfo().Config.AllowDirect || feed.CachedInfo().Config.RePublish != nil) {
			t.Errorf("boxes can read half a feed, or %v", err)
		}
	}
	c := start(t, m.old)
	if _, err := c.Bind(t.Context(), account(9), "between"); err != nil {
		t.Fatal(err)
	}
	m.held = c.held()
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	if moved, err := Move(t.Context(), m.config()); err != nil || moved.Already || moved.Ledger != 7 {
		t.Fatalf("%+v, %v", moved, err)
	}
	m.works(true)
}

// One of the servers goes while the feed is copied, and it is the one that leads it.
func TestMoveLosesServer(t *testing.T) {
	m := startMoving(t, 5)
	cfg := m.config()
	down := -1
	cfg.Progress = func(phase string, _, _ uint64) {
		if phase == "copy FEED" && down < 0 {
			down = m.cluster.Leader("CENTRE", replication.StreamFeed)
			m.cluster.Stop(down)
		}
	}
	if _, err := Move(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	m.cluster.Restart(down)
	m.works(true)
}

// With a new epoch the ledger alone is moved, also where more had been begun; a feed
// that begins later than 1 keeps its numbers.
func TestMoveParts(t *testing.T) {
	m := startMoving(t, 5)
	ctx, cancel := context.WithCancel(t.Context())
	cfg := m.config()
	cfg.Progress = func(at string, _, _ uint64) {
		if at == "copy SHARDS" {
			cancel()
		}
	}
	if _, err := Move(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	cfg = m.config()
	cfg.NewEpoch = true
	if moved, err := Move(t.Context(), cfg); err != nil || moved.Ledger != 6 || moved.FeedLast != 0 || moved.Shards != 0 {
		t.Fatalf("%+v, %v", moved, err)
	}
	m.works(false)

	for _, name := range moveStreams() {
		if err := m.js.DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	m.removeMark()
	removeCopy(t, m.new.Dir) // of what the servers held before
	m.expire(4)
	moved, err := Move(t.Context(), m.config())
	if err != nil || moved.FeedFirst != 5 {
		t.Fatalf("%+v, %v", moved, err)
	}
	stream, err := m.js.Stream(t.Context(), replication.StreamFeed)
	if err != nil || stream.CachedInfo().State.FirstSeq != 5 || stream.CachedInfo().State.LastSeq != moved.FeedLast {
		t.Errorf("the feed: %+v, %v", stream.CachedInfo().State, err)
	}
	// A server that is started again keeps it so.
	m.cluster.Stop(0)
	m.cluster.Restart(0)
	for _, name := range moveStreams() {
		m.cluster.WaitCurrent(0, "CENTRE", name)
	}
	c := start(t, m.new)
	if held := c.held(); !maps.Equal(held, m.held) || c.writer.feed.Last().Epoch != m.epoch {
		t.Errorf("%d records, not the %d of before, or another epoch", len(held), len(m.held))
	}
}

func TestMoveRefuses(t *testing.T) {
	m := startMoving(t, 2)
	if _, err := Move(t.Context(), MoveConfig{Dir: t.TempDir(), Servers: m.new.Servers}); !errors.Is(err, replication.ErrNoStreams) {
		t.Errorf("no centre's directory: %v", err)
	}
	if _, err := Move(t.Context(), MoveConfig{Dir: m.old.Dir}); err == nil || !strings.Contains(err.Error(), "servers: missing") {
		t.Errorf("no servers: %v", err)
	}
	if _, err := Move(t.Context(), MoveConfig{Dir: m.old.Dir, Servers: &Servers{URLs: []string{"tls://127.0.0.1:1"}, Replicas: 3}}); !errors.Is(err, ErrServers) {
		t.Errorf("servers that are not there: %v", err)
	}
	running := start(t, m.old)
	if _, err := Move(t.Context(), m.config()); !errors.Is(err, replication.ErrCentreRuns) {
		t.Errorf("a centre that runs: %v", err)
	}
	if err := running.stop(); err != nil {
		t.Fatal(err)
	}
	// Another centre's streams, or a part of them, stay as they are.
	for _, name := range []string{replication.StreamFeed, replication.StreamStatus} {
		if _, err := m.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Replicas: 3}); err != nil {
			t.Fatal(err)
		}
		if _, err := Move(t.Context(), m.config()); !errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "nats stream rm") {
			t.Errorf("stream %s is there: %v", name, err)
		}
		if err := m.js.DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	other := start(t, m.new)
	if _, err := other.Bind(t.Context(), card(1), "other"); err != nil {
		t.Fatal(err)
	}
	if _, err := Move(t.Context(), m.config()); !errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), "LEDGER, FEED, SHARDS, STATUS") {
		t.Errorf("another centre is there: %v", err)
	}
	if n := len(other.held()); n != 1 {
		t.Errorf("the other centre has %d records", n)
	}
	if n := len(start(t, m.old).held()); n != 2 {
		t.Errorf("what was not moved has %d records", n)
	}
}

// What is on the servers is compared with what is in the directory, and that with
// itself.
func TestMoveCompares(t *testing.T) {
	m := startMoving(t, 3)
	publish := func(js jetstream.JetStream, subject string, data []byte) {
		if _, err := js.Publish(t.Context(), subject, data); err != nil {
			t.Fatal(err)
		}
	}
	// tampered moves, and lets somebody work on the servers when a phase begins.
	tampered := func(at, stream string, tamper func()) {
		t.Helper()
		cfg, done := m.config(), false
		cfg.Progress = func(phase string, _, _ uint64) {
			if phase == at && !done {
				done = true
				tamper()
			}
		}
		if _, err := Move(t.Context(), cfg); !errors.Is(err, errMoveDiffers) || !strings.Contains(err.Error(), "compare the stream "+stream) {
			t.Errorf("%s changed at %q: %v", stream, at, err)
		}
		if _, err := Open(m.new); !errors.Is(err, ErrUnfinished) {
			t.Errorf("a centre on what was changed: %v", err)
		}
	}
	tampered("copy SHARDS", replication.StreamFeed, func() {
		stream, err := m.js.Stream(t.Context(), replication.StreamFeed)
		if err == nil {
			err = m.js.DeleteStream(t.Context(), replication.StreamFeed)
		}
		if err == nil {
			_, err = m.js.CreateStream(t.Context(), stream.CachedInfo().Config)
		}
		if err != nil {
			t.Fatal(err)
		}
		for range stream.CachedInfo().State.LastSeq {
			publish(m.js, replication.SubjectFeed, []byte("else"))
		}
	})
	tampered("copy SHARDS", StreamLedger, func() { publish(m.js, SubjectLedger, []byte("else")) })
	if err := m.js.DeleteStream(t.Context(), StreamLedger); err != nil {
		t.Fatal(err)
	}
	if _, err := Move(t.Context(), m.config()); !errors.Is(err, ErrTarget) {
		t.Errorf("the mark is gone: %v", err)
	}
	for _, name := range moveStreams()[1:] {
		if err := m.js.DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	// An entry that does not follow the one before.
	m.atHome(func(js jetstream.JetStream) {
		stream, err := js.Stream(t.Context(), replication.StreamFeed)
		if err != nil {
			t.Fatal(err)
		}
		last, err := stream.GetMsg(t.Context(), stream.CachedInfo().State.LastSeq)
		if err != nil {
			t.Fatal(err)
		}
		publish(js, replication.SubjectFeed, last.Data)
	})
	if _, err := Move(t.Context(), m.config()); !errors.Is(err, ErrMoveSource) || !strings.Contains(err.Error(), "stored as number") {
		t.Errorf("an entry at a place that is not its own: %v", err)
	}
}
