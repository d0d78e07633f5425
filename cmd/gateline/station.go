package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"gateline/gateway"
	"gateline/gateway/station"
)

const defaultStationConfig = "/etc/gateline/station.toml"

func newStation(env environment) *cobra.Command {
	var config string
	c := &cobra.Command{
		Use:   "station",
		Short: "Run the box of a station",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadStation(config, env)
			if err != nil {
				return err
			}
			log := newLog(cmd.ErrOrStderr())
			return runStation(cmd.Context(), cfg, log)
		},
	}
	c.Flags().StringVar(&config, "config", defaultStationConfig, "configuration file")
	return c
}

// loadStation reads the configuration of a box. Where that names no token key or
// link file, what systemd hands over takes the place of the default.
func loadStation(path string, env environment) (station.Config, error) {
	defaults := station.DefaultConfig()
	defaults.TokenKeyFile = env.tokenKeyFile(defaults.TokenKeyFile)
	defaults.LinkFile = env.linkFile(defaults.LinkFile)
	return station.LoadConfig(path, defaults)
}

func runStation(ctx context.Context, cfg station.Config, log *slog.Logger) error {
	s, err := station.Open(ctx, cfg, station.Options{Log: log, Version: versionText(), Process: true})
	if err != nil {
		return err
	}
	position := s.Position()
	log.Info("box is up", "station", cfg.Station, "version", versionText(), "status", s.StatusAddr(),
		"feed_number", position.Number, "complete", s.Usable())
	err = errors.Join(s.Run(ctx), s.Close())
	log.Info("box stopped", "feed_number", position.Number)
	return err
}

// newLog writes one line per event; systemd's journal adds the time.
func newLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func newSwitch() *cobra.Command {
	var config, gate string
	c := &cobra.Command{
		Use:   "switch [auto|manual|open]",
		Short: "Show or work the local switch of a running box, without the centre",
		Long: "Without an argument, shows what the switches stand at. With one, switches the\n" +
			"station, or with --gate one gate: auto = decide, manual = everybody to the staff,\n" +
			"open = everybody passes. It takes effect at once and survives a restart.",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"auto", "manual", "open"},
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, control, err := controlOf(config)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				var to gateway.Switch
				if err := to.UnmarshalText([]byte(args[0])); err != nil {
					return errUsage{err}
				}
				if err := control.Set(cmd.Context(), gate, to); err != nil {
					return err
				}
			}
			state, err := control.State(cmd.Context())
			if err != nil {
				return err
			}
			printSwitches(cmd.OutOrStdout(), cfg, state)
			return nil
		},
	}
	c.Flags().StringVar(&config, "config", defaultStationConfig, "configuration file of the box")
	c.Flags().StringVar(&gate, "gate", "", "name of one gate; without it the whole station")
	return c
}

// controlOf reads the configuration of a box and returns it with the box's
// control socket.
func controlOf(config string) (station.Config, *station.Control, error) {
	cfg, err := station.LoadConfig(config, station.DefaultConfig())
	if err == nil && cfg.ControlSocket == "" {
		err = fmt.Errorf("%s has no control socket: set [control] socket and restart the box", config)
	}
	return cfg, station.NewControl(cfg.ControlSocket), err
}

func printSwitches(out io.Writer, cfg station.Config, state station.SwitchState) {
	fmt.Fprintf(out, "%-20s %s\n", cfg.Station, state.Station)
	for _, l := range cfg.Lines {
		for _, g := range l.Gates {
			fmt.Fprintf(out, "  %-18s %s\n", g.Name, state.Gates[g.Name])
		}
	}
}
