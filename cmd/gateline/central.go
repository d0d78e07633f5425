package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"gateline/central"
)

const (
	defaultCentralConfig = "/etc/gateline/central.toml"
	// serversPause is the pause between two attempts to find the centre's servers.
	serversPause = 5 * time.Second
)

func newCentral(env environment) *cobra.Command {
	var config string
	var acceptClock, verify bool
	c := &cobra.Command{
		Use:   "central",
		Short: "Run the centre",
		Long: "Runs the centre: registry, feed for the boxes, and the service that 'gateline ops'\n" +
			"and any NATS client asks. Boxes and clients of other machines have to prove who they\n" +
			"are: gateline link-key. SIGHUP makes it read the lists of both again.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			file, err := loadCentral(env, config)
			if err != nil {
				return err
			}
			cfg, err := file.Config()
			if err != nil {
				return err
			}
			cfg.Log, cfg.AcceptClock, cfg.VerifyLedger = newLog(cmd.ErrOrStderr()), acceptClock, verify
			if file.RulesFile != "" {
				cfg.Log.Info("rules of the registry", "file", rulesSaid(file, cfg.Rules, time.Now()))
			}
			return runCentral(cmd.Context(), cfg, file)
		},
	}
	c.Flags().StringVar(&config, "config", defaultCentralConfig, "configuration file")
	c.Flags().BoolVar(&acceptClock, "accept-clock", false, "the clock is right though the last entry is more than 30 days old")
	c.Flags().BoolVar(&verify, "verify", false, "compare every message of the ledger with its copy before serving, not only some")
	c.AddCommand(newCentralMove(env), newCentralRebuild(env), newCentralCompact(env), newCentralReceipt())
	return c
}

// loadCentral reads the configuration of a centre.
func loadCentral(env environment, path string) (central.FileConfig, error) {
	defaults := central.DefaultFileConfig()
	defaults.TokenKeyFile = env.tokenKeyFile(defaults.TokenKeyFile)
	defaults.FeedKeyFile = env.feedKeyFile(defaults.FeedKeyFile)
	defaults.LinkFile = env.linkFile(defaults.LinkFile)
	return central.LoadConfig(path, defaults)
}

// runCentral runs the centre that file describes until ctx is done.
func runCentral(ctx context.Context, cfg central.Config, file central.FileConfig) error {
	c, err := openCentral(ctx, cfg)
	if c == nil {
		return err
	}
	conn, err := c.Connect(nats.Name("gateline watchdog"))
	if err != nil {
		return errors.Join(err, c.Close())
	}
	running, ctx := errgroup.WithContext(ctx)
	running.Go(func() error { return c.Run(ctx) })
	running.Go(func() error { return watch(ctx, central.NewClient(conn), cfg.Log) })
	running.Go(func() error { return reload(ctx, c, file, cfg.Log) })
	err = running.Wait()
	conn.Close()
	err = errors.Join(err, c.Close())
	cfg.Log.Info("centre stopped", "feed_number", c.FeedNumber())
	return err
}

// openCentral opens the centre. Servers of the operator's that cannot serve yet are
// waited for: the centre would otherwise have to be started again by hand after a
// long cut. It returns nil and nil where ctx is done before.
func openCentral(ctx context.Context, cfg central.Config) (*central.Central, error) {
	for {
		c, err := central.Open(cfg)
		if !errors.Is(err, central.ErrServers) {
			return c, err
		}
		cfg.Log.Warn("the centre waits for its servers", "error", err)
		if !pause(ctx, serversPause) {
			return nil, nil
		}
	}
}

// reload reads the lists of stations and clients again at each SIGHUP, until ctx is
// done. A list that cannot be read changes nothing.
func reload(ctx context.Context, c *central.Central, file central.FileConfig, log *slog.Logger) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangup:
		}
		if !file.AsksBoxes() && !file.AsksClients() {
			log.Info("reload: no box or client connects to this process, or none is asked who it is, so there is no list of stations to read, nor one of clients")
			continue
		}
		if file.AsksBoxes() {
			reread(log, "stations", file.Stations, c.SetStations)
		}
		if file.AsksClients() {
			reread(log, "clients", file.Clients, c.SetClients)
		}
	}
}

// reread reads one list again.
func reread[T any](log *slog.Logger, what string, read func() ([]T, error), set func([]T) error) {
	list, err := read()
	if err == nil {
		err = set(list)
	}
	if err != nil {
		log.Error("reload failed; the "+what+" of before may connect, correct the list and reload again", "error", err)
		return
	}
	log.Info("list of "+what+" read again", what, len(list))
}

// watch tells systemd that the centre is ready, once it answers, and then,
// where the unit asks for it, that it is alive: the registry must answer each
// time. It returns nil when ctx is done.
func watch(ctx context.Context, client *central.Client, log *slog.Logger) error {
	defer func() { _, _ = daemon.SdNotify(false, daemon.SdNotifyStopping) }() // nobody is left to tell
	for ctx.Err() == nil {
		stats, number, err := client.Stats(ctx)
		if err == nil {
			log.Info("centre is up", "version", versionText(), "feed_number", number, "credentials", stats.Credentials, "persons", stats.Persons)
			break
		}
		// The ledger is still being read; the pause keeps a refusal that comes
		// at once from being asked for again and again.
		pause(ctx, time.Second)
	}
	if ctx.Err() != nil {
		return nil
	}
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		log.Warn("systemd cannot be told that the centre is ready; check NotifyAccess= of its unit", "error", err)
	}
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		<-ctx.Done()
		return nil
	}
	for pause(ctx, every/3) {
		if err := feedWatchdog(ctx, client, every/3); err != nil && ctx.Err() == nil {
			log.Error("the watchdog was not fed; systemd will restart the centre", "error", err)
		}
	}
	return nil
}

func feedWatchdog(ctx context.Context, client *central.Client, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if _, _, err := client.Stats(ctx); err != nil {
		return fmt.Errorf("the registry does not answer: %w", err)
	}
	_, err := daemon.SdNotify(false, daemon.SdNotifyWatchdog)
	return err
}

// pause waits; it reports false where ctx is done.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
