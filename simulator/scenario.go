package simulator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"gateline/drivers/osdp"
	"gateline/drivers/serial"
	"gateline/gateway"
	"gateline/gateway/station"
)

// Config says what to simulate. DefaultConfig has the defaults.
type Config struct {
	// Scenario is one of Scenarios.
	Scenario string
	Gates    int // or readers
	Cards    int // credentials known to the city
	Taps     int // in all
	Baud     int
	// Protocol is what the gates speak: direct, each on a line of its own, or
	// osdp, up to 32 readers on a line.
	Protocol string
	// Secure and Turnaround are of readers: Secure Channel, and how long they
	// take to answer.
	Secure     bool
	Turnaround time.Duration
	// Pace is the mean pause between two taps of one gate; 0 = as short as the
	// line can well take.
	Pace time.Duration
	// ErrorRate is the share of bits that noise damages on a line of readers,
	// Echo that the box's adapter there hears the box itself.
	ErrorRate float64
	Echo      bool
	// Dead is how many readers of the first line never answer.
	Dead    int
	Updates int // changes a second at the centre while riders tap
	// LinkRate is how many bytes a second the link brings to the box at most; 0 =
	// as the machine can. Only for bootstrap.
	LinkRate int
	// Outage is how long each fault of partition lasts.
	Outage time.Duration
	// Stations is how many boxes city has, Span how long each of its measurements
	// takes.
	Stations int
	Span     time.Duration
	Seed     uint64
	Log      *slog.Logger // of box and centre; nil = none
	// Progress is told what is going on: a phase, how much of it is done and
	// how much there is. Several goroutines may call it at once; nil = nobody
	// wants to know.
	Progress func(phase string, done, total int)
}

// Limits of a Config.
const (
	MaxGates   = 128
	MaxCards   = 50_000_000
	MaxTaps    = 10_000_000
	MaxUpdates = 20_000
	minBaud    = 1200

	// MaxPace and MaxErrorRate bound Config.Pace and Config.ErrorRate.
	MaxPace      = time.Minute
	MaxErrorRate = 0.01

	// MaxOutage, MaxStations and MaxSpan bound Config.Outage, Stations and Span.
	MaxOutage   = time.Hour
	MaxStations = 200
	MaxSpan     = time.Hour
)

// Scenario is one thing to simulate.
type Scenario struct {
	Name, Shows string
	// Readers says that it is about readers on a line: it implies osdp.
	Readers bool
	// Story says that it takes its course while riders tap until it ends, or
	// without any: Config.Taps does not count, and there are no readers.
	Story bool
}

// Names of the scenarios.
const (
	ScenarioRush     = "rush"
	ScenarioOffline  = "offline"
	ScenarioNoise    = "noise"
	ScenarioDeadGate = "deadgate"
	ScenarioMisfits  = "misfits"

	ScenarioBootstrap = "bootstrap"
	ScenarioRepair    = "repair"
	ScenarioPartition = "partition"
	ScenarioCity      = "city"
	ScenarioNotice    = "notice"
)

// Scenarios returns what Run knows.
func Scenarios() []Scenario {
	return []Scenario{
		{Name: ScenarioRush, Shows: "rush hour at one station while the centre's changes flow"},
		{Name: ScenarioOffline, Shows: "the same with the link cut for half of the run"},
		{Name: ScenarioNoise, Shows: "rush hour at readers on a line whose bits are damaged at --error-rate (osdp)", Readers: true},
		{Name: ScenarioDeadGate, Shows: "the same with --dead readers that never answer and one that is switched off and on again (osdp)", Readers: true},
		{Name: ScenarioMisfits, Shows: "the same with eight misfits beside the readers: slow, too slow, two with one address, babbling,\n            with a wrong key, with none, at another speed, mute (osdp)", Readers: true},
		{Name: ScenarioBootstrap, Shows: "a new box loads all shards while riders tap, and is stopped and opened again in the middle", Story: true},
		{Name: ScenarioRepair, Shows: "records in a box's store are falsified; checkpoints find and mend each", Story: true},
		{Name: ScenarioPartition, Shows: "the link is cut, swallows everything, is thin, and the centre is restarted, each for --outage", Story: true},
		{Name: ScenarioCity, Shows: "--stations boxes follow one centre; what a box costs it, and what that comes to in a whole city", Story: true},
		{Name: ScenarioNotice, Shows: "the answers of the public notice of 2022-05-31, played at the channels and at a gate", Story: true},
	}
}

