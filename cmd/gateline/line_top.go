package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"gateline/gateway/station"
)

// What a terminal is told. The frames are drawn on its second screen, so that
// what stood on the first is there again afterwards.
const (
	screenEnter = "\x1b[?1049h\x1b[?25l" // the second screen, no cursor
	screenLeave = "\x1b[?25h\x1b[?1049l"
	screenHome  = "\x1b[H"
	screenRest  = "\x1b[J"   // clears what is below
	rowEnd      = "\x1b[K\n" // clears what is to the right
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
	return t.live(ctx)
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

// live draws anew after each interval until ctx is done.
func (t *top) live(ctx context.Context) (err error) {
	if _, err := io.WriteString(t.out, screenEnter); err != nil {
		return err
	}
	defer func() {
		if _, left := io.WriteString(t.out, screenLeave); err == nil {
			err = left
		}
	}()
	tick := time.NewTicker(t.interval)
	defer tick.Stop()
	answers := true
	for {
		width, height := windowSize(t.out)
		if _, err := io.WriteString(t.out, t.frame(width, height, answers)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			answers = t.look(ctx) == nil
		}
	}
}

// frame returns one drawing. It is written at once, each row over the one that
// stood there, so that nothing flickers. Where the box does not answer, its last
// rows stay.
func (t *top) frame(width, height int, answers bool) string {
	rows := t.shown.table(width)
	if !answers {
		rows[0].add(styleBad, "  and no answer since")
	}
	if more := len(rows) - (height - 1); more > 0 { // the cursor needs a row
		keep := max(height-2, 1)
		rows = append(rows[:keep:keep], row{{fmt.Sprintf("… %d more rows: make the window higher or give --line", len(rows)-keep), styleFine}})
	}
	var b strings.Builder
	b.WriteString(screenHome)
	for _, r := range rows {
		b.WriteString(r.text(width, !t.plain))
		b.WriteString(rowEnd)
	}
	b.WriteString(screenRest)
	return b.String()
}

// windowSize returns columns and rows of the terminal, 80 and 24 where it does
// not know.
func windowSize(out io.Writer) (width, height int) {
	if f, ok := out.(*os.File); ok {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 && h > 1 {
			return w, h
		}
	}
	return 80, 24
}
