package central

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"gateline/central/ledgercopy"
	"gateline/replication"
)

// RebuildConfig says which centre's ledger is written anew.
type RebuildConfig struct {
	// Config is that of the centre, which is stopped. Its Dir, Servers, TokenKey and
	// Log count.
	Config Config
	// Confirm is called on the caller's goroutine before anything is changed; its error
	// ends Rebuild. nil = go on.
	Confirm func(RebuildPlan) error
	// Progress, if not nil, is called on the caller's goroutine with how many of a
	// phase's messages are done.
	Progress func(phase string, done, total uint64)
}

// RebuildPlan is what Rebuild found, and is about to replace.
type RebuildPlan struct {
	// Copy is the last message of the copy, Ledger that of the stream.
	Copy, Ledger uint64
	// Gone says that there is no stream; Unfinished that an earlier Rebuild was broken
	// off, and this one goes on where it was.
	Gone, Unfinished bool
	// Agree says that the stream holds what the copy holds: it is left as it is, and
	// the feed alone begins anew.
	Agree bool
}

// ErrRebuild reports that the ledger is not written anew, and was not changed.
var ErrRebuild = errors.New("the ledger cannot be written anew from its copy")

// errRebuildDiffers reports that the stream holds other messages than it was given.
var errRebuildDiffers = errors.New("the stream holds something else than it was given; see that nobody else writes to it, then run this again")

// Rebuild replaces the stream LEDGER of a centre that is stopped by one with the
// messages of its copy, each under the number it had, reads them back and compares.
// It removes feed and shards, so that the centre writes them anew under a new epoch,
// which boxes load by themselves.
//
// One that was broken off goes on where it was when Rebuild is called again; until it
// is finished no centre opens the ledger (ErrUnfinishedRebuild). The error wraps
// ErrRebuild where the copy is empty or the stream holds more, and ErrServers where
// the servers cannot serve now.
func Rebuild(ctx context.Context, cfg RebuildConfig) (RebuildPlan, error) {
	if cfg.Config.Log == nil {
		cfg.Config.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Progress == nil {
		cfg.Progress = func(string, uint64, uint64) {}
	}
	if cfg.Confirm == nil {
		cfg.Confirm = func(RebuildPlan) error { return nil }
	}
	r := &rebuilder{cfg: cfg}
	err := r.open()
	if err == nil {
		err = r.run(ctx)
	}
	if err = errors.Join(err, r.close()); err != nil {
		return r.plan, fmt.Errorf("write the ledger of the centre in %s anew: %w", cfg.Config.where(), cfg.Config.serversError(err))
	}
	return r.plan, nil
}

// rebuilder is a Rebuild that is under way.
type rebuilder struct {
	cfg    RebuildConfig
	hub    *replication.Hub // nil = Config.Servers
	conn   *nats.Conn
	js     jetstream.JetStream
	copy   *ledgercopy.Copy
	stream jetstream.Stream // nil = none
	plan   RebuildPlan
	prefix string // of the mark
}

func (r *rebuilder) open() error {
	if err := r.hold(); err != nil {
		return err
	}
	return r.openCopy()
}

// hold opens the streams, and holds the directory where they are in it.
func (r *rebuilder) hold() error {
	cfg := &r.cfg.Config
	if cfg.Dir == "" {
		return errors.New("dir: missing, give the directory of the ledger's copy")
	}
	var connect func(...nats.Option) (*nats.Conn, error)
	var err error
	if cfg.Servers != nil {
		if err := errors.Join(cfg.Servers.check()...); err != nil {
			return err
		}
		connect = cfg.Servers.connect
	} else {
		// It listens nowhere, and holds the directory against a centre.
		if r.hub, err = replication.OpenHub(replication.HubConfig{Dir: filepath.Join(cfg.Dir, "streams"), Log: cfg.Log}); err != nil {
			return err
		}
		connect = r.hub.Connect
	}
	if r.conn, err = connect(nats.Name("gateline rebuild")); err != nil {
		return err
	}
	r.js, err = jetstream.New(r.conn, jetstream.WithPublishAsyncTimeout(moveAckTimeout))
	return err
}

func (r *rebuilder) openCopy() error {
	cfg := &r.cfg.Config
	opened, err := ledgercopy.Open(filepath.Join(cfg.Dir, CopyFolder), ledgercopy.KeyCheck(newKeyCheck(cfg.TokenKey)), cfg.Log)
	if err == nil {
		r.copy = opened
	}
	return err
}

func (r *rebuilder) close() error {
	var faults []error
	if r.conn != nil {
		r.conn.Close()
	}
	if r.copy != nil {
		faults = append(faults, r.copy.Close())
	}
	if r.hub != nil {
		faults = append(faults, r.hub.Close())
	}
	return errors.Join(faults...)
}

func (r *rebuilder) run(ctx context.Context) error {
	if r.copy.Last() < r.copy.First() {
		return fmt.Errorf("%w: the copy in %s has no message; restore the centre's directory from a backup", ErrRebuild, r.copy.Dir())
	}
	// All of it is proven before anything is removed.
	if err := r.copy.Each(ctx, 0, func(n uint64, _ []byte) error { r.say("read the copy", n); return nil }); err != nil {
		return err
	}
	if err := r.look(ctx); err != nil {
		return err
	}
	if err := r.cfg.Confirm(r.plan); err != nil {
		return err
	}
	if !r.plan.Agree {
		if err := r.replace(ctx); err != nil {
			return err
		}
	}
	if err := r.removeFeed(ctx); err != nil || r.plan.Agree {
		return err
	}
	return r.unmark(ctx)
}

// removeFeed removes feed and shards: the centre writes them anew.
func (r *rebuilder) removeFeed(ctx context.Context) error {
	for _, name := range []string{replication.StreamFeed, replication.StreamShards} {
		err := r.insist(ctx, func() error { return r.js.DeleteStream(ctx, name) })
		if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("remove the stream %s: %w; run this again", name, err)
		}
	}
	return nil
}