// Defaults of a Config that depend on others of its values.
const (
	// ReadersTaps is the number of taps that takes readers half a minute.
	ReadersTaps = 400
	// NoiseRate is what a bad line does.
	NoiseRate = 1e-5
	// CityCards is the number of credentials of scenario city, whose boxes share
	// a machine; CityUpdates is the rate of changes at a city's rush hour.
	CityCards   = 5000
	CityUpdates = 1000
)

// DefaultConfig returns the defaults of a scenario: a station of eight gates,
// the city's mean rate of changes.
func DefaultConfig(scenario string) Config {
	c := Config{Scenario: scenario, Gates: 8, Cards: 100_000, Taps: 4000, Baud: 115200, Protocol: string(station.ProtocolDirect), Turnaround: time.Millisecond, Updates: 250,
		Outage: 10 * time.Second, Stations: 50, Span: 10 * time.Second}
	for _, s := range Scenarios() {
		if s.Name == scenario && s.Readers {
			c.Protocol, c.Taps = string(station.ProtocolOSDP), ReadersTaps
		}
	}
	switch scenario {
	case ScenarioNoise:
		c.ErrorRate = NoiseRate
	case ScenarioDeadGate:
		c.Dead = 1
	case ScenarioCity:
		c.Cards, c.Updates = CityCards, CityUpdates
	}
	return c
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	var names []string
	osdpOnly, story := false, false
	for _, s := range Scenarios() {
		names = append(names, s.Name)
		story = story || s.Name == c.Scenario && s.Story
		osdpOnly = osdpOnly || s.Name == c.Scenario && s.Readers
	}
	reads := c.Protocol == string(station.ProtocolOSDP)
	fault(!slices.Contains(names, c.Scenario), "scenario %.40q is not one of %s", c.Scenario, strings.Join(names, ", "))
	fault(c.Gates < 1 || c.Gates > MaxGates, "gates: %d is not between 1 and %d", c.Gates, MaxGates)
	fault(c.Cards < 100 || c.Cards > MaxCards, "cards: %d is not between 100 and %d", c.Cards, MaxCards)
	fault(c.Taps < c.Gates || c.Taps > MaxTaps, "taps: %d is not between the number of gates and %d", c.Taps, MaxTaps)
	fault(c.Baud < minBaud || !slices.Contains(serial.Bauds(), c.Baud), "baud: %d is not a speed of a serial port from %d on, such as 9600 or 115200", c.Baud, minBaud)
	fault(c.Protocol != string(station.ProtocolDirect) && !reads, "protocol: %.40q is not one of direct, osdp", c.Protocol)
	fault(osdpOnly && !reads, "protocol: scenario %s is about readers, so it takes osdp only", c.Scenario)
	fault(story && reads, "protocol: scenario %s is not about lines, so it takes direct only", c.Scenario)
	fault(c.Turnaround < 0 || c.Turnaround > osdp.ReplyTime, "turnaround: %v is not between 0 and %v", c.Turnaround, osdp.ReplyTime)
	fault(c.Secure && !reads, "secure: only osdp has it")
	fault(c.Pace < 0 || c.Pace > MaxPace, "pace: %v is not between 0 and %v", c.Pace, MaxPace)
	fault(!(c.ErrorRate >= 0 && c.ErrorRate <= MaxErrorRate), "error-rate: %v is not between 0 and %v", c.ErrorRate, MaxErrorRate)
	fault(c.ErrorRate > 0 && !reads, "error-rate: only a line of readers (osdp) has noise")
	fault(c.Echo && !reads, "echo: only a line of readers (osdp) has one")
	fault(c.Dead < 0 || c.Dead > 0 && c.Dead > min(c.Gates, readersPerLine)-2, "dead: %d is not between 0 and two less than the readers of a line", c.Dead)
	fault(c.Dead > 0 && (!reads || c.Scenario == ScenarioMisfits), "dead: only readers (osdp) may be dead, and in scenario %s they are already", ScenarioMisfits)
	fault(c.Updates < 0 || c.Updates > MaxUpdates, "updates: %d is not between 0 and %d", c.Updates, MaxUpdates)
	fault(c.LinkRate < 0 || c.LinkRate > 0 && c.LinkRate < minLinkRate, "link-rate: %d is neither 0 nor %d bytes a second or more", c.LinkRate, minLinkRate)
	fault(c.LinkRate > 0 && c.Scenario != ScenarioBootstrap, "link-rate: only scenario %s has it", ScenarioBootstrap)
	fault(c.Outage < 0 || c.Outage > MaxOutage, "outage: %v is not between 0 and %v", c.Outage, MaxOutage)
	city := c.Scenario == ScenarioCity
	fault(c.Stations < 0 || c.Stations > MaxStations || city && c.Stations == 0, "stations: %d is not between 1 and %d", c.Stations, MaxStations)
	fault(c.Span < 0 || c.Span > MaxSpan || city && c.Span == 0, "span: %v is not above 0 and up to %v", c.Span, MaxSpan)
	fault((c.Scenario == ScenarioRepair || city) && c.Updates < minFlow, "updates: %d is below %d; scenario %s needs changes that flow", c.Updates, minFlow, c.Scenario)
	return errors.Join(faults...)
}

