package station

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"gateline/central"
	"gateline/gateway"
	"gateline/internal/clustertest"
	"gateline/internal/logtest"
	"gateline/replication"
)

// standby is three servers, a centre on them, a second one that comes when something
// happens to the first, all in processes of their own; a box, and those who ask.
type standby struct {
	t       *testing.T
	servers *ownServers
	nodes   []*node             // the servers'
	js      jetstream.JetStream // with the centre's rights
	setup   nodeSetup           // of a centre
	active  *node
	all     []*node // the centres
	box     *box
	log     *logtest.Buffer
	callers *callers
	slowest time.Duration // of all waits until calls were answered again
	// told is what happened, with the time until all went on and was whole again.
	told []string
}

func newStandby(t *testing.T, seed uint64) *standby {
	t.Helper()
	s := &standby{t: t, servers: makeServers(t, clustertest.Prepare, "xizhimen"), log: &logtest.Buffer{}}
	for i := range s.servers.Servers {
		s.nodes = append(s.nodes, s.server(i))
	}
	until(t, "the servers take connections", func() bool {
		return !slices.ContainsFunc(s.nodes, func(n *node) bool { return !n.up() })
	})
	var err error
	if s.js, err = jetstream.New(s.servers.dial(t, s.servers.servers.Auth)); err != nil {
		t.Fatal(err)
	}
	s.setup = nodeSetup{URLs: s.servers.URLs(), LinkFile: s.servers.centreLink, Dir: t.TempDir()}
	s.next()
	s.settled()
	ops := s.servers.client(t)
	until(t, "the policy is set", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
		defer cancel()
		_, err := ops.SetPolicy(ctx, gateway.DefaultPolicy(time.Now().Add(-time.Hour).Truncate(time.Second)))
		return err == nil
	})
	cfg := testConfig(t, s.servers.CentreURL(), newWire(t))
	cfg.LinkFile = s.servers.links["xizhimen"]
	s.box = startBox(t, cfg, Options{Log: s.log.Logger()})
	s.callers = newCallers(t, s.servers, seed)
	return s
}

// server starts a server.
func (s *standby) server(i int) *node {
	s.t.Helper()
	return startNode(s.t, nodeSetup{ServerFile: s.servers.Config(i)})
}

// next starts another centre.
func (s *standby) next() {
	s.t.Helper()
	s.active = startNode(s.t, s.setup)
	s.all = append(s.all, s.active)
}

// settled waits until the active centre is complete. Where it was shut out meanwhile,
// another one follows.
func (s *standby) settled() {
	s.t.Helper()
	until(s.t, "a centre is complete", func() bool {
		if s.active.shutOut() {
			s.next()
		}
		return s.active.up()
	})
}

// reached waits until so many calls have been answered.
func (s *standby) reached(n int) {
	s.t.Helper()
	s.waits(fmt.Sprintf("%d calls are answered", n), func(answered int) bool { return answered >= n })
}

// waits waits for what depends on how many calls have been answered.
func (s *standby) waits(what string, ok func(answered int) bool) {
	s.t.Helper()
	until(s.t, what, func() bool {
		if s.active.shutOut() {
			s.next()
		}
		answered, faults := s.callers.count()
		if len(faults) > 0 {
			s.t.Fatalf("%q", faults)
		}
		return ok(answered)
	})
}

// flows waits until some calls more have been answered.
func (s *standby) flows() {
	s.t.Helper()
	n, _ := s.callers.count()
	begin := time.Now()
	s.reached(n + upgradeCallers)
	s.slowest = max(s.slowest, time.Since(begin))
}

// killed: the centre is killed; another one is started.
func (s *standby) killed() {
	s.active.kill()
	s.next()
	s.flows()
}

// leader waits until a stream has a leader and returns it.
func (s *standby) leader(stream string) (leader int) {
	s.t.Helper()
	s.knows(stream, "its leader", func(c *jetstream.ClusterInfo) bool {
		leader = s.servers.Place(c.Leader)
		return leader >= 0
	})
	return leader
}

// knows waits until the servers say what is wanted of those of a stream.
func (s *standby) knows(stream, what string, ok func(*jetstream.ClusterInfo) bool) {
	s.t.Helper()
	until(s.t, "the servers know of stream "+stream+" "+what, func() bool {
		ctx, cancel := context.WithTimeout(s.t.Context(), callTimeout)
		defer cancel()
		info, err := s.js.Stream(ctx, stream)
		return err == nil && info.CachedInfo().Cluster != nil && ok(info.CachedInfo().Cluster)
	})
}

// leaderKilled: the server that leads a stream is killed, and comes back when all goes
// on without it.
func (s *standby) leaderKilled(stream string) {
	s.t.Helper()
	leader := s.leader(stream)
	s.nodes[leader].kill()
	s.flows()
	s.comesBack(leader)
}

// comesBack starts a server again and waits until it has what the others have.
func (s *standby) comesBack(server int) {
	s.t.Helper()
	s.nodes[server] = s.server(server)
	for _, stream := range []string{central.StreamLedger, replication.StreamFeed} {
		s.knows(stream, "that all are current", func(c *jetstream.ClusterInfo) bool {
			return len(c.Replicas) == len(s.nodes)-1 && !slices.ContainsFunc(c.Replicas, func(p *jetstream.PeerInfo) bool { return !p.Current || p.Offline })
		})
	}
}

// bothKilled: the server that leads a stream and the centre are killed at once.
func (s *standby) bothKilled(stream string) {
	s.t.Helper()
	leader := s.leader(stream)
	s.active.kill()
	s.nodes[leader].kill()
	s.next()
	s.flows()
	s.comesBack(leader)
}

