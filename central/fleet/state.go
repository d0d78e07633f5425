// Package fleet judges what the stations of a city say of themselves: which are
// well, and which need somebody. It is pure: reports and the time come in,
// states and changes of state come out.
package fleet

import (
	"cmp"
	"fmt"
	"time"

	"gateline/gateway"
	"gateline/replication"
)

// State is how a station is. The greater, the sooner somebody is needed.
type State uint8

const (
	// OK: it reports, and holds what the centre has.
	OK State = iota
	// Expected: it has reported before the centre was started, and not since.
	Expected
	// Behind: it lacks entries that the centre published a while ago.
	Behind
	// Faulty: its clock is not trusted, its disk failed, or it has no policy.
	Faulty
	// Loading: its store has never been complete; riders get R24.
	Loading
	// Stale: its data are older than the policy's fresh_limit; it refuses nobody.
	Stale
	// Silent: it does not report.
	Silent
	// Disagrees: what it has applied is not what the centre has published.
	Disagrees
)

// States returns every state there is, in order.
func States() []State {
	return []State{OK, Expected, Behind, Faulty, Loading, Stale, Silent, Disagrees}
}

var stateNames = [...]string{"ok", "expected", "behind", "faulty", "loading", "stale", "silent", "disagrees"}

// String returns the state's name.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "invalid"
}

// MarshalText implements encoding.TextMarshaler.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *State) UnmarshalText(text []byte) error {
	for i, name := range stateNames {
		if name == string(text) {
			*s = State(i)
			return nil
		}
	}
	return fmt.Errorf("a state of a station that this program does not know; use the same version as the centre")
}

// Alarming reports whether somebody has to do something.
func (s State) Alarming() bool { return s > Expected }

// Next returns what to do about a station in the state.
func (s State) Next() string {
	switch s {
	case Behind:
		return "if it stays so: the log of the box, and the link's bandwidth"
	case Faulty:
		return "gateline check at the box"
	case Loading:
		return "wait until it has loaded everything; if records do not grow: the log of the box"
	case Stale:
		return "the log of the box says why nothing is applied; staff to the lanes"
	case Silent:
		return "power and network of the station, then systemctl status gateline at the box; gateline fleet forget, if it is no more"
	case Disagrees:
		return "the log of the box, and whether the centre was restored from a backup; if the centre is right, have the box load everything anew"
	}
	return ""
}

// Limits say when something is worth an alarm. What is zero takes the default
// given with it.
type Limits struct {
	// Silent is how long a station may send no report (30 s, six reports).
	Silent time.Duration
	// Entries and Lag are how far a station may be behind, in entries (100) and
	// in time (30 s).
	Entries uint64
	Lag     time.Duration
	// Settle is how long a state lasts before it is told (10 s): a box that is
	// started, or catches up, is soon well by itself.
	Settle time.Duration
}

// withDefaults returns the limits with every one of them set.
func (l Limits) withDefaults() Limits {
	return Limits{
		Silent: cmp.Or(l.Silent, 30*time.Second), Entries: cmp.Or(l.Entries, 100),
		Lag: cmp.Or(l.Lag, 30*time.Second), Settle: cmp.Or(l.Settle, 10*time.Second),
	}
}

// Feed is where the centre's feed stands.
type Feed struct {
	Number uint64
	// Time is that of the last entry; the zero Time if there is none.
	Time time.Time
}

// Match says how the entry a station stands at compares with the centre's of the
// same number.
type Match uint8

const (
	// MatchUnknown: there is nothing to compare with.
	MatchUnknown Match = iota
	// MatchSame: it is the same.
	MatchSame
	// MatchOther: it is another one.
	MatchOther
	// MatchAhead: the centre has not published one of this number.
	MatchAhead
	// MatchForeign: the station follows another epoch.
	MatchForeign
)

// Seen is a report with what the centre knew as it came in. All times in it are
// the centre's.
type Seen struct {
	Report   *replication.Report
	Received time.Time
	Feed     Feed
	Match    Match
}

// Behind returns how far the station was behind as it reported, in entries of
// the feed and in the centre's time between them.
func (s *Seen) Behind() (entries uint64, lag time.Duration) {
	p := &s.Report.Position
	if s.Match == MatchForeign || p.Number >= s.Feed.Number {
		return 0, 0
	}
	if !p.Watermark.IsZero() {
		lag = max(s.Feed.Time.Sub(p.Watermark), 0)
	}
	return s.Feed.Number - p.Number, lag
}

// Age returns how old the data of the station are at now, false where it has
// none.
func (s *Seen) Age(now time.Time) (time.Duration, bool) {
	mark := s.Report.Position.Watermark
	return max(now.Sub(mark), 0), !mark.IsZero()
}

// Judge returns the state at now of a station that was last seen so, and why it
// is not well. The centre has been listening since.
func Judge(s *Seen, l Limits, since, now time.Time) (State, string) {
	l = l.withDefaults()
	quiet := now.Sub(s.Received)
	switch before := s.Received.Before(since); {
	case before && now.Sub(since) <= l.Silent:
		return Expected, "not heard since the centre was started"
	case s.Match > MatchSame:
		return Disagrees, whyDisagrees(s)
	case before || quiet > l.Silent:
		return Silent, fmt.Sprintf("no report for %v", quiet.Round(time.Second))
	}
	return judgeReport(s, l)
}

// judgeReport judges what the station said. A report counts as of its arrival:
// how old it has become since is for Silent to say.
func judgeReport(s *Seen, l Limits) (State, string) {
	r := s.Report
	entries, lag := s.Behind()
	age, dated := s.Age(s.Received)
	fresh := time.Duration(r.FreshLimitS) * time.Second
	if fresh == 0 {
		fresh = time.Duration(gateway.DefaultPolicy(time.Time{}).FreshLimit)
	}
	switch {
	case !r.Usable && r.Shards.ToLoad > 0:
		return Loading, fmt.Sprintf("%d of %d shards", r.Shards.Loaded, r.Shards.ToLoad)
	case r.Shards.Differ > 0:
		return Disagrees, fmt.Sprintf("%d shards are not the centre's", r.Shards.Differ)
	case !r.Usable:
		return Loading, fmt.Sprintf("never complete, %d entries to go", entries)
	case dated && age > fresh:
		return Stale, fmt.Sprintf("data are %v old, fresh for %v", age.Round(time.Second), fresh)
	case r.StoreFailed:
		return Faulty, "the disk failed, nothing is applied any more"
	case !r.Clock.Trusted:
		return Faulty, "clock not trusted: " + r.Clock.Why
	case r.Mode == "":
		return Faulty, "no policy in force"
	case entries > l.Entries || lag > l.Lag:
		return Behind, fmt.Sprintf("%d entries, %v", entries, lag.Round(time.Second))
	}
	return OK, ""
}

func whyDisagrees(s *Seen) string {
	number := s.Report.Position.Number
	switch s.Match {
	case MatchForeign:
		return "it follows a feed of another epoch"
	case MatchAhead:
		return fmt.Sprintf("it has applied entry %d, and the feed ends at %d", number, s.Feed.Number)
	}
	return fmt.Sprintf("its entry %d is not the centre's", number)
}
