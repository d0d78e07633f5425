package main

import (
	"maps"
	"slices"
	"time"

	"gateline/gateway/station"
)

// bitsPerByte on the wire: start bit, 8 data bits, stop bit.
const bitsPerByte = 10

// lookedAt is what a look at a box shows beside the look before.
type lookedAt struct {
	status station.LinesStatus
	// span is the time that rates and errors are of: that since the look before,
	// or since the box's start.
	span       time.Duration
	sinceStart bool
	lines      []lineRates // as status.Lines
}

// lineRates is what happened on a line in the span.
type lineRates struct {
	in, out float64 // bytes a second
	// load is the share of the line's time that bytes took.
	load   float64
	errors []errorCount // those that there were, by kind
	gates  []gateRates
}

type errorCount struct {
	kind string
	n    uint64
}

// gateRates is what happened at a gate in the span.
type gateRates struct {
	asked   uint64
	polls   float64 // questions a second
	missed  float64 // share of the questions without an answer in time
	damaged float64 // share of those with a damaged one
}

// compare returns what happened between two looks; before is nil at the first.
// A box that was started anew in between has counted from 0, and so all that it
// has counted is of the time since.
func compare(before *station.LinesStatus, now station.LinesStatus) lookedAt {
	uptime := time.Duration(now.UptimeUS) * time.Microsecond
	l := lookedAt{status: now, span: uptime, sinceStart: true}
	var old station.LinesStatus
	if before != nil && before.Started.Equal(now.Started) && before.UptimeUS < now.UptimeUS {
		old = *before
		l.span, l.sinceStart = uptime-time.Duration(old.UptimeUS)*time.Microsecond, false
	}
	for i := range now.Lines {
		l.lines = append(l.lines, compareLine(at(old.Lines, i), &now.Lines[i], l.span))
	}
	return l
}

// at returns an element of a list, or the zero value where there is none: what
// a box has counted before it was there.
func at[T any](list []T, i int) (v T) {
	if i < len(list) {
		v = list[i]
	}
	return v
}

func compareLine(before station.LineStatus, now *station.LineStatus, span time.Duration) lineRates {
	r := lineRates{in: perSecond(now.BytesIn, before.BytesIn, span), out: perSecond(now.BytesOut, before.BytesOut, span)}
	if now.Baud > 0 {
		r.load = (r.in + r.out) * bitsPerByte / float64(now.Baud)
	}
	for _, kind := range slices.Sorted(maps.Keys(now.Errors)) {
		if n := grown(now.Errors[kind], before.Errors[kind]); n > 0 {
			r.errors = append(r.errors, errorCount{kind, n})
		}
	}
	for i := range now.Gates {
		g, old := &now.Gates[i], at(before.Gates, i)
		asked := grown(g.Asked, old.Asked)
		r.gates = append(r.gates, gateRates{
			asked: asked, polls: perSecond(g.Asked, old.Asked, span),
			missed: share(grown(g.Missed, old.Missed), asked), damaged: share(grown(g.Damaged, old.Damaged), asked),
		})
	}
	return r
}

// grown returns by how much a count grew; one that fell did not.
func grown(now, before uint64) uint64 {
	if now < before {
		return 0
	}
	return now - before
}

func perSecond(now, before uint64, span time.Duration) float64 {
	if span <= 0 {
		return 0
	}
	return float64(grown(now, before)) / span.Seconds()
}

// share returns part of whole, at most 1: an answer may be missed in the span
// after that of its question.
func share(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return min(float64(part)/float64(whole), 1)
}
