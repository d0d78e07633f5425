package simulator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"gateline/central/rules"
	"gateline/gateway"
)

// DemoConfig says how to run the demo.
type DemoConfig struct {
	Cards int
	Seed  uint64
	Log   *slog.Logger
	Show  Show
}

// Show is where the demo is watched. Its methods are called from one goroutine
// at a time, except Progress.
type Show interface {
	// Progress tells how much of the loading is done.
	Progress(done, total int)
	// Say tells what happens next, in one line.
	Say(line string)
	// Live shows the state of things, several times a second.
	Live(Snapshot)
}

// Snapshot is the state of the demo at a moment.
type Snapshot struct {
	Elapsed  time.Duration
	LinkUp   bool
	Taps     int
	Verdicts [3]int // by gateway.Verdict
	// Latency and ReaderLatency are the medians of the last taps at gates and at
	// readers.
	Latency, ReaderLatency time.Duration
	// Box and Centre are the last feed entries of either.
	Box, Centre uint64
	// Gates have a line each, Readers share one.
	Gates, Readers []GateView
}

// GateView is what a gate shows.
type GateView struct {
	Last gateway.Verdict
	Any  bool // it has answered a tap
	Dark bool // it has no power
}

// DemoReport is what the demo found.
type DemoReport struct {
	Report
	Cards   int
	Gates   int
	Readers int
	Baud    int
	// ReaderTaps are those of Taps at readers, ReaderUS how long those waited.
	ReaderTaps int
	ReaderUS   Latency
	Outage     Outage
	Elapsed    time.Duration
	CutFor     time.Duration
	CutTaps    int
	Records    int
	// Highlights are some lines of the notice's story, played at the end in a world of
	// its own.
	Highlights []Highlight
	Surprises  []string // what did not go as the story says
}

// Outage is what came of a reader that lost its power.
type Outage struct {
	Gate int // its number on the panel
	// Before and Meanwhile are the medians of its neighbours' riders while it
	// had power and while it had none.
	Before, Meanwhile time.Duration
	// Found is from power to its first answer, Back from that until it served.
	Found, Back time.Duration
}

// OK reports whether every answer was right and the story went as told.
func (r *DemoReport) OK() bool { return r.Report.OK() && len(r.Surprises) == 0 }

const (
	demoGates   = 8
	demoReaders = 8
	demoBaud    = 115200
	demoUpdates = 250
	demoGap     = 80 * time.Millisecond
	// demoReaderGap leaves a line of readers room between taps.
	demoReaderGap  = 900 * time.Millisecond
	demoTurnaround = time.Millisecond
	// recentTaps of each gate make the medians of the panel.
	recentTaps = 20
	demoFresh  = 4 * time.Second
	liveEvery  = 200 * time.Millisecond
	// demoWindowIn is how long before its effective instant the new window is
	// published.
	demoWindowIn = 3 * time.Second
)

// demo is a demo under way.
type demo struct {
	cfg   DemoConfig
	w     *world
	start time.Time

	upgrader int // a card that is not upgraded, of a person with a good test
	late     int // a credential whose owner's test is three days old

	mu     sync.Mutex    // guards Show and what follows
	taps   [][]tapRecord // by gate, readers behind
	views  []GateView
	counts [3]int
	report *DemoReport

	decisions *samples
	spread    *samples
	linkDown  atomic.Bool
	level     atomic.Int64
	catching  atomic.Bool
	entries   atomic.Uint64
	records   atomic.Uint64
	// asks lets the story use gate 1, which the crowd uses too.
	asks chan ask
}

// ask is a tap of the story.
type ask struct {
	credential int
	answer     chan tapRecord
}

