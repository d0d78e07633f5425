package station

import (
	"slices"
	"sync/atomic"
	"time"

	"gateline/gateway"
	"gateline/replication"
)

// counts are what was answered since the box was started, by reason. Lines add,
// reports read.
type counts struct {
	answers, observed [256]atomic.Uint64
}

// hourSums are what was answered, by the hours of the box's clock. They are pure:
// counts and the time come in.
type hourSums struct {
	// hours are in ascending order, at most replication.MaxHours.
	hours []replication.Hour
	// added are the counts that are in hours already.
	added [2][256]uint64
}

// add puts what has been counted since the last call into the hour of now, and
// drops hours that are too old or, because the clock was wrong, still to come. A
// clock that steps back a little across a full hour loses nothing: its counts
// stay with the later hour.
func (h *hourSums) add(now time.Time, c *counts) {
	start := now.UTC().Truncate(time.Hour)
	h.hours = slices.DeleteFunc(h.hours, func(hour replication.Hour) bool { return hour.Start.After(start.Add(time.Hour)) })
	for _, reason := range gateway.Reasons() {
		if n := take(&h.added[0][reason], &c.answers[reason]); n > 0 {
			count(&h.hour(start).Answers, reason, n)
		}
		if n := take(&h.added[1][reason], &c.observed[reason]); n > 0 {
			count(&h.hour(start).Observed, reason, n)
		}
	}
	oldest := start.Add(-(replication.MaxHours - 1) * time.Hour)
	h.hours = slices.DeleteFunc(h.hours, func(hour replication.Hour) bool { return hour.Start.Before(oldest) })
	h.hours = h.hours[max(len(h.hours)-replication.MaxHours, 0):]
}

// take returns how much a count has grown beyond what was added.
func take(added *uint64, count *atomic.Uint64) uint64 {
	now := count.Load()
	n := now - *added
	*added = now
	return n
}

func count(in *map[string]uint64, reason gateway.Reason, n uint64) {
	if *in == nil {
		*in = make(map[string]uint64)
	}
	(*in)[reason.String()] += n
}

// hour returns the last hour, after making the one that starts so where it would
// be that.
func (h *hourSums) hour(start time.Time) *replication.Hour {
	if n := len(h.hours); n == 0 || h.hours[n-1].Start.Before(start) {
		h.hours = append(h.hours, replication.Hour{Start: start})
	}
	return &h.hours[len(h.hours)-1]
}
