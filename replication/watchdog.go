package replication

import (
	"time"
)

// mostDead bounds the pause between two attempts to bring a link back to life
// over which nothing is heard; it begins at BoxConfig.DeadAfter and doubles.
const mostDead = 2 * time.Minute

// watchdog breaks a link that is up and over which nothing has been heard: a
// network that drops packets without a word keeps a connection alive for minutes.
// A heartbeat comes every second and every question is answered, so silence
// means that the network is dead, or that the centre has no feed; for the latter
// the pause grows.
type watchdog struct {
	since time.Time // the link came up, or was last broken
	pause time.Duration
}

// due reports whether the link, over which something was last heard at heard, is
// to be broken now.
func (w *watchdog) due(now, heard time.Time, after time.Duration) bool {
	if heard.After(w.since) {
		w.since, w.pause = heard, after
	}
	w.pause = max(w.pause, after)
	if now.Sub(w.since) < w.pause {
		return false
	}
	w.since, w.pause = now, min(2*w.pause, mostDead)
	return true
}

// breakLink closes the connection to the centre; the server makes a new one.
func (b *Box) breakLink() {
	leafs, err := b.srv.Leafz(nil)
	if err != nil {
		return // the server is going
	}
	for _, l := range leafs.Leafs {
		_ = b.srv.DisconnectClientByID(l.ID) // or it has gone by itself
	}
}