// Demo runs the main job in half a minute: load, rush, an upgrade on the spot,
// a cut link, a window that changes, and some lines of the notice's story.
func Demo(ctx context.Context, cfg DemoConfig) (_ *DemoReport, err error) {
	d := &demo{cfg: cfg, start: time.Now(), views: make([]GateView, demoGates+demoReaders), taps: make([][]tapRecord, demoGates+demoReaders),
		decisions: newSamples(1 << 16), spread: newSamples(1 << 16), asks: make(chan ask)}
	d.report = &DemoReport{Report: *newReport("demo", cfg.Seed), Cards: cfg.Cards, Gates: demoGates, Readers: demoReaders, Baud: demoBaud}
	d.w, err = openWorld(ctx, worldConfig{gates: demoGates, readers: demoReaders, secure: true, turnaround: demoTurnaround,
		credentials: cfg.Cards, baud: demoBaud, seed: cfg.Seed, log: cfg.Log,
		onApplied: d.applied, onAnswered: func(handed, _ time.Duration) { d.decisions.add(handed) }})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.w.close()) }()
	d.say("A centre and one box; %d credentials, more than half of them ride codes.", cfg.Cards)
	d.say("%d gates have a serial line each; %d OSDP readers share one, in Secure Channel. All at %d baud.", demoGates, demoReaders, demoBaud)
	window := policyFacts{effective: d.start.Add(-time.Hour).Truncate(time.Second), window: 2, fresh: demoFresh, stale: 24 * time.Hour}
	if err := d.w.setPolicy(window); err != nil {
		return nil, err
	}
	if err := d.w.load(rand.New(rand.NewPCG(cfg.Seed, 1)), cfg.Show.Progress); err != nil {
		return nil, err
	}
	if err := d.cast(); err != nil {
		return nil, err
	}
	if err := d.w.poll(readersLimit, "the readers to come online", d.w.lines[0].ready); err != nil {
		return nil, err
	}
	if err := d.play(window); err != nil {
		return nil, d.w.cause(err)
	}
	if r, err := d.finish(); err != nil {
		return r, err
	}
	return d.report, d.notice(ctx, rules.DefaultRules())
}

// notice shows some lines of the notice's story, once the crowd is gone, at a centre
// with rules r.
func (d *demo) notice(ctx context.Context, r *rules.Rules) error {
	lines, surprises, err := noticeHighlights(ctx, d.cfg.Seed, d.cfg.Log, r)
	if err != nil {
		return err
	}
	d.say("From the public notice of 2022-05-31, at another centre and box, on the morning of 1 June:")
	for _, h := range lines {
		d.say("  %-3s %s → %s", h.Step, h.Did, strings.TrimSpace(h.Got+"  "+h.ZH))
	}
	d.report.Highlights, d.report.Surprises = lines, append(d.report.Surprises, surprises...)
	d.report.Elapsed = time.Since(d.start)
	return nil
}

func (d *demo) finish() (*DemoReport, error) {
	r := d.report
	var err error
	if r.Equal, r.Records, err = d.w.equal(); err != nil {
		return nil, err
	}
	r.addTaps(d.w.model, slices.Concat(d.taps[:demoGates]...), demoBaud)
	readerTaps := slices.Concat(d.taps[demoGates:]...)
	r.judge(d.w.model, readerTaps)
	r.ReaderTaps, r.ReaderUS = len(readerTaps), latencyOf(readerTaps)
	r.addLines(d.w.lines)
	r.addDecisions(d.decisions.taken())
	r.addPropagation(d.spread.taken())
	r.CaughtUp.Entries, r.CaughtUp.Records = d.entries.Load(), d.records.Load()
	r.Elapsed = time.Since(d.start)
	return r, nil
}

// cast finds the two riders of the story.
func (d *demo) cast() error {
	m, today := d.w.model, gateway.DayOf(time.Now())
	d.upgrader, d.late = -1, -1
	for i := range d.w.city.credentials {
		person, card := owner(i)
		h := m.health[person]
		if card && !m.bound[i] && d.upgrader < 0 && h.class == gateway.ClassNormal && h.anchor >= today-1 {
			d.upgrader = i
		}
		if m.bound[i] && d.late < 0 && h == (status{anchor: today - 3}) {
			d.late = i
		}
	}
	if d.upgrader < 0 || d.late < 0 {
		return fmt.Errorf("a city of %d credentials has no rider for the story; give it more, or another seed", d.cfg.Cards)
	}
	return nil
}

// spared are the people of the story; the crowd's changes leave them alone.
func (d *demo) spared(person int) bool {
	a, _ := owner(d.upgrader)
	b, _ := owner(d.late)
	return person == a || person == b
}