const (
	// minLinkRate is a bound of Config.LinkRate; minFlow one of Config.Updates
	// where a scenario measures by changes, or needs entries that carry the
	// checkpoints of the shards.
	minLinkRate = 1000
	minFlow     = 20

	// meanGap is the mean pause of a rider between two taps of a gate; it makes
	// a gate some twenty times as busy as the busiest real one.
	meanGap = 25 * time.Millisecond
	// meanTurn is the same for readers, times their number on a line: a fifth of
	// what such a line can carry at 115200 baud.
	meanTurn = 62500 * time.Microsecond
	// offlineFresh is the fresh_limit of scenario offline, short enough for its
	// cut to pass it.
	offlineFresh = 2 * time.Second

	catchUpLimit = time.Minute
	// readersLimit is how long a line of readers may take to come online, or one
	// of them to serve again after it was off.
	readersLimit = time.Minute
	// dark is how long a rider looks elsewhere who finds a reader dark.
	dark = 10 * time.Millisecond
)

// run is one scenario under way.
type run struct {
	cfg       Config
	w         *world
	decisions *samples
	spread    *samples // propagation

	tapping  atomic.Bool  // the rush is on: sample decisions
	level    atomic.Int64 // Unix µs since when the box has been level, 0 = it is not: sample propagation
	catching atomic.Bool  // the link is back: count what is fetched
	entries  atomic.Uint64
	records  atomic.Uint64
	left     atomic.Int64 // taps not begun yet
	tapped   atomic.Int64
	taps     [][]tapRecord // by gate

	// Of stories: the box is loading shards; riders of these shards do not tap.
	loading atomic.Bool
	spared  atomic.Pointer[map[gateway.ShardID]bool]
}

// Run simulates a scenario. A run that found something wrong is no error: look
// at Report.OK.
func Run(ctx context.Context, cfg Config) (report *Report, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Progress == nil {
		cfg.Progress = func(string, int, int) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if story := storyOf(cfg.Scenario); story != nil {
		return story(ctx, cfg)
	}
	s := newRun(cfg)
	if s.w, err = openWorld(ctx, s.worldConfig()); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.w.close()) }()
	r := rand.New(rand.NewPCG(cfg.Seed, 1))
	fresh := 15 * time.Minute
	if cfg.Scenario == ScenarioOffline {
		fresh = offlineFresh
	}
	if err := s.w.setPolicy(policyFacts{effective: time.Now().Add(-time.Hour).Truncate(time.Second), window: 2, fresh: fresh, stale: 24 * time.Hour}); err != nil {
		return nil, err
	}
	if err := s.w.load(r, func(done, total int) { cfg.Progress("load", done, total) }); err != nil {
		return nil, err
	}
	for _, l := range s.w.lines {
		if err := s.w.poll(readersLimit, "the readers to come online", l.ready); err != nil {
			return nil, err
		}
	}
	report = newReport(cfg.Scenario, cfg.Seed)
	if err := s.rush(report); err != nil {
		return nil, s.w.cause(err)
	}
	if report.Equal, _, err = s.w.equal(); err != nil {
		return nil, err
	}
	report.addTaps(s.w.model, slices.Concat(s.taps...), cfg.Baud)
	report.addDecisions(s.decisions.taken())
	report.addPropagation(s.spread.taken())
	report.addLines(s.w.lines)
	return report, nil
}

