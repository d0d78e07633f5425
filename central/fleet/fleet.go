package fleet

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gateline/replication"
)

// ErrFull reports that a report was dropped because as many stations as a centre
// has have reported.
var ErrFull = fmt.Errorf("more than %d stations report", replication.MaxStations)

// ErrUnknown reports that a station has never reported.
var ErrUnknown = errors.New("no station of this name has reported")

// Fleet is what all stations have said last. It is not safe for concurrent use.
type Fleet struct {
	limits   Limits
	since    time.Time
	stations map[string]*station
}

type station struct {
	seen Seen
	// is is the state of the last look, since when; told the one last told.
	is    State
	since time.Time
	told  State
}

// New returns a Fleet without stations that listens since an instant.
func New(l Limits, since time.Time) *Fleet {
	return &Fleet{limits: l.withDefaults(), since: since, stations: make(map[string]*station)}
}

// Listening tells that the centre hears reports from since on, and not what came
// before.
func (f *Fleet) Listening(since time.Time) { f.since = since }

// Take takes a report. It keeps seen.Report. The error is ErrFull.
func (f *Fleet) Take(seen Seen) error {
	name := seen.Report.Station
	s := f.stations[name]
	if s == nil {
		if len(f.stations) >= replication.MaxStations {
			return ErrFull
		}
		s = new(station)
		f.stations[name] = s
	}
	s.seen = seen
	return nil
}

// Forget drops a station. It is there again with its next report.
func (f *Fleet) Forget(name string) error {
	if f.stations[name] == nil {
		return ErrUnknown
	}
	delete(f.stations, name)
	return nil
}

// Change is a change of state that somebody is to hear of.
type Change struct {
	Station string
	From    State
	To      State
	Why     string
}

// Look returns what is to be told at now, in the order of stations: each state
// once, when it has lasted. A station that has always been well is not worth
// telling.
func (f *Fleet) Look(now time.Time) (changes []Change) {
	for _, name := range slices.Sorted(maps.Keys(f.stations)) {
		s := f.stations[name]
		is, why := Judge(&s.seen, f.limits, f.since, now)
		if is != s.is {
			s.is, s.since = is, now
		}
		if is == s.told || is == Expected || now.Sub(s.since) < f.limits.Settle {
			continue
		}
		changes = append(changes, Change{Station: name, From: s.told, To: is, Why: why})
		s.told = is
	}
	return changes
}

// Row is a station as it is shown. It is a JSON document of the ops service.
type Row struct {
	Station string `json:"station"`
	State   State  `json:"state"`
	Why     string `json:"why,omitempty"`
	// BehindEntries and BehindS, in seconds, are how far it was behind as it
	// reported.
	BehindEntries uint64  `json:"behind_entries"`
	BehindS       float64 `json:"behind_s"`
	// AgeS is how many seconds old its data are, those that it reported of; nil =
	// it has none.
	AgeS *float64 `json:"age_s,omitempty"`
	// ReportedS is how many seconds ago it reported.
	ReportedS float64             `json:"reported_s"`
	Report    *replication.Report `json:"report"`
}

// Row returns a station at now; the error is ErrUnknown.
func (f *Fleet) Row(name string, now time.Time) (Row, error) {
	s := f.stations[name]
	if s == nil {
		return Row{}, ErrUnknown
	}
	r := Row{Station: name, ReportedS: seconds(max(now.Sub(s.seen.Received), 0)), Report: s.seen.Report}
	r.State, r.Why = Judge(&s.seen, f.limits, f.since, now)
	entries, lag := s.seen.Behind()
	r.BehindEntries, r.BehindS = entries, seconds(lag)
	if age, dated := s.seen.Age(now); dated {
		s := seconds(age)
		r.AgeS = &s
	}
	return r, nil
}

// seconds returns a duration as documents have it, to the millisecond.
func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1e3 }

// Rows returns, at now, at most limit stations whose names come after the given
// one, in their order, and whether there are more.
func (f *Fleet) Rows(after string, limit int, now time.Time) (rows []Row, more bool) {
	names := slices.Sorted(maps.Keys(f.stations))
	first, found := slices.BinarySearch(names, after)
	if found {
		first++
	}
	names = names[first:]
	for _, name := range names[:min(limit, len(names))] {
		row, _ := f.Row(name, now) // it is there
		rows = append(rows, row)
	}
	return rows, len(names) > limit
}

// Worst orders rows: who needs somebody soonest first, then by name.
func Worst(a, b Row) int {
	if a.State != b.State {
		return int(b.State) - int(a.State)
	}
	return strings.Compare(a.Station, b.Station)
}