// play runs the crowd, the changes and the story side by side; the story ends
// them.
func (d *demo) play(window policyFacts) error {
	stop, end := context.WithCancel(d.w.ctx)
	defer end()
	d.level.Store(time.Now().UnixMicro())
	g, ctx := errgroup.WithContext(stop)
	for i := range d.w.gates {
		g.Go(func() error { return d.serveGate(ctx, i) })
	}
	g.Go(func() error { return d.w.change(ctx, rand.New(rand.NewPCG(d.cfg.Seed, 2)), demoUpdates, d.spared) })
	g.Go(func() error { return d.live(ctx) })
	g.Go(func() error {
		defer end()
		return d.story(ctx, window)
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if err := d.w.ctx.Err(); err != nil {
		return err
	}
	return d.w.caughtUp(d.w.centre.FeedNumber(), catchUpLimit)
}

// serveGate lets riders tap at one gate until ctx is done.
func (d *demo) serveGate(ctx context.Context, i int) error {
	gate, r := d.w.gates[i], rand.New(rand.NewPCG(d.cfg.Seed, uint64(100+i)))
	gap := demoGap
	if i >= demoGates {
		gap = demoReaderGap
	}
	for ctx.Err() == nil {
		next := time.Now().Add(min(time.Duration(r.ExpFloat64()*float64(gap)), 5*gap))
		if err := gate.idle(d.w.ctx, next); err != nil {
			return err
		}
		if !gate.serving() {
			continue // at a dark reader nobody taps
		}
		credential, purpose := somebody(r, d.cfg.Cards)
		var told chan tapRecord
		if i == 0 {
			select {
			case a := <-d.asks:
				credential, purpose, told = a.credential, gateway.PurposeEntry, a.answer
			default:
			}
		}
		t, err := gate.tap(d.w.ctx, credential, purpose)
		if err != nil {
			return err
		}
		d.tapped(i, t)
		if told != nil {
			told <- t
		}
	}
	return nil
}

func (d *demo) tapped(gate int, t tapRecord) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.taps[gate] = append(d.taps[gate], t)
	if t.answered {
		d.counts[t.got.verdict]++
		d.views[gate] = GateView{Last: t.got.verdict, Any: true}
	}
	if d.linkDown.Load() {
		d.report.CutTaps++
	}
}

// live shows the state of things until ctx is done.
func (d *demo) live(ctx context.Context) error {
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		d.mu.Lock()
		d.cfg.Show.Live(d.snapshot())
		d.mu.Unlock()
	}
}

// snapshot returns the state of things; the caller holds mu.
func (d *demo) snapshot() Snapshot {
	s := Snapshot{
		Elapsed: time.Since(d.start), LinkUp: d.w.box.LinkUp(), Verdicts: d.counts,
		Box: d.w.box.Position().Number, Centre: d.w.centre.FeedNumber(),
		Latency: median(recent(d.taps[:demoGates])), ReaderLatency: median(recent(d.taps[demoGates:])),
	}
	views := slices.Clone(d.views)
	for i, taps := range d.taps {
		s.Taps += len(taps)
		views[i].Dark = !d.w.gates[i].serving()
	}
	s.Gates, s.Readers = views[:demoGates], views[demoGates:]
	return s
}

// recent returns the last taps of each gate.
func recent(taps [][]tapRecord) (last []tapRecord) {
	for _, of := range taps {
		last = append(last, of[max(0, len(of)-recentTaps):]...)
	}
	return last
}

// median returns how long answers took at the median.
func median(taps []tapRecord) time.Duration {
	var all []time.Duration
	for _, t := range taps {
		if t.answered {
			all = append(all, t.received.Sub(t.sent))
		}
	}
	slices.Sort(all)
	return quantile(all, 0.5)
}

func (d *demo) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cfg.Show.Say(fmt.Sprintf(format, args...))
}

// applied is called for every entry that the box has applied.
func (d *demo) applied(u gateway.Update) {
	if d.catching.Load() {
		d.entries.Add(1)
		d.records.Add(uint64(len(u.Changes)))
	} else if level := d.level.Load(); level != 0 && u.To.Watermark > level && len(u.Changes) > 0 {
		d.spread.add(time.Since(u.To.Time()))
	}
}