// unmark takes the mark of the ledger away: from then on a centre opens it.
func (r *rebuilder) unmark(ctx context.Context) error {
	err := r.insist(ctx, func() error {
		_, err := r.js.UpdateStream(ctx, r.config())
		return err
	})
	if err != nil {
		return fmt.Errorf("finish the stream %s: %w; run this again", StreamLedger, err)
	}
	return nil
}

// count returns how many messages the copy has.
func (r *rebuilder) count() uint64 { return r.copy.Last() - r.copy.First() + 1 }

// config is the stream as it is when it is done.
func (r *rebuilder) config() jetstream.StreamConfig {
	return ledgerConfig(r.cfg.Config.replicas(), r.copy.First())
}

// say reports how far a phase is, not for every message.
func (r *rebuilder) say(phase string, n uint64) {
	if done := n - r.copy.First() + 1; done%moveWindow == 0 || n == r.copy.Last() {
		r.cfg.Progress(phase, done, r.count())
	}
}

// look finds out what is there, and whether that may be replaced.
func (r *rebuilder) look(ctx context.Context) error {
	stream, err := lookFor(ctx, r.js, StreamLedger)
	last := r.copy.Last()
	r.plan = RebuildPlan{Copy: last}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		r.plan.Gone = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for the stream %s: %w; run this again", StreamLedger, err)
	}
	r.stream = stream
	info := stream.CachedInfo()
	r.plan.Ledger = info.State.LastSeq
	if _, moving := info.Config.Metadata[metadataMove]; moving {
		return fmt.Errorf("%w: %w; let gateline central move come to its end", ErrRebuild, ErrUnfinished)
	}
	mark, marked := info.Config.Metadata[metadataRebuild]
	r.plan.Unfinished = marked && mark == r.mark()
	if info.State.LastSeq > last {
		return fmt.Errorf("%w: the stream %s goes to message %d, and the copy in %s to %d only; if the stream is the one that is right, move the folder of the copy away, and it is made anew", ErrRebuild, StreamLedger, info.State.LastSeq, r.copy.Dir(), last)
	}
	if !marked && info.State.LastSeq == last && info.State.Msgs == r.count() {
		err := r.compare(ctx)
		r.plan.Agree = err == nil
		if err != nil && !errors.Is(err, errRebuildDiffers) {
			r.cfg.Config.Log.Warn("the stream cannot be read whole, and is replaced", "stream", StreamLedger, "err", err)
		}
	}
	return ctx.Err()
}

// mark tells what is written anew, and by what: another copy is not continued.
func (r *rebuilder) mark() string { return r.prefix + markOf(r.copy) }

func markOf(c *ledgercopy.Copy) string { return fmt.Sprintf("%d %x", c.Last(), c.Chain()) }