func newRun(cfg Config) *run {
	s := &run{cfg: cfg, decisions: newSamples(2 * cfg.Taps), spread: newSamples(1 << 20)}
	s.left.Store(int64(cfg.Taps))
	return s
}

// worldConfig returns the world of a scenario.
func (s *run) worldConfig() worldConfig {
	cfg := s.cfg
	w := worldConfig{credentials: cfg.Cards, baud: cfg.Baud, seed: cfg.Seed, secure: cfg.Secure, turnaround: cfg.Turnaround, log: cfg.Log,
		onApplied: s.applied, onAnswered: s.answered}
	if cfg.Protocol != string(station.ProtocolOSDP) {
		w.gates = cfg.Gates
		return w
	}
	w.readers = cfg.Gates
	var odd []readerFault
	if cfg.Scenario == ScenarioMisfits {
		odd = misfits(cfg.Baud)
		w.readers += len(odd)
	}
	w.faults = func(line, n int) faults {
		f := faults{errorRate: cfg.ErrorRate, echo: cfg.Echo}
		switch {
		case line > 0:
		case cfg.Scenario == ScenarioMisfits:
			f.readers = odd
		case cfg.Dead > 0:
			f.readers = deadReaders(n, cfg.Dead)
		}
		return f
	}
	return w
}

// rush lets riders tap while changes flow and, in scenario offline, the link
// is cut; it ends with the box level with the centre.
func (s *run) rush(report *Report) error {
	s.tapping.Store(true)
	s.level.Store(time.Now().UnixMicro())
	changing, stopChanges := context.WithCancel(s.w.ctx)
	defer stopChanges()
	var gates, cuts, changes errgroup.Group
	// A part that fails ends the world, so that no other waits for it.
	guard := func(f func() error) func() error {
		return func() error {
			err := f()
			if err != nil {
				s.w.stop(err)
			}
			return err
		}
	}
	s.taps = make([][]tapRecord, len(s.w.gates))
	for i, g := range s.w.gates {
		if g.usable() {
			gates.Go(guard(func() error { return s.serveGate(i) }))
		}
	}
	if s.cfg.Scenario == ScenarioDeadGate {
		s.w.lines[0].plan(powerCycles(rand.New(rand.NewPCG(s.cfg.Seed, 3)), 0, time.Now()))
	}
	changes.Go(guard(func() error { return s.change(changing) }))
	if s.cfg.Scenario == ScenarioOffline {
		cuts.Go(guard(func() error { return s.cutInTheMiddle(report) }))
	}
	err := gates.Wait()
	s.tapping.Store(false)
	// Changes go on until the box is level again, as they do in life.
	err = errors.Join(err, cuts.Wait(), s.powerBack())
	stopChanges()
	if err = errors.Join(err, changes.Wait()); err != nil {
		return err
	}
	return s.w.caughtUp(s.w.centre.FeedNumber(), catchUpLimit)
}

// powerBack switches on what is off and waits until it serves again.
func (s *run) powerBack() error {
	if s.cfg.Scenario != ScenarioDeadGate {
		return nil
	}
	s.w.lines[0].restore(time.Now())
	return s.w.poll(readersLimit, "the reader that was off to serve again", s.w.gates[0].serving)
}

