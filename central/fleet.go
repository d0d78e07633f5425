package central

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"gateline/central/fleet"
	"gateline/gateway"
	"gateline/replication"
)

const (
	// lookEvery is how often the stations are judged for the log.
	lookEvery = time.Second
	// mostTold is how many stations one look names in lines of their own; a cut
	// backbone is told in a few.
	mostTold = 20
	// mostNamed is how many stations a line for many names.
	mostNamed = 8
	// followRetry is the pause before the reports are followed again.
	followRetry = 5 * time.Second
	// ignoredEvery spaces the lines about reports that are passed over.
	ignoredEvery = time.Minute
	// mostHashes bounds the hashes of entries that are remembered: stations that
	// are well stand at one of the last few.
	mostHashes = 1024
)

// Why a report is passed over.
const (
	ignoredMalformed = "malformed"
	ignoredVersion   = "version"
	ignoredStation   = "station" // it names another one than its subject
	ignoredFull      = "full"
)

// fleetWatch follows the reports of the stations and keeps what they say.
type fleetWatch struct {
	log    *slog.Logger
	now    func() time.Time
	status *replication.Status
	// feed is the stream, entry the last in it, purge the last that purged.
	feed  jetstream.Stream
	entry func() replication.Entry
	purge func() (number uint64, ordered int64)

	ignored map[string]*atomic.Uint64 // by why; does not change

	mu    sync.Mutex // guards fleet
	fleet *fleet.Fleet

	// What follows belongs to the goroutine of follow.
	hashes    map[uint64]gateway.Hash // of entries of the feed
	ignoredAt map[string]time.Time    // when it was last logged
}

func openFleetWatch(ctx context.Context, js jetstream.JetStream, cfg Config, from feed) (*fleetWatch, error) {
	status, err := replication.OpenStatus(ctx, js, cfg.replicas())
	if err != nil {
		return nil, err
	}
	stream, err := lookFor(ctx, js, replication.StreamFeed)
	if err != nil {
		return nil, fmt.Errorf("open the stream %s: %w", replication.StreamFeed, err)
	}
	w := &fleetWatch{
		log: cfg.Log, now: cfg.Now, status: status, feed: stream, entry: from.Last, purge: from.LastPurge, fleet: fleet.New(cfg.Fleet, cfg.Now()),
		ignored: map[string]*atomic.Uint64{}, hashes: map[uint64]gateway.Hash{}, ignoredAt: map[string]time.Time{},
	}
	for _, why := range []string{ignoredMalformed, ignoredVersion, ignoredStation, ignoredFull} {
		w.ignored[why] = new(atomic.Uint64)
	}
	return w, nil
}

// run follows the reports and tells of changes until ctx is done. What goes
// wrong here is no reason to stop the centre.
func (w *fleetWatch) run(ctx context.Context) {
	w.mu.Lock()
	w.fleet.Listening(w.now())
	w.mu.Unlock()
	var following sync.WaitGroup
	following.Go(func() { w.follow(ctx) })
	defer following.Wait()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.mu.Lock()
			changes := w.fleet.Look(w.now())
			w.mu.Unlock()
			tellChanges(w.log, changes)
		}
	}
}

func (w *fleetWatch) follow(ctx context.Context) {
	for ctx.Err() == nil {
		err := w.status.Follow(ctx, func(m replication.StatusMessage) { w.take(ctx, m) })
		if err == nil {
			return
		}
		w.log.Error("the reports of the stations cannot be followed; it is tried again, and stations show as silent until then", "error", err)
		retry := time.NewTimer(followRetry)
		select {
		case <-ctx.Done():
		case <-retry.C:
		}
		retry.Stop()
	}
}

// take takes one report, or counts it as ignored.
func (w *fleetWatch) take(ctx context.Context, m replication.StatusMessage) {
	report, err := replication.DecodeReport(m.Data)
	switch {
	case errors.Is(err, replication.ErrReportVersion):
		w.ignore(ignoredVersion, m.Station, err)
		return
	case err != nil:
		w.ignore(ignoredMalformed, m.Station, err)
		return
	case report.Station != m.Station:
		w.ignore(ignoredStation, m.Station, errors.New("a report names another station than its subject; find out who sends it"))
		return
	}
	seen := fleet.Seen{Report: report, Received: m.Received, Match: w.match(ctx, &report.Position)}
	last := w.entry()
	seen.Feed = fleet.Feed{Number: last.Number, Time: time.UnixMicro(last.Time)}
	w.mu.Lock()
	err = w.fleet.Take(seen)
	w.mu.Unlock()
	if err != nil {
		w.ignore(ignoredFull, m.Station, err)
	}
}

// match compares the entry a station stands at with the feed's.
func (w *fleetWatch) match(ctx context.Context, p *replication.ReportPosition) fleet.Match {
	switch {
	case p.Number == 0:
		return fleet.MatchUnknown
	case p.Epoch != w.entry().Epoch:
		return fleet.MatchForeign
	}
	hash, err := w.hash(ctx, p.Number)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound) && p.Number > w.entry().Number:
		return fleet.MatchAhead
	case err != nil: // the entry is not kept any more, or the stream does not answer
		return fleet.MatchUnknown
	case hex.EncodeToString(hash[:]) != p.Hash:
		return fleet.MatchOther
	}
	return fleet.MatchSame
}

// hash returns the hash of an entry of the feed.
func (w *fleetWatch) hash(ctx context.Context, number uint64) (gateway.Hash, error) {
	if hash, known := w.hashes[number]; known {
		return hash, nil
	}
	message, err := w.feed.GetMsg(ctx, number)
	if err != nil {
		return gateway.Hash{}, err
	}
	if len(w.hashes) >= mostHashes {
		clear(w.hashes)
	}
	hash := gateway.Hash(sha256.Sum256(message.Data))
	w.hashes[number] = hash
	return hash, nil
}

// ignore counts a report that is passed over, and says so once a minute for each
// kind.
func (w *fleetWatch) ignore(why, station string, err error) {
	w.ignored[why].Add(1)
	if at, told := w.ignoredAt[why]; told && w.now().Sub(at) < ignoredEvery {
		return
	}
	w.ignoredAt[why] = w.now()
	if gateway.ValidStation(station) != nil {
		station = "" // a subject may hold anything
	}
	w.log.Warn("a report is passed over", "station", station, "error", err, "passed_over", w.ignored[why].Load())
}

// tellChanges logs what has changed: a line for each station, or, where many
// changed at once, one for each state.
func tellChanges(log *slog.Logger, changes []fleet.Change) {
	if len(changes) <= mostTold {
		for _, c := range changes {
			if c.To.Alarming() {
				log.Warn("station is not well", "station", c.Station, "state", c.To.String(), "was", c.From.String(), "why", c.Why, "next", c.To.Next())
			} else {
				log.Info("station is well again", "station", c.Station, "state", c.To.String(), "was", c.From.String())
			}
		}
		return
	}
	for _, state := range fleet.States() {
		var names []string
		for _, c := range changes {
			if c.To == state {
				names = append(names, c.Station)
			}
		}
		if len(names) == 0 {
			continue
		}
		shown := strings.Join(names[:min(len(names), mostNamed)], ",")
		if len(names) > mostNamed {
			shown += " and " + strconv.Itoa(len(names)-mostNamed) + " more"
		}
		if state.Alarming() {
			log.Warn("many stations are not well", "state", state.String(), "stations", len(names), "names", shown, "next", state.Next()+"; gateline fleet shows all")
		} else {
			log.Info("many stations are well again", "state", state.String(), "stations", len(names), "names", shown)
		}
	}
}
