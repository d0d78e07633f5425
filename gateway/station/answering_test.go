package station

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"gateline/central"
	"gateline/central/rules"
	"gateline/gateway"
)

const (
	// upgradeEvery is the time between two upgrades that are timed.
	upgradeEvery = 50 * time.Millisecond
	// reportedPersons have a card each and are reported in turn.
	reportedPersons = 20_480
	// reportRounds are how often each of them can be reported, a day later each time.
	reportRounds = 1000
)

// answering is a centre with a connected box, asked at a steady rate.
type answering struct {
	t   *testing.T
	box *box
	// source and app are two channels.
	source, app *central.Channel

	mu sync.Mutex // guards what follows
	// asked are the upgrades whose record the box does not have yet, with the instant
	// at which each was due.
	asked map[gateway.Token]time.Time
	took  []time.Duration // of those that it has
	// answers are the times until the callers were answered.
	answers []time.Duration
	faults  []error
	next    int // upgrade
	batch   int
}

// applied takes the time of upgrades that the box's lookup now gives.
func (a *answering) applied(u gateway.Update) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range u.Changes {
		due, is := a.asked[c.Token]
		if !is {
			continue
		}
		if record, known, err := a.box.cache.Lookup(c.Token); err != nil || !known || record != c.Record {
			a.faults = append(a.faults, fmt.Errorf("an upgrade was applied, and its lookup gives %v, %v", known, err))
		}
		delete(a.asked, c.Token)
		a.took = append(a.took, now.Sub(due))
	}
}

// startAnswering fills the registry with the persons who are reported.
func startAnswering(t *testing.T, servers *ownServers) *answering {
	t.Helper()
	a := &answering{t: t, asked: map[gateway.Token]time.Time{}}
	centre, ops := startCentre(t, func(cfg *central.Config) {
		cfg.Heartbeat = 0 // the default
		if servers != nil {
			cfg.LeafListen, cfg.Servers = "", servers.servers
		}
	})
	cfg := testConfig(t, "nats-leaf://"+centre.LeafAddr(), newWire(t))
	a.source, a.app = a.channel(centre, rules.ChannelHealthSource), a.channel(centre, rules.ChannelApp)
	if servers != nil {
		cfg.CentreURL, cfg.LinkFile = servers.CentreURL(), servers.links["xizhimen"]
		a.source, a.app = servers.channel(t, rules.ChannelHealthSource), servers.channel(t, rules.ChannelApp)
	}
	last := done(t)(ops.SetPolicy(t.Context(), gateway.DefaultPolicy(time.Now().Add(-time.Hour).Truncate(time.Second))))
	for at := 0; at < reportedPersons; at += gateway.MaxChanges {
		rows := make([]central.Row, gateway.MaxChanges)
		for i := range rows {
			rows[i] = central.Row{Credential: fmt.Sprintf("tunion:3104771%012d", at+i), Person: fmt.Sprint("r", at+i)}
		}
		last = done(t)(ops.Import(t.Context(), rows))
	}
	a.box = startBox(t, cfg, Options{OnApplied: a.applied})
	a.box.reaches(last)
	return a
}

// channel is one at a centre with a server of its own.
func (a *answering) channel(c *central.Central, name rules.Channel) *central.Channel {
	a.t.Helper()
	conn, err := c.Connect(nats.Name(string(name)))
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(conn.Close)
	return central.NewChannel(conn, name)
}

// load puts upgrades, and reports in batches at so many changes a second, each when it
// is due whatever became of those before, and waits until the box has all upgrades.
func (a *answering) load(changes, batch int, lasts time.Duration) {
	a.t.Helper()
	var asking sync.WaitGroup
	asking.Go(func() { a.every(upgradeEvery, lasts, a.upgrade) })
	asking.Go(func() {
		a.every(time.Second*time.Duration(batch)/time.Duration(changes), lasts, func(time.Time) { a.report(batch) })
	})
	asking.Wait()
	until(a.t, "the box has all upgrades", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.asked) == 0 || len(a.faults) > 0
	})
}