// serveGate lets riders tap at one gate while there are taps left. At a reader
// that is dark nobody taps.
func (s *run) serveGate(i int) error {
	g, r := s.w.gates[i], rand.New(rand.NewPCG(s.cfg.Seed, uint64(100+i)))
	for {
		if err := g.idle(s.w.ctx, time.Now().Add(s.pause(r))); err != nil {
			return err
		}
		for !g.serving() && s.left.Load() > 0 {
			if err := g.idle(s.w.ctx, time.Now().Add(dark)); err != nil {
				return err
			}
		}
		if s.left.Add(-1) < 0 {
			return nil
		}
		credential, purpose := somebody(r, s.cfg.Cards)
		t, err := g.tap(s.w.ctx, credential, purpose)
		if err != nil {
			return err
		}
		s.taps[i] = append(s.taps[i], t)
		s.cfg.Progress("taps", int(s.tapped.Add(1)), s.cfg.Taps)
	}
}

// pause draws how long nobody taps at a gate: at a pace that was asked for,
// half of it to one and a half; else as it comes.
func (s *run) pause(r *rand.Rand) time.Duration {
	if pace := float64(s.cfg.Pace); pace > 0 {
		return time.Duration(pace * (0.5 + r.Float64()))
	}
	gap := meanGap
	if len(s.w.lines) > 0 {
		gap = meanTurn * time.Duration(min(s.cfg.Gates, readersPerLine)) * 115200 / time.Duration(s.cfg.Baud)
	}
	return min(time.Duration(r.ExpFloat64()*float64(gap)), 10*gap)
}

// somebody draws a rider: now and then one the city does not know, one whose
// medium cannot be read, one who leaves, one who tops up.
func somebody(r *rand.Rand, cards int) (credential int, purpose gateway.Purpose) {
	switch n := r.IntN(100); {
	case n < 2:
		return cards + r.IntN(1000), gateway.PurposeEntry
	case n < 3:
		return noCredential, gateway.PurposeEntry
	case n < 5:
		return r.IntN(cards), gateway.PurposeExit
	case n < 6:
		return r.IntN(cards), gateway.PurposeTopUp
	}
	return r.IntN(cards), gateway.PurposeEntry
}

// change feeds changes to the centre until ctx is done.
func (s *run) change(ctx context.Context) error {
	return s.w.change(ctx, rand.New(rand.NewPCG(s.cfg.Seed, 2)), s.cfg.Updates, s.spares)
}

// cutInTheMiddle cuts the link for the middle half of the taps.
func (s *run) cutInTheMiddle(report *Report) error {
	part := func(quarters int64) func() bool {
		return func() bool { return s.tapped.Load() >= int64(s.cfg.Taps)*quarters/4 }
	}
	const limit = time.Hour
	if err := s.w.poll(limit, "the first quarter of the taps", part(1)); err != nil {
		return err
	}
	s.level.Store(0)
	s.w.link.set(true)
	if err := s.w.poll(limit, "three quarters of the taps", part(3)); err != nil {
		return err
	}
	s.catching.Store(true)
	s.w.link.set(false)
	healed := time.Now()
	if err := s.w.caughtUp(s.w.centre.FeedNumber(), catchUpLimit); err != nil {
		return err
	}
	report.CaughtUp.Seconds = float64(time.Since(healed).Milliseconds()) / 1e3
	s.catching.Store(false)
	report.CaughtUp.Entries, report.CaughtUp.Records = s.entries.Load(), s.records.Load()
	s.level.Store(time.Now().UnixMicro())
	return nil
}

// applied is called for every entry that the box has applied.
func (s *run) applied(u gateway.Update) {
	switch {
	case s.catching.Load():
		s.entries.Add(1)
		s.records.Add(uint64(len(u.Changes)))
	case len(u.Changes) > 0:
		if level := s.level.Load(); level != 0 && u.To.Watermark > level {
			s.spread.add(time.Since(u.To.Time()))
		}
	}
}

// answered is called for every answer that the box has given to a port.
func (s *run) answered(handed, _ time.Duration) {
	if s.tapping.Load() {
		s.decisions.add(handed)
	}
}
