package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"gateline/drivers"
	"gateline/gateway"
	"gateline/gateway/station"
)

// style is how a part of a row is shown on a terminal with colours: the
// parameter of its escape sequence.
type style string

const (
	styleNone style = ""
	styleHead style = "1" // bold
	styleFine style = "2" // faint
	styleWell style = "32"
	styleSoon style = "33"
	styleBad  style = "31"
)

// row is one row on the screen.
type row []part

type part struct {
	text  string
	style style
}

func (r *row) add(s style, format string, args ...any) {
	*r = append(*r, part{fmt.Sprintf(format, args...), s})
}

// text returns the row, cut to width columns where width is not 0.
func (r row) text(width int, colours bool) string {
	var b strings.Builder
	room := width
	for _, p := range r {
		text := p.text
		if n := utf8.RuneCountInString(text); width > 0 && n > room {
			text = cut(text, room)
		}
		if width > 0 {
			room -= utf8.RuneCountInString(text)
		}
		if colours && p.style != styleNone && text != "" {
			text = "\x1b[" + string(p.style) + "m" + text + "\x1b[0m"
		}
		b.WriteString(text)
		if width > 0 && room == 0 {
			break
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// cut shortens a text to n columns, which the last of them shows.
func cut(text string, n int) string {
	if n <= 0 {
		return ""
	}
	return string([]rune(text)[:n-1]) + "…"
}

const (
	// leastName is what a gate's name is never cut below; at 80 columns there is
	// room for 17.
	leastName = 4
	// gateColumns is the width of a gate's row without its name.
	gateColumns = 63
	// worthALook is the share of missed or damaged answers that catches the eye.
	worthALook = 0.05
)

// table returns the rows that show a look, for a window of width columns; 0 =
// as wide as it gets.
func (l *lookedAt) table(width int) []row {
	var head row
	head.add(styleHead, "%s", l.status.Station)
	head.add(styleNone, "  up %s  %s", ago(time.Duration(l.status.UptimeUS)*time.Microsecond), l.status.At.In(gateway.Zone).Format(time.TimeOnly))
	if l.sinceStart {
		head.add(styleFine, "  rates since the box's start")
	} else {
		head.add(styleFine, "  rates of the last %.1f s", l.span.Seconds())
	}
	rows := []row{head}
	name := leastName
	for i := range l.status.Lines {
		for k := range l.status.Lines[i].Gates {
			name = max(name, len(l.status.Lines[i].Gates[k].Name))
		}
	}
	if width > 0 {
		name = max(min(name, width-gateColumns), leastName)
	}
	for i := range l.status.Lines {
		rows = append(rows, nil)
		rows = append(rows, lineRows(&l.status.Lines[i], &l.lines[i], l.status.At, name)...)
	}
	return rows
}

func lineRows(l *station.LineStatus, r *lineRates, now time.Time, name int) []row {
	var head row
	head.add(styleHead, "%s", l.Name)
	if l.Up {
		head.add(styleWell, "  up")
	} else {
		head.add(styleBad, "  down")
	}
	head.add(styleNone, "  %s %d baud  load %.0f%%  in %s  out %s  %s", l.Protocol, l.Baud, 100*r.load, bytesPerSecond(r.in), bytesPerSecond(r.out), l.Port)
	rows := []row{head}
	if len(r.errors) > 0 {
		var kinds []string
		for _, e := range r.errors {
			kinds = append(kinds, fmt.Sprintf("%s %d", e.kind, e.n))
		}
		rows = append(rows, row{{"  errors: " + strings.Join(kinds, ", "), styleSoon}})
	}
	rows = append(rows, row{{fmt.Sprintf("  %-*s ADDR STATE    RTT ms  POLL/s    TAPS  MISSED DAMAGED   HEARD", name, "GATE"), styleFine}})
	for i := range l.Gates {
		g := &l.Gates[i]
		rows = append(rows, gateRow(g, &r.gates[i], now, name))
		if !l.Up {
			continue // what the gates lack is their line
		}
		for _, step := range g.Advice() {
			rows = append(rows, row{{"    ! " + step, styleSoon}})
		}
	}
	return rows
}

func gateRow(g *station.GateStatus, r *gateRates, now time.Time, name int) (text row) {
	shown := g.Name
	if len(shown) > name {
		shown = cut(shown, name)
	}
	text.add(styleNone, "  %-*s %4d ", name, shown, g.Address)
	s := styleBad
	switch g.State {
	case drivers.GateServing.String():
		s = styleWell
	case drivers.GateStarting.String():
		s = styleSoon
	}
	text.add(s, "%-8s", g.State)
	roundTrip, polls := "–", "–"
	if g.RoundTripUS > 0 {
		roundTrip = fmt.Sprintf("%.1f", float64(g.RoundTripUS)/1000)
	}
	if g.Asked > 0 {
		polls = fmt.Sprintf("%.1f", r.polls)
	}
	text.add(styleNone, " %6s %7s %7d", roundTrip, polls, g.Taps)
	for _, s := range []float64{r.missed, r.damaged} {
		look := styleNone
		if s >= worthALook {
			look = styleSoon
		}
		if r.asked == 0 {
			text.add(styleNone, " %7s", "–")
		} else {
			text.add(look, " %6.1f%%", 100*s)
		}
	}
	heard := "never"
	if g.Heard != nil {
		heard = ago(max(now.Sub(*g.Heard), 0))
	}
	text.add(styleNone, " %7s", heard)
	return text
}

// bytesPerSecond returns a rate as a person reads it.
func bytesPerSecond(rate float64) string {
	if rate < 1000 {
		return fmt.Sprintf("%.0f B/s", rate)
	}
	return fmt.Sprintf("%.1f kB/s", rate/1000)
}

// ago returns a time as a person reads it, in at most 7 columns for 11 years.
func ago(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d/time.Second))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d/time.Minute), int(d%time.Minute/time.Second))
	case d < day:
		return fmt.Sprintf("%dh%02dm", int(d/time.Hour), int(d%time.Hour/time.Minute))
	}
	return fmt.Sprintf("%dd%dh", int(d/day), int(d%day/time.Hour))
}
