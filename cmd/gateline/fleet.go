package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gateline/central"
	"gateline/central/fleet"
	"gateline/gateway"
)

// fleetView shows the stations of a city.
type fleetView struct {
	ops      *ops
	watch    bool
	interval time.Duration
	shown    central.FleetPage
}

func newFleet(env environment) *cobra.Command {
	v := &fleetView{ops: &ops{env: env}}
	c := &cobra.Command{
		Use:   "fleet",
		Short: "Show how all stations are",
		Long: "Shows every station that has ever reported to the centre, those that need somebody\n" +
			"first, and why. Exits with 1 where one does, so that a script can tell.\n\n" +
			"  disagrees  what it has applied is not what the centre has published\n" +
			"  silent     no report for 30 s\n" +
			"  stale      its data are older than fresh_limit: it refuses nobody\n" +
			"  loading    it has not got everything yet: every rider to the manual lane\n" +
			"  faulty     its clock is not trusted, its disk failed, or it has no policy\n" +
			"  behind     more than 100 entries or 30 s behind the centre\n" +
			"  expected   not heard since the centre was started, half a minute ago at most\n" +
			"  ok         none of these\n\n" +
			"HEARD is when it last reported. As of then are BEHIND, in entries of the feed, AGE,\n" +
			"how old its data were, and GATES, those in service of all.",
		Args: cobra.NoArgs,
		RunE: v.run,
	}
	v.ops.flags(c)
	c.Flags().BoolVar(&v.watch, "watch", false, "show it anew each interval, until Ctrl-C")
	c.Flags().DurationVar(&v.interval, "interval", 2*time.Second, "time between two looks")
	c.AddCommand(newFleetShow(v.ops), newFleetForget(v.ops), newFleetReceipts(v.ops))
	return c
}

func (v *fleetView) run(cmd *cobra.Command, args []string) error {
	if v.interval < leastInterval || v.interval > mostInterval {
		return errUsage{fmt.Errorf("--interval %v is not between %v and %v", v.interval, leastInterval, mostInterval)}
	}
	out := cmd.OutOrStdout()
	look := func(context.Context) error { return v.look(cmd) }
	if v.watch && !v.ops.json && isTerminal(out) {
		if err := look(cmd.Context()); err != nil {
			return err
		}
		return live(cmd.Context(), out, v.interval, look, v.frame)
	}
	show := v.ops.run(func(cmd *cobra.Command, _ []string) (answer, error) {
		if err := look(cmd.Context()); err != nil {
			return answer{}, err
		}
		return answer{Fleet: &v.shown, text: v.text(out)}, nil
	})
	if err := show(cmd, args); err != nil {
		return err
	}
	if slices.ContainsFunc(v.shown.Stations, func(r fleet.Row) bool { return r.State.Alarming() }) {
		return errReported
	}
	return nil
}

// look asks the centre.
func (v *fleetView) look(cmd *cobra.Command) error {
	return v.ops.ask(cmd, askLimit, func(ctx context.Context, c *central.Client) error {
		page, err := c.Fleet(ctx)
		if err != nil {
			return err
		}
		slices.SortFunc(page.Stations, fleet.Worst)
		v.shown = page
		return nil
	})
}

// text returns all rows, however wide they are.
func (v *fleetView) text(out io.Writer) string {
	return textOf(fleetRows(&v.shown, 0), isTerminal(out) && !v.ops.env.plain)
}

func textOf(rows []row, colours bool) string {
	var b strings.Builder
	for _, r := range rows {
		b.WriteString(r.text(0, colours) + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (v *fleetView) frame(width, height int, answers bool) string {
	rows := fleetRows(&v.shown, width)
	if !answers {
		rows[0] = slices.Insert(rows[0], 1, part{"  no answer any more", styleBad}) // where it is not cut off
	}
	return drawn(rows, width, height, !v.ops.env.plain, "make the window higher; the worst are above")
}

func newFleetShow(o *ops) *cobra.Command {
	return &cobra.Command{
		Use:   "show STATION",
		Short: "Show one station, and what it answered in the last 48 hours",
		Args:  oneStation,
		RunE: o.run(func(cmd *cobra.Command, args []string) (answer, error) {
			var a answer
			err := o.ask(cmd, askLimit, func(ctx context.Context, c *central.Client) (err error) {
				a.Station, err = c.FleetStation(ctx, args[0])
				return err
			})
			if err == nil {
				out := cmd.OutOrStdout()
				a.text = textOf(stationRows(a.Station), isTerminal(out) && !o.env.plain)
			}
			return a, err
		}),
	}
}

func newFleetForget(o *ops) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "forget STATION",
		Short: "Take a station that is no more off the list",
		Long: "Takes a station off the list, with what it has reported. The box itself is left\n" +
			"alone: one that still runs is there again with its next report. Asks to be confirmed.",
		Args: oneStation,
		RunE: o.run(func(cmd *cobra.Command, args []string) (answer, error) {
			if err := confirm(cmd, yes, "The centre forgets what station "+args[0]+" has reported", args[0]); err != nil {
				return answer{}, err
			}
			var a answer
			err := o.ask(cmd, askLimit, func(ctx context.Context, c *central.Client) error {
				done, err := c.ForgetStation(ctx, args[0])
				a.Changed = done.Changed
				return err
			})
			a.text = "forgotten: " + args[0]
			return a, err
		}),
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask for a confirmation")
	return c
}

// oneStation takes one argument, the name of a station.
func oneStation(cmd *cobra.Command, args []string) error {
	if err := cobra.ExactArgs(1)(cmd, args); err != nil {
		return err
	}
	if err := gateway.ValidStation(args[0]); err != nil {
		return errors.Join(fmt.Errorf("%.70q is not a station", args[0]), err)
	}
	return nil
}
