package station

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"gateline/central"
	"gateline/gateway"
	"gateline/internal/logtest"
	"gateline/replication"
)

// standby is three servers, a centre on them, a second one that comes when something
// happens to the first, a box, and those who ask.
type standby struct {
	t       *testing.T
	servers *ownServers
	setup   centreSetup
	active  *centreProcess
	all     []*centreProcess
	box     *box
	log     *logtest.Buffer
	callers *callers
	// told is what happened, in words.
	told []string
}

func newStandby(t *testing.T, seed uint64) *standby {
	t.Helper()
	s := &standby{t: t, servers: startServers(t, "xizhimen"), log: &logtest.Buffer{}}
	s.setup = centreSetup{URLs: s.servers.URLs(), LinkFile: s.servers.centreLink}
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

// next starts another centre.
func (s *standby) next() {
	s.t.Helper()
	s.active = startCentreProcess(s.t, s.setup)
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
	until(s.t, fmt.Sprintf("%d calls are answered", n), func() bool {
		if s.active.shutOut() {
			s.next()
		}
		answered, faults := s.callers.count()
		if len(faults) > 0 {
			s.t.Fatalf("%q", faults)
		}
		return answered >= n
	})
}

// flows waits until some calls more have been answered.
func (s *standby) flows() {
	s.t.Helper()
	n, _ := s.callers.count()
	s.reached(n + upgradeCallers)
}

// killed: the centre is killed; another one is started.
func (s *standby) killed() {
	s.active.kill()
	s.next()
	s.flows()
}

// leaderGone: the server that leads a stream goes, and comes back when all goes on
// without it.
func (s *standby) leaderGone(stream string) {
	s.t.Helper()
	leader := s.servers.Leader("CENTRE", stream)
	s.servers.Stop(leader)
	s.flows()
	s.comesBack(leader)
}

func (s *standby) comesBack(server int) {
	s.servers.Restart(server)
	for _, stream := range []string{central.StreamLedger, replication.StreamFeed} {
		s.servers.WaitCurrent(server, "CENTRE", stream)
	}
}

// bothGone: the server that leads a stream goes and the centre is killed at once.
func (s *standby) bothGone(stream string) {
	s.t.Helper()
	leader := s.servers.Leader("CENTRE", stream)
	s.active.kill()
	s.servers.Stop(leader)
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

// Two centres on three servers: while many ask, the active one is killed, stands still,
// or meets the other one, and the server that leads goes, alone and together with it.
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
			t.Logf("a centre failed and opened anew: %s", cause)
		}
	}
	t.Logf("%v: %q; %d centres, which opened anew %d times; %d calls answered, %d questions repeated, %d calls put twice at once; %s",
		took.Round(time.Second), s.told, len(s.all), failed, len(s.callers.answered), s.callers.repeated, s.callers.twice, f)
}

// disturb lets them ask and does to servers and centres what there is, each so many
// times, in an order that follows from the seed.
func (s *standby) disturb(upgrades, reports, rounds int) {
	s.t.Helper()
	kinds := []struct {
		name string
		do   func()
	}{
		{"killed", s.killed},
		{"leader gone", func() { s.leaderGone(central.StreamLedger) }},
		{"both gone", func() { s.bothGone(replication.StreamFeed) }},
		{"frozen", s.frozen},
		{"together", s.together},
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
			kinds[k].do()
			s.told = append(s.told, kinds[k].name)
		}
	}
	s.reached(all)
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
	rebuilt, _ := startCentre(t, func(cfg *central.Config) { cfg.Dir, cfg.LeafListen, cfg.Servers = "", "", s.servers.servers })
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
