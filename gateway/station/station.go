package station

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"gateline/cache"
	"gateline/drivers"
	"gateline/drivers/serial"
	"gateline/gateway"
	"gateline/internal/httpserve"
	"gateline/replication"
)

// Options are what a Station is given beside its configuration. All but Log
// may be left out.
type Options struct {
	Log     *slog.Logger
	Version string
	// Process: the process is this box and nothing else, so its memory is held to what
	// the configuration says.
	Process bool
	// Now is the box's clock; nil = the machine's, which is not believed where it is
	// earlier than this program was built (IMP-17).
	Now func() time.Time
	// OnApplied is called after each feed entry has been applied, on the
	// goroutine that applies it. It must not keep the update.
	OnApplied func(gateway.Update)
	// OnAnswered is called on a line's goroutine each time answers have been
	// written; the times are those of drivers.Station.Answered.
	OnAnswered func(handed, written time.Duration)
	// ReportEvery is the time between two reports to the centre; 0 = 5 s.
	ReportEvery time.Duration
}

// Station is one box.
type Station struct {
	cfg      Config
	log      *slog.Logger
	now      func() time.Time
	started  time.Time
	cache    *cache.Store
	feed     *replication.Box
	lines    []*drivers.Line
	clock    *clock
	switches *Switches
	metrics  *metrics
	schedule atomic.Pointer[gateway.Schedule]
	reports  reports
	memory   *memoryKeeper // nil: somebody else's process

	status, control net.Listener
	closers         []func() error
}

