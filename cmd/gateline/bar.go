package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

const (
	barWidth = 40
	// barEvery spaces the redrawing on a terminal, lineEvery the lines
	// elsewhere.
	barEvery  = 100 * time.Millisecond
	lineEvery = 3 * time.Second
)

// bar shows how far a phase is: a bar on a terminal, a line every few seconds
// elsewhere.
type bar struct {
	out      io.Writer
	terminal bool
	every    time.Duration

	mu    sync.Mutex // guards what follows
	phase string
	drawn time.Time
	open  bool // the cursor stands behind a bar
}

func newBar(out io.Writer, wanted bool) *bar {
	b := &bar{out: out, terminal: isTerminal(out), every: lineEvery}
	if b.terminal {
		b.every = barEvery
	}
	if !wanted {
		b.every = time.Hour
	}
	return b
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// show may be called by several goroutines at once, as often as they like.
func (b *bar) show(phase string, done, total int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if last := done >= total; phase == b.phase && now.Sub(b.drawn) < b.every && !(last && b.terminal) {
		return
	}
	if phase != b.phase {
		b.finish()
	}
	b.phase, b.drawn = phase, now
	percent := 100 * done / max(total, 1)
	if !b.terminal {
		fmt.Fprintf(b.out, "%s %d/%d (%d%%)\n", phase, done, total, percent)
		return
	}
	full := barWidth * done / max(total, 1)
	fmt.Fprintf(b.out, "\r%-6s [%s%s] %3d%%  %d/%d ", phase, strings.Repeat("█", full), strings.Repeat("·", barWidth-full), percent, done, total)
	b.open = true
}

func (b *bar) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.finish()
}

// finish ends a bar's line; the caller holds mu.
func (b *bar) finish() {
	if b.open {
		fmt.Fprintln(b.out)
		b.open = false
	}
}
