package central

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gateline/gateway"
)

func noPolicy() *Refusal {
	return refuse(CodeNoPolicy, "boxes send every rider to the manual lane (R24) until one is set: publish a policy document to %s", SubjectPolicySet)
}

// decidePolicy puts one document into the schedule (IMP-08).
func decidePolicy(s *gateway.Schedule, c policyCommand, now time.Time) ([]event, *Refusal) {
	next, err := s.Put(c.policy, now)
	if err != nil {
		return nil, refuse(CodeBadPolicy, "%s", hideNumbers(err.Error()))
	}
	return scheduleEvents(s, next)
}

// decideStation sets a station's mode (GATE-11) in every document that is or
// will be in force from the given instant on. Where no document starts at that
// instant, a copy of the one then in force is put in to start there.
func decideStation(s *gateway.Schedule, c stationCommand, now time.Time) ([]event, *Refusal) {
	if s == nil {
		return nil, noPolicy()
	}
	next := s
	later := c.from.After(now)
	if base := s.At(c.from); later && base != nil && !base.Effective.Equal(c.from) {
		start := *base
		start.Effective = c.from
		var err error
		if next, err = s.Put(start, now); err != nil {
			return nil, refuse(CodeBadPolicy, "%s", hideNumbers(err.Error()))
		}
	}
	next = &gateway.Schedule{Version: s.Version + 1, Policies: slices.Clone(next.Policies)}
	for i := range next.Policies {
		p := &next.Policies[i]
		if later && p.Effective.Before(c.from) {
			continue
		}
		p.Stations = withStation(p.Stations, c.station, c.mode)
	}
	if err := next.Validate(); err != nil {
		return nil, refuse(CodeBadPolicy, "%s", hideNumbers(err.Error()))
	}
	return scheduleEvents(s, next)
}

// withStation returns a copy: the map it is given belongs to a schedule that
// others may be reading.
func withStation(stations map[string]gateway.Mode, station string, mode gateway.Mode) map[string]gateway.Mode {
	stations = maps.Clone(stations)
	if mode == 0 {
		delete(stations, station)
		return stations
	}
	if stations == nil {
		stations = map[string]gateway.Mode{}
	}
	stations[station] = mode
	return stations
}

// scheduleEvents returns no event where next says the same as old.
func scheduleEvents(old, next *gateway.Schedule) ([]event, *Refusal) {
	encoded, err := gateway.EncodeSchedule(next)
	if err != nil {
		return nil, refuse(CodeBadPolicy, "%v; name fewer stations or wait until a pre-staged document is in force", err)
	}
	if old != nil {
		same := *next
		same.Version = old.Version
		a, errA := gateway.EncodeSchedule(old)
		b, errB := gateway.EncodeSchedule(&same)
		if errA == nil && errB == nil && bytes.Equal(a, b) {
			return nil, nil
		}
	}
	// What the ledger says is what is used, now and after a restart.
	stored, err := gateway.DecodeSchedule(encoded)
	if err != nil {
		return nil, refuse(CodeBadPolicy, "%s", hideNumbers(err.Error()))
	}
	return []event{{schedule: stored}}, nil
}

// hideNumbers replaces what could be a credential's number in a text that may
// quote what a caller sent: runs of five or more digits, and of twelve or more
// hexadecimal ones.
func hideNumbers(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); {
		n, digits := 0, 0
		for i+n < len(s) && isHex(s[i+n]) {
			if s[i+n] <= '9' {
				digits++
			}
			n++
		}
		switch {
		case n >= 12 || digits >= 5:
			fmt.Fprintf(&out, "(%d hidden)", n)
		case n > 0:
			out.WriteString(s[i : i+n])
		default:
			out.WriteByte(s[i])
			n = 1
		}
		i += n
	}
	return out.String()
}

func isHex(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'f' || b >= 'A' && b <= 'F'
}
