package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gateline/central"
	"gateline/gateway"
)

func newStationMode(o *ops) *cobra.Command {
	var from string
	var yes bool
	modes := []string{"off", "observe", "advisory", "enforce", central.ModeDefault}
	c := &cobra.Command{
		Use:   "mode STATION MODE",
		Short: "Set the mode of one station",
		Long: "Sets the mode of one station: off, observe, advisory, enforce, or default, which\n" +
			"takes the station's own mode away. Without --from it takes effect at once, in every\n" +
			"document of the schedule; with it, in those in force from that instant on.\n\n" +
			"Asks for the station's name to be typed. A script says --yes.",
		Example: "  gateline ops station mode xidan observe --from '2022-06-06 04:00'",
		Args:    cobra.ExactArgs(2),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return modes, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: o.run(func(cmd *cobra.Command, args []string) (answer, error) {
			name, mode := args[0], args[1]
			if !slices.Contains(modes, mode) {
				return answer{}, errUsage{fmt.Errorf("mode %.40q is not one of %s", mode, strings.Join(modes, ", "))}
			}
			at, when := time.Time{}, "now"
			if from != "" {
				var err error
				if at, err = parseInstant(from); err != nil {
					return answer{}, err
				}
				when = instant(at)
			}
			if err := confirm(cmd, yes, modeMeans(name, mode, when), name); err != nil {
				return answer{}, err
			}
			return o.stationMode(cmd, name, mode, at, when)
		}),
	}
	c.Flags().StringVar(&from, "from", "", "instant from which it holds; without a zone in Asia/Shanghai (default now)")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask for a confirmation")
	return c
}

// modeMeans says what is to be confirmed.
func modeMeans(station, mode, when string) string {
	switch mode {
	case gateway.ModeEnforce.String():
		return fmt.Sprintf("From %s station %.70q refuses riders: mode %s", when, station, mode)
	case central.ModeDefault:
		return fmt.Sprintf("From %s station %.70q has no mode of its own any more, but that of the policy", when, station)
	}
	return fmt.Sprintf("From %s everybody passes at station %.70q: mode %s", when, station, mode)
}

// stationMode asks for the mode. The centre has no list of stations, so a name
// that no document has had yet may be a slip: it says so.
func (o *ops) stationMode(cmd *cobra.Command, name, mode string, at time.Time, when string) (answer, error) {
	known := false
	a, err := o.command(cmd, func(ctx context.Context, c *central.Client) (central.Done, error) {
		s, err := c.Policy(ctx)
		if err != nil {
			return central.Done{}, err
		}
		known = slices.ContainsFunc(s.Policies, func(p gateway.Policy) bool { _, is := p.Stations[name]; return is })
		return c.StationMode(ctx, name, mode, at)
	})
	if err != nil {
		return a, err
	}
	a.say("set: station %s is on %s from %s", "nothing to do: station %s is on %s already, from %s", name, mode, when)
	if !known {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: no document has named station %s before; see that it is spelled as in the box's configuration\n", name)
	}
	return a, nil
}
