package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"gateline/central"
	"gateline/gateway"
)

// policyChange is what a document changes in a schedule.
type policyChange struct {
	// From is when it takes effect: its effective instant, or now where that has
	// passed. Until is when another document follows; zero = none does.
	From  time.Time `json:"from"`
	Until time.Time `json:"until,omitzero"`
	// Never says that another document has followed already, from Until on.
	Never bool `json:"never,omitempty"`
	// Against is the effective instant of the document that holds at From without
	// this one; zero = none does, and every field is new. Where it Replaces that one,
	// the two have the same effective instant.
	Against  time.Time       `json:"against,omitzero"`
	Replaces bool            `json:"replaces,omitempty"`
	Fields   []changedText   `json:"fields"`
	Stations []changedText   `json:"stations"` // modes, also where the document's own changes it
	Answers  *hourOfAnswers  `json:"answers,omitempty"`
	unknown  error           // why there are no Answers though they were asked for
	document *gateway.Policy // the new one
}

// changedText is a field of a document, or the mode of a station, before and after;
// before is empty where there was nothing.
type changedText struct {
	Name   string `json:"name"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// changeOf says what a document changes in a schedule, which may be nil.
func changeOf(s *gateway.Schedule, p *gateway.Policy, now time.Time) *policyChange {
	c := &policyChange{From: p.Effective, Fields: []changedText{}, Stations: []changedText{}, document: p}
	if now.After(c.From) {
		c.From = now
	}
	before := s.At(c.From)
	if before == nil {
		c.Fields = changes(nil, fieldsOf(p))
		for _, name := range slices.Sorted(maps.Keys(p.Stations)) {
			c.Stations = append(c.Stations, changedText{Name: name, After: p.Stations[name].String()})
		}
	} else {
		c.Against, c.Replaces = before.Effective, before.Effective.Equal(p.Effective)
		c.Fields = changes(fieldsOf(before), fieldsOf(p))
		c.Stations = changedStations(before, p)
	}
	if s != nil {
		next := slices.IndexFunc(s.Policies, func(other gateway.Policy) bool { return other.Effective.After(p.Effective) })
		if next >= 0 {
			c.Until = s.Policies[next].Effective
			c.Never = !c.Until.After(now)
		}
	}
	return c
}

// nothing reports whether a document only says again what the schedule says.
func (c *policyChange) nothing() bool {
	return c.Replaces && len(c.Fields)+len(c.Stations) == 0
}

// enforces names the first mode that a document turns to enforce, as people see it; ""
// where it turns none, and where it is never in force.
func (c *policyChange) enforces() string {
	if c.Never {
		return ""
	}
	turned := func(t changedText) bool { return t.After == gateway.ModeEnforce.String() }
	for _, f := range c.Fields {
		if f.Name == "mode" && turned(f) {
			return "mode " + f.After
		}
	}
	for _, s := range c.Stations {
		if turned(s) {
			return fmt.Sprintf("station %s on %s", s.Name, s.After)
		}
	}
	return ""
}

// changedStations compares what holds at every station that one of the two names.
func changedStations(before, after *gateway.Policy) []changedText {
	names := maps.Clone(before.Stations)
	if names == nil {
		names = make(map[string]gateway.Mode)
	}
	maps.Copy(names, after.Stations)
	mode := func(p *gateway.Policy, station string) gateway.Mode {
		if own, is := p.Stations[station]; is {
			return own
		}
		return p.Mode
	}
	changed := []changedText{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if a, b := mode(before, name), mode(after, name); a != b {
			changed = append(changed, changedText{Name: name, Before: a.String(), After: b.String()})
		}
	}
	return changed
}

// changes compares two documents field by field; before may be nil.
func changes(before, after [][2]string) []changedText {
	changed := []changedText{}
	for i, f := range after {
		old := ""
		if before != nil {
			old = before[i][1]
		}
		if old != f[1] {
			changed = append(changed, changedText{Name: f[0], Before: old, After: f[1]})
		}
	}
	return changed
}

// fieldsOf returns what a document says, with the names that its fields have in JSON
// and always in the same order; without the stations and the effective instant.
func fieldsOf(p *gateway.Policy) [][2]string {
	when := func(t time.Time) string {
		if t.IsZero() {
			return "never"
		}
		return instant(t)
	}
	fields := [][2]string{
		{"mode", p.Mode.String()},
		{"window", counted(int(p.Window), "day")},
		{"unit", p.Unit.String()},
		{"fresh_limit", short(p.FreshLimit)},
		{"stale_pass_limit", short(p.StalePassLimit)},
		{"red_needs_passable", strconv.FormatBool(p.RedNeedsPassable)},
		{"top_up_from", when(p.TopUpFrom)},
		{"verdict_ttl", short(p.VerdictTTL)},
		{"expires", when(p.Expires)},
		{"sunset", when(p.Sunset)},
		{"after_sunset", p.AfterSunset.String()},
	}
	for _, t := range []struct {
		name string
		text gateway.Text
	}{{"refuse", p.Texts.Refuse}, {"not_found", p.Texts.NotFound}, {"manual", p.Texts.Manual}, {"top_up", p.Texts.TopUp}} {
		fields = append(fields, [2]string{"texts." + t.name, t.text.ZH + " / " + t.text.EN})
	}
	return fields
}

// text shows the change to people.
func (c *policyChange) text(now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "a document from %s", instant(c.document.Effective))
	switch {
	case c.Never:
		fmt.Fprintf(&b, " that is never in force: the one from %s has followed it\n", instant(c.Until))
	case c.From.After(now):
		fmt.Fprintf(&b, ", in %s", ago(c.From.Sub(now)))
	default:
		b.WriteString(", in force at once")
	}
	if !c.Never && !c.Until.IsZero() {
		fmt.Fprintf(&b, ", until the one from %s", instant(c.Until))
	}
	if !c.Never {
		b.WriteByte('\n')
	}
	switch {
	case c.Against.IsZero():
		b.WriteString("no document holds then; all of it is new:\n")
	case c.nothing():
		b.WriteString("it says what the document of that instant says already\n")
	case len(c.Fields)+len(c.Stations) == 0:
		fmt.Fprintf(&b, "it says the same as the one from %s\n", instant(c.Against))
	case c.Replaces:
		b.WriteString("it replaces the document of that instant:\n")
	default:
		fmt.Fprintf(&b, "against the one from %s:\n", instant(c.Against))
	}
	line := func(name string, t changedText) {
		if t.Before == "" {
			fmt.Fprintf(&b, "  %-24s %s\n", name, t.After)
		} else {
			fmt.Fprintf(&b, "  %-24s %s → %s\n", name, t.Before, t.After)
		}
	}
	for _, f := range c.Fields {
		line(f.Name, f)
	}
	for _, s := range c.Stations {
		line("station "+s.Name, s)
	}
	switch {
	case c.unknown != nil:
		fmt.Fprintf(&b, "what stations answered in the last hour is not known: %v\n", c.unknown)
	case c.Answers != nil:
		c.Answers.write(&b)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// hourOfAnswers is what all stations answered in one hour.
type hourOfAnswers struct {
	Start time.Time `json:"start"` // UTC
	// Stations have told of that hour, of so many that have ever reported.
	Stations int `json:"stations"`
	Of       int `json:"of"`
	// Answers count by reason. Observed are those that would have been given, in mode
	// observe.
	Answers  map[string]uint64 `json:"answers"`
	Observed map[string]uint64 `json:"observed,omitempty"`
}

func (h *hourOfAnswers) write(b *strings.Builder) {
	hour := h.Start.In(gateway.Zone).Format("01-02 15:04") + " to " + h.Start.In(gateway.Zone).Add(time.Hour).Format("15:04")
	if h.Stations == 0 {
		fmt.Fprintf(b, "no station has told what it answered from %s\n", hour)
		return
	}
	fmt.Fprintf(b, "answered from %s, as told by %d of %s:\n", hour, h.Stations, counted(h.Of, "station"))
	for _, counts := range []struct {
		name string
		by   map[string]uint64
	}{{"given", h.Answers}, {"would be given", h.Observed}} {
		if counts.name != "given" && len(counts.by) == 0 {
			continue
		}
		verdicts, reasons := sums(counts.by)
		fmt.Fprintf(b, "  %-24s pass %d, refuse %d, manual %d", counts.name, verdicts[gateway.VerdictPass], verdicts[gateway.VerdictRefuse], verdicts[gateway.VerdictManual])
		if len(reasons) > 0 {
			fmt.Fprintf(b, "  (%s)", strings.Join(reasons, " "))
		}
		b.WriteByte('\n')
	}
}

const (
	// hourLimit bounds what a person waits for the answers of all stations.
	hourLimit = 20 * time.Second
	// hourQuestions is how many stations are asked about at once.
	hourQuestions = 8
)

// consider asks the centre what a document would change, and with answers how many
// riders got which answer in the last full hour. That these are not known is no
// reason to stop.
func (o *ops) consider(cmd *cobra.Command, p *gateway.Policy, answers bool) (*policyChange, error) {
	var change *policyChange
	err := o.ask(cmd, hourLimit, func(ctx context.Context, c *central.Client) error {
		s, err := policyOrNone(ctx, c)
		if err != nil {
			return err
		}
		change = changeOf(s, p, time.Now())
		if answers && !change.nothing() {
			change.Answers, change.unknown = lastHour(ctx, c)
		}
		return nil
	})
	if err == nil && cmd.Context().Err() != nil {
		err = cmd.Context().Err()
	}
	return change, err
}

// policyOrNone returns the schedule, nil where there is none yet.
func policyOrNone(ctx context.Context, c *central.Client) (*gateway.Schedule, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	s, err := c.Policy(ctx)
	var refusal *central.Refusal
	if errors.As(err, &refusal) && refusal.Code == central.CodeNoPolicy {
		return nil, nil
	}
	return s, err
}

// lastHour sums what all stations answered in the last hour that is over, by the
// centre's clock.
func lastHour(ctx context.Context, c *central.Client) (*hourOfAnswers, error) {
	page, err := c.Fleet(ctx)
	if err != nil {
		return nil, err
	}
	sum := &hourOfAnswers{Start: page.At.UTC().Truncate(time.Hour).Add(-time.Hour), Of: len(page.Stations), Answers: map[string]uint64{}}
	var mu sync.Mutex // guards sum
	asking, ctx := errgroup.WithContext(ctx)
	asking.SetLimit(hourQuestions)
	for i := range page.Stations {
		asking.Go(func() error {
			s, err := c.FleetStation(ctx, page.Stations[i].Station)
			var refusal *central.Refusal
			if errors.As(err, &refusal) && refusal.Code == central.CodeNoStation {
				return nil // forgotten meanwhile
			}
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			sum.add(s)
			return nil
		})
	}
	if err := asking.Wait(); err != nil {
		return nil, err
	}
	return sum, nil
}

func (h *hourOfAnswers) add(s *central.FleetStation) {
	for _, hour := range s.Hours {
		if !hour.Start.Equal(h.Start) {
			continue
		}
		h.Stations++
		for reason, n := range hour.Answers {
			h.Answers[reason] += n
		}
		for reason, n := range hour.Observed {
			if h.Observed == nil {
				h.Observed = make(map[string]uint64)
			}
			h.Observed[reason] += n
		}
	}
}
