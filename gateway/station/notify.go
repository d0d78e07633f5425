package station

import (
	"context"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notify tells systemd that the box is ready and, where the unit asks for it,
// that it is alive, which is that lookups are answered. A disk that failed is
// no reason to be restarted: a box answers from memory, and one that cannot
// open its store answers nobody. Without systemd it only waits.
func (s *Station) notify(ctx context.Context) error {
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		s.log.Warn("systemd cannot be told that the box is ready", "error", err)
	}
	defer func() { _, _ = daemon.SdNotify(false, daemon.SdNotifyStopping) }() // nobody is left to tell
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	tick := time.NewTicker(every / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if err := s.storeFault(); err != nil {
				s.log.Error("the store does not answer; systemd will restart the box", "error", err)
				continue
			}
			if _, err := daemon.SdNotify(false, daemon.SdNotifyWatchdog); err != nil {
				s.log.Warn("systemd's watchdog cannot be told", "error", err)
			}
		}
	}
}
