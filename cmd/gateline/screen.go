package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
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

// live draws a frame, and anew after each look, until ctx is done. A look that
// fails later is no end: the other side may be restarted while somebody watches.
func live(ctx context.Context, out io.Writer, interval time.Duration, look func(context.Context) error, frame func(width, height int, answers bool) string) (err error) {
	if _, err := io.WriteString(out, screenEnter); err != nil {
		return err
	}
	defer func() {
		if _, left := io.WriteString(out, screenLeave); err == nil {
			err = left
		}
	}()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	answers := true
	for {
		width, height := windowSize(out)
		if _, err := io.WriteString(out, frame(width, height, answers)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			answers = look(ctx) == nil
		}
	}
}

// drawn returns rows as one drawing, cut to the window; hint says how to see
// those that do not fit. It is written at once, each row over the one that stood
// there, so that nothing flickers.
func drawn(rows []row, width, height int, colours bool, hint string) string {
	if more := len(rows) - (height - 1); more > 0 { // the cursor needs a row
		keep := max(height-2, 1)
		rows = append(rows[:keep:keep], row{{fmt.Sprintf("… %d more rows: %s", len(rows)-keep, hint), styleFine}})
	}
	var b strings.Builder
	b.WriteString(screenHome)
	for _, r := range rows {
		b.WriteString(r.text(width, colours))
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
