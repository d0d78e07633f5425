package central

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"gateline/replication"
)

// MoveConfig says which centre is moved, and where to.
type MoveConfig struct {
	// Dir is the directory of a centre that has run with a server of its own, and
	// is stopped.
	Dir string
	// Servers are where it is moved to.
	Servers *Servers
	// NewEpoch moves the ledger alone. The centre then writes the feed anew from it,
	// and boxes load all shards again.
	NewEpoch bool
	// Progress, if not nil, is called on the caller's goroutine with how many of a
	// phase's messages are done.
	Progress func(phase string, done, total uint64)
	// Log gets the warnings and errors of the directory's server; nil = none.
	Log *slog.Logger
}

// Moved is what Move has moved.
type Moved struct {
	// Already says that it had been moved before, and nothing was written.
	Already bool
	// Ledger is the last message of the ledger.
	Ledger uint64
	// FeedFirst and FeedLast are the first and the last entry of the feed that came
	// along, in its Epoch; 0 = the feed begins anew.
	FeedFirst, FeedLast, Epoch uint64
	// Shards and Reports count messages of these streams.
	Shards, Reports uint64
}

// ErrTarget reports servers that hold something of a centre already.
var ErrTarget = errors.New("the servers hold something of a centre already")

// ErrMoveSource reports a directory that cannot be moved as it is.
var ErrMoveSource = errors.New("the centre's directory cannot be moved")

// moveStreams are the streams that Move writes, the ledger first: as long as that
// one is marked, the others belong to the move.
func moveStreams() []string {
	return []string{StreamLedger, replication.StreamFeed, replication.StreamShards, replication.StreamStatus}
}

