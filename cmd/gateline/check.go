package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"gateline/gateway/station"
)

func newCheck(env environment) *cobra.Command {
	var config, centre string
	c := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration of a box or a centre and what it names, without starting it",
		Long: "Reads the configuration and tries everything it names: keys, store, lines,\n" +
			"addresses, centre, clock. One line for each, all at once. It may be run beside\n" +
			"the running box; what that holds is a note. Run it as the box's user.\n\n" +
			"With --central it checks the configuration of a centre and the files that it names:\n" +
			"keys, lists, and the rules of the registry.\n\n" +
			"Exit status 1 where anything is a fault.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			if centre != "" {
				if cmd.Flags().Changed("config") {
					return errOneOf
				}
				return checkCentral(out, env, centre)
			}
			cfg, err := loadStation(config, env)
			if err != nil {
				return printFindings(out, faultsOf(err))
			}
			found := []station.Finding{{Level: station.LevelOK, Thing: "configuration", Text: config}}
			return printFindings(out, append(found, station.Check(cmd.Context(), cfg)...))
		},
	}
	c.Flags().StringVar(&config, "config", defaultStationConfig, "configuration file of a box")
	c.Flags().StringVar(&centre, "central", "", "configuration file of a centre, to be checked instead")
	return c
}

// faultsOf makes one finding of every line of a configuration's error.
func faultsOf(err error) (all []station.Finding) {
	for line := range strings.Lines(err.Error()) {
		all = append(all, station.Finding{Level: station.LevelFault, Thing: "configuration", Text: strings.TrimSpace(line)})
	}
	return all
}

// printFindings prints one line for each thing and what they come to.
func printFindings(out io.Writer, all []station.Finding) error {
	width, count := 0, map[station.Level]int{}
	for _, f := range all {
		width = max(width, len(f.Thing))
		count[f.Level]++
	}
	for _, f := range all {
		fmt.Fprintf(out, "%-5s  %-*s  %s\n", f.Level, width, f.Thing, strings.Join(strings.Fields(f.Text), " "))
	}
	faults, notes := count[station.LevelFault], count[station.LevelNote]
	fmt.Fprintf(out, "%s, %s\n", counted(faults, "fault"), counted(notes, "note"))
	if faults > 0 {
		return errReported
	}
	return nil
}

// counted returns "1 fault", "2 faults".
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