// every calls do beside each other, at times that depend on nothing but the clock.
func (a *answering) every(pause, lasts time.Duration, do func(due time.Time)) {
	var all sync.WaitGroup
	defer all.Wait()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	begin := time.Now()
	for due := begin; due.Sub(begin) < lasts; due = due.Add(pause) {
		for time.Now().Before(due) {
			<-tick.C
		}
		all.Go(func() { do(due) })
	}
}

func (a *answering) upgrade(due time.Time) {
	a.mu.Lock()
	a.next++
	n := a.next
	credential := fmt.Sprintf("tunion:3104771%012d", reportedPersons+n)
	a.asked[tokenOf(a.t, credential)] = due
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	defer cancel()
	_, err := a.app.Upgrade(ctx, central.UpgradeRequest{ID: fmt.Sprint("u", n), Credential: credential, Who: central.ByID(fmt.Sprint("u", n)), Identified: true, Consent: 1})
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers = append(a.answers, time.Since(due))
	if err != nil {
		a.faults = append(a.faults, err)
	}
}

func (a *answering) report(batch int) {
	a.mu.Lock()
	n := a.batch
	a.batch++
	a.mu.Unlock()
	q := central.HealthRequest{ID: fmt.Sprint("b", n)}
	for i := range batch {
		at := n*batch + i
		q.Reports = append(q.Reports, central.HealthReport{Who: central.ByID(fmt.Sprint("r", at%reportedPersons)), Class: "normal", Anchor: gateway.Day(18_000 + at/reportedPersons%reportRounds).String()})
	}
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	defer cancel()
	r, err := a.source.ReportHealth(ctx, q)
	if err == nil && r.Rejected > 0 {
		err = fmt.Errorf("%d reports are rejected", r.Rejected)
	}
	if err != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.faults = append(a.faults, err)
	}
}

// say logs the times and forgets them.
func (a *answering) say(what string, changes int, lasts time.Duration) {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, fault := range a.faults {
		a.t.Error(fault)
	}
	if len(a.took) == 0 || len(a.took) != len(a.answers) {
		a.t.Fatalf("%d upgrades were asked, the box has %d", len(a.answers), len(a.took))
	}
	slices.Sort(a.took)
	slices.Sort(a.answers)
	at := func(all []time.Duration, percent int) time.Duration {
		return all[min(len(all)-1, len(all)*percent/100)].Round(100 * time.Microsecond)
	}
	a.t.Logf("%s, %d reports/s for %v: %d upgrades; until the box's lookup gives it p50 %v, p99 %v, at most %v; until the caller is answered p50 %v, p99 %v, at most %v",
		what, changes, lasts, len(a.took), at(a.took, 50), at(a.took, 99), at(a.took, 100), at(a.answers, 50), at(a.answers, 99), at(a.answers, 100))
	a.took, a.answers = nil, nil
}

// The time from a request for an upgrade to the answer at a connected box, measured from
// when the request was due: beside 1,000 health reports a second, and beside 5,000. Every
// upgrade arrives; how fast is said, not asserted.
func TestFiguresOfUpgrades(t *testing.T) {
	steady, bulk := 2*time.Second, 10*time.Second
	switch {
	case *allFigures:
		steady, bulk = time.Minute, time.Minute
	case testing.Short() || raceOn:
		steady, bulk = time.Second, time.Second
	}
	worlds := map[string]func(*testing.T) *ownServers{"one machine": func(*testing.T) *ownServers { return nil }}
	if *allFigures {
		worlds["three servers"] = func(t *testing.T) *ownServers { return startServers(t, "xizhimen") }
	}
	for name, servers := range worlds {
		t.Run(name, func(t *testing.T) {
			a := startAnswering(t, servers(t))
			a.load(1000, 50, steady)
			a.say(name, 1000, steady)
			a.load(5000, rules.MaxReports, bulk)
			a.say(name, 5000, bulk)
		})
	}
}