// replace writes the stream from the copy, reads it back and compares.
func (r *rebuilder) replace(ctx context.Context) error {
	if !r.plan.Unfinished {
		if err := r.create(ctx); err != nil {
			return err
		}
	}
	if err := r.write(ctx); err != nil {
		return fmt.Errorf("write the stream %s: %w", StreamLedger, err)
	}
	err := r.insist(ctx, func() error {
		info, err := r.stream.Info(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("read the state of the stream %s: %w; run this again", StreamLedger, err)
		case info.State.LastSeq != r.copy.Last() || info.State.Msgs != r.count():
			return errRebuildDiffers
		}
		return r.compare(ctx)
	})
	if errors.Is(err, errRebuildDiffers) {
		// The next attempt is to begin anew, not to go on.
		err = errors.Join(err, r.js.DeleteStream(ctx, StreamLedger))
	}
	return err
}

// insist repeats what servers of the operator's do not answer, as long as they take to
// choose another leader.
func (r *rebuilder) insist(ctx context.Context, do func() error) error {
	for try := 1; ; try++ {
		err := do()
		if err == nil || ctx.Err() != nil || try == moveTries || !errors.Is(r.cfg.Config.serversError(err), ErrServers) {
			return err
		}
		wait(ctx, movePause)
	}
}

// create puts an empty stream, marked, in the place of the one there is. A server
// finds messages of a stream that it had not been able to open, so that one is
// removed once more.
func (r *rebuilder) create(ctx context.Context) error {
	config := r.config()
	config.Metadata = map[string]string{metadataRebuild: r.mark()}
	for range 2 {
		err := r.js.DeleteStream(ctx, StreamLedger)
		if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("remove the stream %s: %w; run this again", StreamLedger, err)
		}
		if r.stream, err = r.js.CreateStream(ctx, config); err != nil {
			return fmt.Errorf("create the stream %s: %w; see to the disk, then run this again", StreamLedger, err)
		}
		if r.stream.CachedInfo().State.LastSeq == r.copy.First()-1 {
			return nil
		}
	}
	return fmt.Errorf("%w: a new stream %s is not empty; remove its folder, as docs/OPERATIONS.md shows under \"A new epoch\"", ErrRebuild, StreamLedger)
}

// write appends the copy's messages from where the stream ends on, until the last is
// there.
func (r *rebuilder) write(ctx context.Context) error {
	reached := uint64(0)
	for tries := 0; ; tries++ {
		info, err := r.stream.Info(ctx)
		if err == nil {
			at := info.State.LastSeq
			if at >= r.copy.Last() {
				return nil
			}
			if at > reached {
				reached, tries = at, 0
			}
			err = r.writeFrom(ctx, at)
		}
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%w; run this again, it goes on where it was", context.Cause(ctx))
		case errors.Is(err, ledgercopy.ErrDamaged):
			return err
		case err != nil && tries >= moveTries:
			return fmt.Errorf("%w; see to the server and its disk, then run this again, it goes on where it was", err)
		case err != nil:
			wait(ctx, movePause)
		}
	}
}

// writeFrom appends the messages after number at, so many at once that one wait for
// the disk serves them all.
func (r *rebuilder) writeFrom(ctx context.Context, at uint64) error {
	var window []jetstream.PubAckFuture
	size := 0
	return r.copy.Each(ctx, at, func(n uint64, data []byte) error {
		future, err := r.js.PublishMsgAsync(&nats.Msg{Subject: SubjectLedger, Data: bytes.Clone(data)},
			jetstream.WithExpectLastSequence(n-1), jetstream.WithExpectStream(StreamLedger), jetstream.WithRetryAttempts(0))
		if err != nil {
			return fmt.Errorf("message %d: %w", n, err)
		}
		window, size = append(window, future), size+len(data)
		if len(window) < moveWindow && size < moveWindowBytes && n != r.copy.Last() {
			return nil
		}
		if err := acknowledged(ctx, window, func(error) bool { return false }); err != nil {
			return fmt.Errorf("messages up to %d: %w", n, err)
		}
		window, size = window[:0], 0
		r.cfg.Progress("write "+StreamLedger, n-r.copy.First()+1, r.count())
		return nil
	})
}

// compare reads the stream back.
func (r *rebuilder) compare(ctx context.Context) error {
	l := &ledger{js: r.js, stream: r.stream}
	return l.read(ctx, r.copy.First()-1, r.copy.Last(), func(n uint64, data []byte) error {
		copied, err := r.copy.Message(n)
		if err != nil {
			return err
		}
		if !bytes.Equal(copied, data) {
			return errRebuildDiffers
		}
		r.say("compare "+StreamLedger, n)
		return nil
	})
}
