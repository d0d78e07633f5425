package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gateline/gateway/station"
)

func newLine(env environment) *cobra.Command {
	return group("line", "Look at the lines of a running box", newLineTop(env))
}

// Bounds of the time between two looks.
const (
	leastInterval = 100 * time.Millisecond
	mostInterval  = time.Minute
)

func newLineTop(env environment) *cobra.Command {
	t := top{plain: env.plain}
	var config string
	c := &cobra.Command{
		Use:   "top",
		Short: "Show how lines and gates of a running box are, live",
		Long: "Shows every line and gate of the running box, anew each interval, until Ctrl-C.\n" +
			"Rates are those between two looks; at first, and where the box was restarted,\n" +
			"those since its start.\n\n" +
			"RTT is the running mean from the first byte of a question to the last of its\n" +
			"answer. MISSED and DAMAGED are the share of questions without an answer in time\n" +
			"and with one that was damaged. The load counts the bytes in both directions.\n\n" +
			"Where the output is no terminal, shows them once.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if t.interval < leastInterval || t.interval > mostInterval {
				return errUsage{fmt.Errorf("--interval %v is not between %v and %v", t.interval, leastInterval, mostInterval)}
			}
			cfg, control, err := controlOf(config)
			if err != nil {
				return err
			}
			if err := hasLine(cfg, t.line); err != nil {
				return errUsage{err}
			}
			t.ask, t.out = control.Lines, cmd.OutOrStdout()
			return t.run(cmd.Context())
		},
	}
	c.Flags().StringVar(&config, "config", defaultStationConfig, "configuration file of the box")
	c.Flags().StringVar(&t.line, "line", "", "name of one line; without it all of them")
	c.Flags().DurationVar(&t.interval, "interval", time.Second, "time between two looks")
	c.Flags().BoolVar(&t.once, "once", false, "show it once")
	c.Flags().BoolVar(&t.json, "json", false, "print it once, as JSON with all counts since the box's start")
	return c
}

// hasLine refuses the name of a line that is not there; empty stands for all.
func hasLine(cfg station.Config, name string) error {
	var names []string
	for _, l := range cfg.Lines {
		names = append(names, l.Name)
	}
	if name != "" && !slices.Contains(names, name) {
		return fmt.Errorf("there is no line %.40q: the configuration has %s", name, strings.Join(names, ", "))
	}
	return nil
}
