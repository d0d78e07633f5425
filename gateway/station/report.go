package station

import (
	"bytes"
	"cmp"
	"context"
	"hash/fnv"
	"log/slog"
	"time"

	"gateline/drivers"
	"gateline/replication"
)

const (
	// reportEvery is the time between two reports.
	reportEvery = 5 * time.Second
	// hoursAfter is how many reports lie between two sendings of the hourly sums.
	hoursAfter = 12
	// hoursName is the name under which the hourly sums are kept in the store.
	hoursName = "hours"
)

// reports are what the box sends to the centre of itself. They belong to the
// goroutine of sendReports.
type reports struct {
	every   time.Duration
	release string
	log     *slog.Logger
	store   localStore
	sums    hourSums

	// hours are the sums as they were last written down, not yet taken by the
	// centre where they are unsent. What the centre has was on the disk before,
	// so no restart makes a sum smaller there.
	hours  []byte
	unsent bool
	failed bool // they could not be written down
	up     bool // the link was, at the last report
}

// openReports takes up the hourly sums of the box's last run. Sums that cannot be
// read are no reason not to start.
func openReports(store localStore, o *Options, now time.Time, log *slog.Logger) reports {
	r := reports{every: cmp.Or(o.ReportEvery, reportEvery), release: replication.ReportText(o.Version), log: log, store: store, sums: hourSums{hours: []replication.Hour{}}}
	raw, err := store.LoadLocal(hoursName)
	if err != nil || raw == nil {
		return r // a store that cannot be read says so elsewhere
	}
	kept, err := replication.DecodeHours(raw)
	if err != nil {
		log.Warn("the hourly sums of the last run cannot be read and begin anew", "error", err)
		return r
	}
	r.sums.hours = append(r.sums.hours, kept.Hours...)
	r.sums.add(now, new(counts)) // drops those that are too old
	return r
}

// report returns the box's state at now.
func (s *Station) report(now time.Time) *replication.Report {
	feed, clock, switches := s.feed.Stats(), s.clock.state.Load(), s.switches.State()
	r := &replication.Report{
		Station: s.cfg.Station, At: now.UTC().Truncate(time.Millisecond), UptimeS: int64(now.Sub(s.started) / time.Second), Release: s.reports.release,
		Position: replication.NewReportPosition(s.cache.Position()),
		Usable:   s.cache.Usable(), StoreFailed: s.cache.Failed() != nil,
		Switch: switches.Station.String(), Switched: len(switches.Gates),
		Clock:  replication.ReportClock{Trusted: clock.Trusted, Why: clock.Why},
		Feed:   replication.ReportFeed{Gaps: feed.Gaps, Refused: feed.Refused, ApplyErrors: feed.ApplyErrors},
		Shards: replication.NewReportShards(&feed),
	}
	if n, ok := s.cache.Records(); ok {
		r.Records = &n
	}
	r.Purge = replication.NewReportPurge(s.cache.Erased())
	schedule := s.schedule.Load()
	if schedule != nil {
		r.PolicyVersion = schedule.Version
	}
	if p := schedule.At(now); p != nil && (p.Expires.IsZero() || now.Before(p.Expires)) {
		r.Mode, r.FreshLimitS = p.Mode.String(), int64(time.Duration(p.FreshLimit)/time.Second)
	}
	for _, l := range s.lines {
		r.Lines.Total++
		if l.Up() {
			r.Lines.Up++
		}
		for _, g := range l.Gates().All() {
			countGate(&r.Gates, g.State(now))
		}
	}
	return r
}

func countGate(gates *replication.ReportGates, state drivers.GateState) {
	switch state {
	case drivers.GateServing:
		gates.Serving++
	case drivers.GateStarting:
		gates.Starting++
	case drivers.GateRefused:
		gates.Refused++
	default:
		gates.Silent++
	}
}

// sendReports reports to the centre until ctx is done. The stations of a city
// that have their power back at once do not report at once.
func (s *Station) sendReports(ctx context.Context) error {
	sender, err := s.feed.OpenReporter()
	if err != nil {
		return err
	}
	defer sender.Close()
	name := fnv.New32a()
	name.Write([]byte(s.cfg.Station))
	first := time.NewTimer(time.Duration(uint64(name.Sum32()) % uint64(s.reports.every)))
	defer first.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-first.C:
	}
	tick := time.NewTicker(s.reports.every)
	defer tick.Stop()
	for n := 0; ; n++ {
		if n%hoursAfter == 0 {
			s.keepHours()
		}
		s.sendReport(ctx, sender)
		select {
		case <-ctx.Done():
			s.keepHours()
			return ctx.Err()
		case <-tick.C:
			s.addCounts()
		}
	}
}

// addCounts counts what was answered in the present hour. Where the clock is not
// trusted that could be any: the counts wait until it is.
func (s *Station) addCounts() {
	if s.clock.state.Load().Trusted {
		s.reports.sums.add(s.now(), &s.metrics.counts)
	}
}

// keepHours writes the hourly sums down, so that they outlast a restart.
func (s *Station) keepHours() {
	s.addCounts()
	r := &s.reports
	data, err := (&replication.Hours{Station: s.cfg.Station, Hours: r.sums.hours}).Encode()
	if err == nil && bytes.Equal(data, r.hours) && !r.failed {
		return
	}
	if err == nil {
		r.hours, r.unsent = data, true
		err = r.store.SaveLocal(hoursName, data)
	}
	if err != nil && !r.failed {
		r.log.Warn("the hourly sums cannot be written down; a restart loses what was counted since they were", "error", err)
	}
	r.failed = err != nil
}

// sendReport sends the state, and the hourly sums where the centre may not have
// the last ones.
func (s *Station) sendReport(ctx context.Context, sender *replication.Reporter) {
	r, up := &s.reports, s.feed.Connected()
	r.unsent = r.unsent || up && !r.up
	r.up = up
	if !up {
		return
	}
	if err := sender.Report(s.report(s.now())); err != nil {
		r.log.Error("the box's state cannot be sent to the centre, which will take the station for silent", "error", err)
	}
	if !r.unsent || r.hours == nil {
		return
	}
	r.unsent = sender.Hours(ctx, r.hours) != nil // it is tried again with the next report
}