// Move copies ledger, feed, shards and reports of a centre that is stopped from its
// directory to servers of the operator's, message by message and each with the
// number it has, reads all back and compares, and then marks the directory, so that
// no centre is started on it again. Nothing of the directory is deleted.
//
// A move that was broken off goes on where it was when Move is called again; until it
// is finished no centre opens what is on the servers (ErrUnfinished). The error wraps
// ErrTarget where they hold streams that are not of this move, ErrMoveSource where the
// directory is damaged, and ErrServers where they cannot serve now.
func Move(ctx context.Context, cfg MoveConfig) (Moved, error) {
	if cfg.Progress == nil {
		cfg.Progress = func(string, uint64, uint64) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	m := &mover{cfg: cfg}
	err := m.open()
	if err == nil {
		err = m.run(ctx)
	}
	if err = errors.Join(err, m.close()); err != nil {
		servers := Config{Servers: cfg.Servers}
		// Whoever breaks it off himself has no trouble with the servers.
		if !errors.Is(err, errMoveRead) && ctx.Err() == nil {
			err = servers.serversError(err)
		}
		return Moved{}, fmt.Errorf("move the centre in %s to %s: %w", cfg.Dir, servers.where(), err)
	}
	return m.moved, nil
}

// mover is a move that is under way.
type mover struct {
	cfg   MoveConfig
	moved Moved
	hub   *replication.Hub
	conns []*nats.Conn
	// from and to are JetStream of the directory and of the servers.
	from, to jetstream.JetStream
}

func (m *mover) open() error {
	if m.cfg.Servers == nil {
		return errors.New("servers: missing, give those that it is moved to")
	}
	if err := errors.Join(m.cfg.Servers.check()...); err != nil {
		return err
	}
	dir := filepath.Join(m.cfg.Dir, "streams")
	// A hub would make a directory that is not there.
	look, err := replication.OpenStreams(dir)
	if err != nil {
		return err
	}
	if err := look.Close(); err != nil {
		return err
	}
	// The servers first: reading the directory may take long.
	if m.to, err = m.connect(m.cfg.Servers.connect); err != nil {
		return err
	}
	if m.hub, err = replication.OpenHub(replication.HubConfig{Dir: dir, Log: m.cfg.Log}); err != nil {
		return err
	}
	m.from, err = m.connect(m.hub.Connect)
	return err
}

func (m *mover) connect(to func(...nats.Option) (*nats.Conn, error)) (jetstream.JetStream, error) {
	conn, err := to(nats.Name("gateline move"))
	if err != nil {
		return nil, err
	}
	m.conns = append(m.conns, conn)
	return jetstream.New(conn, jetstream.WithPublishAsyncTimeout(moveAckTimeout))
}

func (m *mover) close() error {
	for _, c := range slices.Backward(m.conns) {
		c.Close()
	}
	if m.hub == nil {
		return nil
	}
	return m.hub.Close()
}

func (m *mover) run(ctx context.Context) error {
	stages, err := m.look(ctx)
	if err != nil {
		return err
	}
	done, err := m.claim(ctx, stages)
	if err != nil {
		return err
	}
	if !done {
		for _, s := range stages {
			if err := m.copy(ctx, s); err != nil {
				return fmt.Errorf("copy the stream %s: %w", s.name, err)
			}
		}
		for _, s := range stages {
			if err := m.verify(ctx, s); err != nil {
				return fmt.Errorf("compare the stream %s: %w", s.name, err)
			}
		}
		// The ledger last: from then on a centre opens it.
		for _, s := range slices.Backward(stages) {
			if _, err := m.to.UpdateStream(ctx, s.config); err != nil {
				return fmt.Errorf("finish the stream %s: %w; run this again", s.name, err)
			}
		}
	}
	m.moved.Already = done
	return m.hub.MarkMoved(strings.Join(m.cfg.Servers.URLs, ","))
}

// look reads what the directory holds, and makes a stage of each stream.
func (m *mover) look(ctx context.Context) ([]*stage, error) {
	ledger, err := m.stageOf(ctx, StreamLedger)
	if err != nil {
		return nil, err
	}
	if ledger == nil {
		return nil, fmt.Errorf("%w: it has no stream %s; give the directory that the centre's configuration named as dir", ErrMoveSource, StreamLedger)
	}
	stages := []*stage{ledger}
	m.moved.Ledger = ledger.last
	if !m.cfg.NewEpoch {
		feed, err := m.lookAtFeed(ctx, ledger)
		if err != nil {
			return nil, err
		}
		stages = append(stages, feed...)
	}
	reports, err := m.stageOf(ctx, replication.StreamStatus)
	if err != nil || reports == nil {
		return stages, err
	}
	reports.storage(m.cfg.Servers.Replicas)
	m.moved.Reports = reports.count
	return append(stages, reports), nil
}

// lookAtFeed makes the stages of feed and shards, none where there is no feed.
func (m *mover) lookAtFeed(ctx context.Context, ledger *stage) ([]*stage, error) {
	feed, err := m.stageOf(ctx, replication.StreamFeed)
	if err != nil || feed == nil || feed.last == 0 {
		return nil, err
	}
	if feed.count == 0 {
		return nil, fmt.Errorf("%w: every entry of the feed has expired; move with a new epoch (--new-epoch)", ErrMoveSource)
	}
	// What is being copied does not expire meanwhile; a centre sets it again when it
	// opens the feed.
	if feed.config.MaxAge != 0 {
		feed.config.MaxAge = 0
		stored := feed.from.CachedInfo().Config
		stored.MaxAge = 0
		if _, err := m.from.UpdateStream(ctx, stored); err != nil {
			return nil, fmt.Errorf("keep the feed from expiring: %w; check the disk", err)
		}
	}
	last, err := feed.from.GetMsg(ctx, feed.last)
	if err != nil {
		return nil, fmt.Errorf("%w: entry %d of the feed, the last: %w; see what gateline inspect feed says", ErrMoveSource, feed.last, err)
	}
	entry, err := replication.DecodeEntry(last.Data)
	if err != nil {
		return nil, fmt.Errorf("%w: entry %d of the feed, the last: %w; see what gateline inspect feed says", ErrMoveSource, feed.last, err)
	}
	if entry.Source > ledger.last {
		return nil, fmt.Errorf("%w: the feed covers ledger message %d, but the ledger ends at %d; restore the whole directory from one backup, or move with a new epoch (--new-epoch)", ErrMoveSource, entry.Source, ledger.last)
	}
	if feed.first > 1 {
		feed.config.FirstSeq = feed.first
	}
	feed.audit = replication.NewAudit(entry.Epoch, nil)
	m.moved.FeedFirst, m.moved.FeedLast, m.moved.Epoch = feed.first, feed.last, entry.Epoch
	shards, err := m.stageOf(ctx, replication.StreamShards)
	if err != nil || shards == nil {
		return []*stage{feed}, err
	}
	m.moved.Shards = shards.count
	return []*stage{feed, shards}, nil
}

// claim makes the ledger on the servers, marked, or takes the one of a move that was
// broken off. It reports whether that move was finished.
func (m *mover) claim(ctx context.Context, stages []*stage) (done bool, err error) {
	var there []string
	ledger := stages[0]
	for _, name := range moveStreams() {
		stream, err := lookFor(ctx, m.to, name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			continue
		case err != nil:
			return false, fmt.Errorf("look for the stream %s on the servers: %w; see that they run, and that their accounts have the centre's key", name, err)
		}
		there = append(there, name)
		if name != StreamLedger {
			continue
		}
		ledger.to = stream
		if _, unfinished := stream.CachedInfo().Config.Metadata[metadataMove]; unfinished {
			if stream.CachedInfo().Config.FirstSeq != ledger.config.FirstSeq {
				// It was compacted since, and the mark says that what is there is ours.
				if err := m.to.DeleteStream(ctx, StreamLedger); err != nil {
					return false, fmt.Errorf("remove the stream %s that a broken-off move has begun: %w; run this again", StreamLedger, err)
				}
				if ledger.to, err = m.create(ctx, ledger); err != nil {
					return false, err
				}
			}
			return false, m.sweep(ctx, stages)
		}
		if same, err := m.sameLedger(ctx, ledger); err != nil || same {
			return same, err
		}
	}
	if len(there) > 0 {
		return false, fmt.Errorf("%w: %s; if nobody needs that any more, stop the centre there and remove these streams with nats stream rm, as docs/OPERATIONS.md shows under \"A new epoch\"", ErrTarget, strings.Join(there, ", "))
	}
	if ledger.to, err = m.create(ctx, ledger); err != nil {
		return false, err
	}
	return false, nil
}

// sweep removes what a broken-off move has written of streams that cannot be
// continued and are copied anew. The mark of the ledger says that nothing else has
// written them.
func (m *mover) sweep(ctx context.Context, stages []*stage) error {
	gone := []string{replication.StreamShards, replication.StreamStatus}
	feed, err := lookFor(ctx, m.to, replication.StreamFeed)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
	case err != nil:
		return fmt.Errorf("look for the stream %s on the servers: %w; run this again", replication.StreamFeed, err)
	default:
		i := slices.IndexFunc(stages, func(s *stage) bool { return s.continues(feed.CachedInfo()) })
		if i < 0 {
			gone = append(gone, replication.StreamFeed)
		} else {
			stages[i].to = feed
		}
	}
	for _, name := range gone {
		if err := m.to.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("remove what a broken-off move left of the stream %s: %w; run this again", name, err)
		}
	}
	return nil
}

// sameLedger reports whether the servers hold the ledger of the directory, and
// perhaps what a centre there has accepted since.
func (m *mover) sameLedger(ctx context.Context, ledger *stage) (bool, error) {
	if ledger.last == 0 || ledger.to.CachedInfo().State.LastSeq < ledger.last {
		return false, nil
	}
	ours, err := ledger.from.GetMsg(ctx, ledger.last)
	if err != nil {
		return false, fmt.Errorf("read message %d of the stream %s: %w; check the disk", ledger.last, StreamLedger, err)
	}
	theirs, err := ledger.to.GetMsg(ctx, ledger.last)
	if err != nil {
		return false, fmt.Errorf("read message %d of the stream %s on the servers: %w; run this again", ledger.last, StreamLedger, err)
	}
	return string(ours.Data) == string(theirs.Data), nil
}

// create makes the stream of a stage on the servers.
func (m *mover) create(ctx context.Context, s *stage) (jetstream.Stream, error) {
	stream, err := m.to.CreateStream(ctx, s.unfinished())
	if err != nil {
		return nil, fmt.Errorf("create the stream %s on the servers: %w; see that all of them run and have room on their disks", s.name, err)
	}
	return stream, nil
}
