package main

import (
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"time"

	"gateline/gateway/station"
)

// top shows the lines of a box.
type top struct {
	ask      func(context.Context) (station.LinesStatus, error)
	out      io.Writer
	line     string // empty = all
	interval time.Duration
	once     bool
	json     bool
	plain    bool // no colours

	before *station.LinesStatus // of the last look
	shown  lookedAt
}

// run shows them until ctx is done, or once. An error is that of the first look;
// later a box may be restarted while somebody watches.
func (t *top) run(ctx context.Context) error {
	if err := t.look(ctx); err != nil {
		return err
	}
	switch {
	case t.json:
		e := json.NewEncoder(t.out)
		e.SetIndent("", "  ")
		return e.Encode(t.shown.status)
	case t.once || !isTerminal(t.out):
		return t.print()
	}
	return live(ctx, t.out, t.interval, t.look, t.frame)
}

// look asks the box and compares with the last look.
func (t *top) look(ctx context.Context) error {
	status, err := t.ask(ctx)
	if err != nil {
		return err
	}
	if t.line != "" {
		status.Lines = slices.DeleteFunc(status.Lines, func(l station.LineStatus) bool { return l.Name != t.line })
	}
	t.shown = compare(t.before, status)
	t.before = &status
	return nil
}

// print shows all rows, however wide they are.
func (t *top) print() error {
	var b strings.Builder
	for _, r := range t.shown.table(0) {
		b.WriteString(r.text(0, isTerminal(t.out) && !t.plain))
		b.WriteByte('\n')
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}

// frame returns one drawing. Where the box does not answer, its last rows stay.
func (t *top) frame(width, height int, answers bool) string {
	rows := t.shown.table(width)
	if !answers {
		rows[0].add(styleBad, "  and no answer since")
	}
	return drawn(rows, width, height, !t.plain, "make the window higher or give --line")
}