// frozen: the centre stands still, another one is started and goes on, and the first
// wakes up with questions in its hands that have been answered meanwhile. It has to
// find that it is shut out, and to change nothing.
func (s *standby) frozen() {
	s.t.Helper()
	old := s.active
	old.signal(syscall.SIGSTOP)
	s.next()
	s.settled()
	s.flows()
	old.signal(syscall.SIGCONT)
	until(s.t, "the centre that stood still is shut out", old.shutOut)
	s.flows()
}

// together: another centre is started beside the one that runs. One of them shuts the
// other out, or each the other.
func (s *standby) together() {
	s.t.Helper()
	old := s.active
	s.next()
	second := s.active
	until(s.t, "one of two centres is shut out", func() bool { return old.shutOut() || second.shutOut() })
	if second.shutOut() && !old.shutOut() {
		s.active = old
	}
	s.flows()
}

// Two centres on three servers: while many ask, the active one is killed (SIGKILL),
// stands still, or meets the other one, and the server that leads is killed, alone and
// together with it.
// Every request that was answered is in the ledger once, with all of its effect and in
// its caller's order; the registry that is rebuilt from the ledger is what the answers
// come to; and so is a box that has followed all along.
func TestTwoCentresOnThreeServers(t *testing.T) {
	upgrades, reports, rounds := 400, 4000, 1
	switch {
	case *allFigures:
		upgrades, reports, rounds = 2000, 20_000, 3
	case testing.Short() || raceOn:
		upgrades, reports = 200, 2000
	}
	t.Logf("seed %d, %d upgrades, %d reports", *killSeed, upgrades, reports)
	s := newStandby(t, *killSeed)
	begin := time.Now()
	s.disturb(upgrades, reports, rounds)
	took := time.Since(begin)
	f := s.check()
	failed := 0
	for _, c := range s.all {
		failed += len(c.failed)
		for _, cause := range c.failed {
			t.Logf("a centre opened anew: %s", cause)
		}
	}
	t.Logf("%v: %q; calls were answered again within %v; %d centres, which opened anew %d times; %d calls answered, %d questions repeated, %d calls put twice at once, %d again later; %s",
		took.Round(time.Second), s.told, s.slowest.Round(10*time.Millisecond), len(s.all), failed, len(s.callers.answered), s.callers.repeated, s.callers.twice, s.callers.late, f)
}

// disturb lets them ask and does to servers and centres what there is, each so many
// times, in an order that follows from the seed.
func (s *standby) disturb(upgrades, reports, rounds int) {
	s.t.Helper()
	kinds := []struct {
		name string
		do   func()
	}{
		{"centre killed", s.killed},
		{"centre and leader killed", func() { s.bothKilled(replication.StreamFeed) }},
		{"centre frozen", s.frozen},
		{"two centres at once", s.together},
		{"leader killed", func() { s.leaderKilled(central.StreamLedger) }},
	}
	if rounds == 1 {
		kinds = kinds[:4] // servers take their time to choose another leader
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	defer s.callers.running.Wait()
	defer cancel()
	s.callers.start(ctx, upgrades, reports)
	r := rand.New(rand.NewPCG(*killSeed, 17))
	all := callsOf(upgrades, reports)
	for round := range rounds {
		for i, k := range r.Perm(len(kinds)) {
			s.reached((round*len(kinds) + i + 1) * all / (rounds*len(kinds) + 2))
			begin := time.Now()
			kinds[k].do()
			s.told = append(s.told, fmt.Sprintf("%s %.1f s", kinds[k].name, time.Since(begin).Seconds()))
		}
	}
	s.reached(all)
	s.callers.enough.Store(true)
	s.waits("all have their answers", func(int) bool { return s.callers.ended.Load() == upgradeCallers+healthCallers })
}

// check ends the trial and compares everything. It returns the figures.
func (s *standby) check() string {
	t := s.t
	t.Helper()
	for _, c := range s.all {
		c.kill()
	}
	f, err := readStreams(t.Context(), s.servers.dial(t, s.servers.servers.Auth))
	if err != nil {
		t.Fatal(err)
	}
	f.checkChain(t)
	ledger := s.readLedger()
	ledger.checkCalls(t, s.callers.answered)
	ledger.checkFeed(t, f, s.callers.answered)
	s.box.reaches(f.changed[len(f.changed)-1])
	if c := s.box.feed.Stats(); c.Reloads != 0 || c.Refused != 0 || c.Mismatches != 0 {
		t.Errorf("the box was disturbed: %+v; its log:\n%s", c, s.log)
	}
	want := s.callers.ending.records(t)
	s.box.stop()
	if held := lookAt(t, s.box.cfg.CacheDir).records; !maps.Equal(held, want) {
		t.Errorf("the box has %d records, not the %d of the answers, or others", len(held), len(want))
	}
	rebuilt, _ := startCentre(t, func(cfg *central.Config) { cfg.LeafListen, cfg.Servers = "", s.servers.servers })
	registry := records{}
	err = rebuilt.Records(func(token gateway.Token, record gateway.Record) error {
		registry[token] = record
		return nil
	})
	if err != nil || len(want) == 0 || !maps.Equal(registry, want) {
		t.Errorf("the registry that is rebuilt from the ledger has %d records, not the %d of the answers, or others (%v)", len(registry), len(want), err)
	}
	return fmt.Sprintf("%d messages in the ledger, %d entries, %d of them with changes; %d records in the registry that was rebuilt and in the box, those of the answers",
		len(ledger.messages), len(f.entries), len(f.changed), len(want))
}
