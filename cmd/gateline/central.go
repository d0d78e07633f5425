package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"gateline/central"
)

const defaultCentralConfig = "/etc/gateline/central.toml"

func newCentral(env environment) *cobra.Command {
	var config string
	var acceptClock bool
	c := &cobra.Command{
		Use:   "central",
		Short: "Run the centre",
		Long: "Runs the centre: registry, feed for the boxes, and the service that 'gateline ops'\n" +
			"and any NATS client asks. Nobody is asked who he is yet: keep both listeners on\n" +
			"a closed network.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			defaults := central.DefaultFileConfig()
			defaults.TokenKeyFile = env.tokenKeyFile(defaults.TokenKeyFile)
			defaults.FeedKeyFile = env.feedKeyFile(defaults.FeedKeyFile)
			file, err := central.LoadConfig(config, defaults)
			if err != nil {
				return err
			}
			cfg, err := file.Config()
			if err != nil {
				return err
			}
			cfg.Log, cfg.AcceptClock = newLog(cmd.ErrOrStderr()), acceptClock
			return runCentral(cmd.Context(), cfg)
		},
	}
	c.Flags().StringVar(&config, "config", defaultCentralConfig, "configuration file")
	c.Flags().BoolVar(&acceptClock, "accept-clock", false, "the clock is right though the last entry is more than 30 days old")
	return c
}

// runCentral runs the centre until ctx is done.
func runCentral(ctx context.Context, cfg central.Config) error {
	for _, address := range []string{cfg.ClientListen, cfg.LeafListen} {
		if address != "" && !onLoopback(address) {
			cfg.Log.Warn("a listener takes connections from other machines and asks nobody who he is; see that its network is closed", "address", address)
		}
	}
	c, err := central.Open(cfg)
	if err != nil {
		return err
	}
	conn, err := c.Connect(nats.Name("gateline watchdog"))
	if err != nil {
		return errors.Join(err, c.Close())
	}
	running, ctx := errgroup.WithContext(ctx)
	running.Go(func() error { return c.Run(ctx) })
	running.Go(func() error { return watch(ctx, central.NewClient(conn), cfg.Log) })
	err = running.Wait()
	conn.Close()
	err = errors.Join(err, c.Close())
	cfg.Log.Info("centre stopped", "feed_number", c.FeedNumber())
	return err
}

// onLoopback reports whether a listen address is reached from this machine
// only.
func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
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
