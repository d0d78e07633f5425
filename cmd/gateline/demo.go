package main

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"gateline/gateway"
	"gateline/simulator"
)

func newDemo() *cobra.Command {
	var seed uint64
	cards := 100_000
	c := &cobra.Command{
		Use:   "demo",
		Short: "See the main job in half a minute: one station, its gates and the centre, all on this machine",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if seed == 0 {
				seed = rand.Uint64N(1_000_000) + 1
			}
			return demo(cmd, cards, seed)
		},
	}
	c.Flags().Uint64Var(&seed, "seed", 0, "seed of the run; 0 draws one")
	return c
}

func demo(cmd *cobra.Command, cards int, seed uint64) error {
	out := cmd.OutOrStdout()
	stage := &stage{out: out, terminal: isTerminal(out), bar: newBar(out, true)}
	stage.Say(fmt.Sprintf("Gateline demo, seed %d", seed))
	report, err := simulator.Demo(cmd.Context(), simulator.DemoConfig{Cards: cards, Seed: seed, Log: slog.New(slog.DiscardHandler), Show: stage})
	stage.end()
	if err != nil {
		return err
	}
	printDemo(out, report)
	if !report.OK() {
		return errReported
	}
	return nil
}

// stage shows the demo: on a terminal a panel that is redrawn below what was
// said, elsewhere a line every few seconds.
type stage struct {
	out      io.Writer
	terminal bool
	bar      *bar

	mu    sync.Mutex // guards what follows
	panel int        // lines of the panel on the screen
	last  time.Time  // of the last plain line
}

// Progress implements simulator.Show.
func (s *stage) Progress(done, total int) { s.bar.show("load", done, total) }

// Say implements simulator.Show.
func (s *stage) Say(line string) {
	s.bar.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	fmt.Fprintln(s.out, line)
}

// Live implements simulator.Show.
func (s *stage) Live(v simulator.Snapshot) {
	s.bar.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	link := "link up"
	if !v.LinkUp {
		link = "LINK CUT"
	}
	counts := fmt.Sprintf("%d taps: %d pass, %d refuse, %d manual lane", v.Taps,
		v.Verdicts[gateway.VerdictPass], v.Verdicts[gateway.VerdictRefuse], v.Verdicts[gateway.VerdictManual])
	gates, readers := v.Latency.Seconds()*1e3, v.ReaderLatency.Seconds()*1e3
	if !s.terminal {
		if time.Since(s.last) >= lineEvery {
			s.last = time.Now()
			fmt.Fprintf(s.out, "[%4.1f s] %s; gates %.1f ms, readers %.1f ms%s; %s, box %d of %d\n",
				v.Elapsed.Seconds(), counts, gates, readers, darkText(v.Readers), link, v.Box, v.Centre)
		}
		return
	}
	s.clear()
	feed := paint(green, link)
	if !v.LinkUp {
		feed = paint(red, link)
	}
	fmt.Fprintf(s.out, "\n  gates   %s %6.1f ms own lines\n  readers %s %6.1f ms one line\n  taps    %s\n  feed    %s  box #%d, centre #%d  %s\n",
		gatesText(1, v.Gates), gates, gatesText(1+len(v.Gates), v.Readers), readers, counts, feed, v.Box, v.Centre, behindText(v))
	s.panel = 5
}

// darkText tells how many readers have no power.
func darkText(readers []simulator.GateView) string {
	n := 0
	for _, r := range readers {
		if r.Dark {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d dark)", n)
}

func behindText(v simulator.Snapshot) string {
	if v.Centre <= v.Box+1 {
		return ""
	}
	return paint(yellow, fmt.Sprintf("%d behind %s", v.Centre-v.Box, strings.Repeat("▪", min(16, 1+int(v.Centre-v.Box)/16))))
}

// gatesText shows gates, numbered from first on.
func gatesText(first int, gates []simulator.GateView) string {
	var b strings.Builder
	for i, g := range gates {
		mark := paint(grey, "·")
		switch {
		case g.Dark:
			mark = paint(grey, "○")
		case !g.Any:
		case g.Last == gateway.VerdictPass:
			mark = paint(green, "✓")
		case g.Last == gateway.VerdictRefuse:
			mark = paint(red, "✗")
		default:
			mark = paint(yellow, "→")
		}
		fmt.Fprintf(&b, "%2d[%s] ", first+i, mark)
	}
	return b.String()
}

// clear removes the panel; the caller holds mu.
func (s *stage) clear() {
	if s.panel > 0 {
		fmt.Fprintf(s.out, "\x1b[%dA\x1b[J", s.panel)
		s.panel = 0
	}
}

func (s *stage) end() {
	s.bar.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
}

// Colours of a terminal.
const (
	red    = 31
	green  = 32
	yellow = 33
	grey   = 90
)

func paint(colour int, text string) string { return fmt.Sprintf("\x1b[%dm%s\x1b[0m", colour, text) }

func printDemo(out io.Writer, r *simulator.DemoReport) {
	equal := "equal the centre's"
	if !r.Equal {
		equal = "DIFFER from the centre's"
	}
	fmt.Fprintf(out, "\nReport after %.0f s\n", r.Elapsed.Seconds())
	fmt.Fprintf(out, "  %d riders tapped at %d gates and %d readers: %d answered, %d lost%s; %d answers wrong, judged by a model\n  that knows nothing of the box.\n",
		r.Taps, r.Gates, r.Readers, r.Answered, r.Lost, abandonedText(r.Abandoned), r.Wrong)
	fmt.Fprintf(out, "  %d passed, %d were refused, %d were sent to the staff.\n", r.Verdicts["pass"], r.Verdicts["refuse"], r.Verdicts["manual"])
	fmt.Fprintf(out, "  At a gate an answer took %.2f ms at the median, from the gate's last byte to the last of the verdict; %.2f ms of that is the wire\n  at %d baud, %.3f ms the box.\n",
		r.LatencyUS.P50/1e3, r.WireUS/1e3, r.Baud, r.DecisionUS.P50/1e3)
	fmt.Fprintf(out, "  At the %d readers of one line it took %.1f ms at the median, 99 of 100 within %.1f ms, card to first sign.\n",
		r.Readers, r.ReaderUS.P50/1e3, r.ReaderUS.P99/1e3)
	fmt.Fprintf(out, "  With reader %d dark its neighbours took %.1f ms (%.1f before); back, it served %d ms after its first answer.\n",
		r.Outage.Gate, r.Outage.Meanwhile.Seconds()*1e3, r.Outage.Before.Seconds()*1e3, r.Outage.Back.Milliseconds())
	fmt.Fprintf(out, "  A change at the centre counted at the gate %.1f ms later (median; 99 of 100 within %.1f ms).\n", r.PropagationMS.P50, r.PropagationMS.P99)
	fmt.Fprintf(out, "  With the link cut for %.0f s, %d taps were answered all the same; then %d entries with %d changed records came in %.1f s.\n",
		r.CutFor.Seconds(), r.CutTaps, r.CaughtUp.Entries, r.CaughtUp.Records, r.CaughtUp.Seconds)
	fmt.Fprintf(out, "  At the end the box's %d records %s.\n", r.Records, equal)
	for _, s := range r.Surprises {
		fmt.Fprintf(out, "  NOT AS TOLD: %s\n", s)
	}
	if r.OK() {
		fmt.Fprintln(out, "Every answer was right.")
		return
	}
	fmt.Fprintf(out, "SOMETHING WAS WRONG; repeat it with --seed %d.\n", r.Seed)
}