// Open acquires everything a box needs. It succeeds without the centre, and
// with some of its lines missing: those are tried again by Run. It fails where
// the store, a key, a socket or every single line is not to be had; the error
// names the thing and the next step.
func Open(ctx context.Context, cfg Config, o Options) (_ *Station, err error) {
	s := &Station{cfg: cfg, log: o.Log, now: o.Now}
	if s.now == nil {
		s.now = time.Now
	}
	s.started = s.now()
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if o.Process {
		s.memory = newMemoryKeeper(&s.cfg, machine(), os.Getenv, s.log)
		spreadWork(os.Getenv, runtime.SetDefaultGOMAXPROCS, runtime.GOMAXPROCS, s.log)
	}
	key, err := ReadTokenKey(cfg.TokenKeyFile)
	if err != nil {
		return nil, err
	}
	if s.cache, err = cache.Open(cfg.CacheDir, cache.Options{Log: o.Log, Now: s.now}); err != nil {
		return nil, err
	}
	s.closers = append(s.closers, s.cache.Close)
	s.schedule.Store(s.cache.Schedule().ForStation(cfg.Station))
	s.reports = openReports(s.cache, &o, s.now(), s.log)

	var gates []string
	for _, l := range cfg.Lines {
		for _, g := range l.Gates {
			gates = append(gates, g.Name)
		}
	}
	if s.switches, err = openSwitches(s.cache, gates, o.Log); err != nil {
		return nil, err
	}
	watermark := func() time.Time { return s.cache.Position().Time() }
	watch := clockWatch{requireSync: cfg.RequireSync}
	if o.Now == nil {
		watch.floor = builtAt()
	}
	s.clock = newClock(s.now, readKernelClock, watermark, watch, o.Log)
	s.clock.remember(s.cache)
	s.metrics = newMetrics(o.Version, cfg.Station)
	desks := &shared{
		directory: s.cache, usable: s.cache.Usable, position: s.cache.Position, erased: s.cache.Erased, schedule: &s.schedule,
		clock: s.clock, switches: s.switches, metrics: s.metrics, answered: o.OnAnswered,
	}
	if err = s.openLines(ctx, key, desks); err != nil {
		return nil, err
	}
	if err = s.openFeed(desks, o.OnApplied); err != nil {
		return nil, err
	}
	s.metrics.registry.MustRegister(&stateCollector{lines: s.lines, feed: s.feed.Stats, records: s.cache.Records, now: s.now, s: desks})
	if err = s.openListeners(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Station) openFeed(desks *shared, onApplied func(gateway.Update)) (err error) {
	link, err := readLink(&s.cfg)
	if err != nil {
		return err
	}
	s.feed, err = replication.OpenBox(replication.BoxConfig{
		Station: s.cfg.Station, CentreURL: s.cfg.CentreURL, Link: link, Keys: s.cfg.FeedKeys, Store: s.cache, Log: s.log,
		Ended: func() time.Time { return desks.ended(s.now()) },
		OnApplied: func(u gateway.Update) {
			if u.Schedule != nil {
				s.schedule.Store(u.Schedule.ForStation(s.cfg.Station))
				s.log.Info("policy documents applied", "version", u.Schedule.Version, "documents", len(u.Schedule.Policies))
			}
			if onApplied != nil {
				onApplied(u)
			}
		},
	})
	if err == nil {
		s.closers = append(s.closers, s.feed.Close)
	}
	return err
}

// openLines opens every line once. A box all of whose lines are missing is
// useless and says so; one with some of them serves those and goes on trying.
func (s *Station) openLines(ctx context.Context, key gateway.TokenKey, desks *shared) error {
	var failed []error
	for _, lc := range s.cfg.Lines {
		line, err := s.buildLine(lc, newDesk(desks, key, lc.Gates))
		if err != nil {
			return err
		}
		s.lines = append(s.lines, line)
		s.closers = append(s.closers, line.Close)
		if err := line.Open(ctx); err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) == len(s.lines) {
		return fmt.Errorf("no line can be opened: %w", errors.Join(failed...))
	}
	for _, err := range failed {
		s.log.Error("line missing at start; the others are served, and it is tried again", "error", err)
	}
	return nil
}

func (s *Station) buildLine(lc LineConfig, desk *desk) (*drivers.Line, error) {
	var gates []*drivers.Gate
	for _, g := range lc.Gates {
		gates = append(gates, &drivers.Gate{Name: g.Name, Address: g.Address})
	}
	table, err := drivers.NewGateTable(gates...)
	if err != nil {
		return nil, fmt.Errorf("line %q: %w", lc.Name, err)
	}
	counters := new(drivers.Counters)
	session, err := newSession(lc, table, counters, s.now())
	if err != nil {
		return nil, fmt.Errorf("line %q: %w", lc.Name, err)
	}
	c := drivers.LineConfig{
		Name: lc.Name, Gates: table, Counters: counters, Station: desk, Log: s.log, Now: s.now, Session: session,
	}
	if lc.TCP != "" {
		c.Open, c.IdleLimit = drivers.DialTCP(lc.TCP), drivers.TCPIdleLimit
	} else {
		c.Open = s.serialOpener(lc.Name, lc.Serial)
	}
	return drivers.NewLine(c), nil
}

func (s *Station) serialOpener(line string, c serial.Config) func(context.Context) (drivers.Port, error) {
	return func(context.Context) (drivers.Port, error) {
		port, err := serial.Open(c)
		if err != nil {
			return nil, err
		}
		s.log.Info("serial port opened", "line", line, "port", port.Info())
		for _, warning := range port.Info().Warnings {
			s.log.Warn("serial port", "line", line, "warning", warning)
		}
		return port, nil
	}
}

// Run serves until ctx is done, and returns nil then. It returns an error where
// a part of the box cannot go on.
func (s *Station) Run(ctx context.Context) error {
	asked := ctx
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.feed.Run(ctx) })
	g.Go(func() error { return s.clock.run(ctx) })
	for _, line := range s.lines {
		g.Go(func() error { return line.Run(ctx) })
	}
	if s.status != nil {
		g.Go(func() error { return httpserve.Serve(ctx, s.status, s.statusHandler()) })
	}
	if s.control != nil {
		g.Go(func() error { return httpserve.Serve(ctx, s.control, s.controlHandler()) })
	}
	g.Go(func() error { return s.watchGates(ctx) })
	g.Go(func() error { return s.sendReports(ctx) })
	g.Go(func() error { return s.notify(ctx) })
	if s.memory != nil {
		s.memory.index = s.cache.IndexBytes
		g.Go(func() error { return s.memory.run(ctx) })
	}
	err := g.Wait()
	if asked.Err() != nil && errors.Is(err, asked.Err()) {
		return nil
	}
	return err
}

// Close gives everything back in reverse order. It is idempotent.
func (s *Station) Close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(errs...)
}

// Position returns the place in the feed up to which the box has applied
// everything.
func (s *Station) Position() gateway.Position { return s.cache.Position() }

// Each calls f for every record the box holds, in the order of tokens.
func (s *Station) Each(f func(gateway.Token, gateway.Record) error) error { return s.cache.Each(f) }

// Usable reports whether the box holds a complete snapshot.
func (s *Station) Usable() bool { return s.cache.Usable() }

// LinkUp reports whether the link to the centre is up.
func (s *Station) LinkUp() bool { return s.feed.Connected() }

// Switches returns the local switches.
func (s *Station) Switches() *Switches { return s.switches }

// StatusAddr returns host:port of the status page, empty without one.
func (s *Station) StatusAddr() string {
	if s.status == nil {
		return ""
	}
	return s.status.Addr().String()
}
