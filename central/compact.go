package central

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"gateline/central/ledgercopy"
	"gateline/central/rules"
	"gateline/internal/durable"
	"gateline/replication"
)

// CompactConfig says which centre's ledger is compacted.
type CompactConfig struct {
	// Config is that of the centre, which is stopped. Its Dir, Servers, TokenKey,
	// FeedKeys, Now and Log count.
	Config Config
	// NewEpoch removes feed and shards too, which otherwise keep what they have for as
	// long as Config.FeedKeep says. Boxes then load all shards again.
	NewEpoch bool
	// Confirm is called on the caller's goroutine before anything is changed; its error
	// ends Compact. nil = go on.
	Confirm func(CompactPlan) error
	// Progress, if not nil, is called on the caller's goroutine with how much of a
	// phase is done.
	Progress func(phase string, done, total uint64)
}

// CompactPlan is what Compact found, and is about to replace.
type CompactPlan struct {
	// First and Last are the messages that the ledger has.
	First, Last uint64
	// Persons have at least one of the Credentials.
	Persons, Credentials int
	// Unfinished says that an earlier Compact was broken off, and this one goes on
	// where it was; First and Last are then those of the snapshot.
	Unfinished bool
}

// ErrCompact reports a ledger that is not compacted, and was not changed.
var ErrCompact = errors.New("the ledger cannot be compacted")

// Folders beside that of the copy: of a copy that is being written, and of the one
// before that it has replaced.
const (
	compactedFolder = CopyFolder + ".compacted"
	beforeFolder    = CopyFolder + ".before"
)

// markCompact begins the mark of a ledger that Compact has begun to write.
const markCompact = "compact "

// Compact replaces the ledger of a centre that is stopped, and its copy, by a snapshot
// of what they say now, under the numbers after the last: bindings that have ended,
// statuses that were replaced, persons who were forgotten or merged are in neither any
// more (PRV-04, IMP-10). The feed goes on, and boxes notice nothing.
//
// The snapshot is read back and compared before anything is removed. A Compact that
// was broken off goes on where it was when it is called again; until it is finished no
// centre opens the ledger (ErrUnfinishedRebuild). The receipt is signed with the first
// of the feed's keys and is kept in the centre's directory, folder receipts.
//
// The error wraps ErrCompact where ledger, copy and feed do not agree, and ErrServers
// where the servers cannot serve now.
func Compact(ctx context.Context, cfg CompactConfig) (Receipt, error) {
	if cfg.Config.Log == nil {
		cfg.Config.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Config.Now == nil {
		cfg.Config.Now = time.Now
	}
	if cfg.Progress == nil {
		cfg.Progress = func(string, uint64, uint64) {}
	}
	if cfg.Confirm == nil {
		cfg.Confirm = func(CompactPlan) error { return nil }
	}
	c := &compactor{cfg: cfg, rebuilder: rebuilder{cfg: RebuildConfig{Config: cfg.Config, Progress: cfg.Progress}, prefix: markCompact}}
	receipt := Receipt{}
	err := c.open()
	if err == nil {
		receipt, err = c.run(ctx)
	}
	if err = errors.Join(err, c.close()); err != nil {
		return Receipt{}, fmt.Errorf("compact the ledger of the centre in %s: %w", cfg.Config.where(), cfg.Config.serversError(err))
	}
	return receipt, nil
}

// compactor is a Compact that is under way.
type compactor struct {
	rebuilder
	cfg   CompactConfig
	state *state
}

func (c *compactor) path(name string) string { return filepath.Join(c.cfg.Config.Dir, name) }

func (c *compactor) open() error {
	if len(c.cfg.Config.FeedKeys) == 0 {
		return errors.New("feed keys: missing, give the secret with which the feed is signed")
	}
	if err := c.hold(); err != nil {
		return err
	}
	if err := c.finishSwap(); err != nil {
		return err
	}
	return c.openCopy()
}

func (c *compactor) run(ctx context.Context) (Receipt, error) {
	plan, err := c.find(ctx)
	if err != nil {
		return Receipt{}, err
	}
	if err := c.cfg.Confirm(plan); err != nil {
		return Receipt{}, err
	}
	if !plan.Unfinished {
		if err := c.prepare(ctx, plan); err != nil {
			return Receipt{}, err
		}
	}
	if !c.plan.Agree {
		if err := c.replace(ctx); err != nil {
			return Receipt{}, err
		}
	}
	if c.cfg.NewEpoch {
		if err := c.removeFeed(ctx); err != nil {
			return Receipt{}, err
		}
	}
	receipt, err := c.destroy()
	if err != nil {
		return Receipt{}, err
	}
	return receipt, errors.Join(c.unmark(ctx), c.endReceipt())
}

// find reads what there is, and whether it can be compacted.
func (c *compactor) find(ctx context.Context) (CompactPlan, error) {
	_, swapped, err := c.pending()
	if err != nil {
		return CompactPlan{}, err
	}
	plan := CompactPlan{First: c.copy.First(), Last: c.copy.Last(), Unfinished: swapped}
	if err := c.quiet(ctx); err != nil {
		return plan, err
	}
	c.stream, err = lookFor(ctx, c.js, StreamLedger)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound) && swapped:
		return plan, c.readState(ctx, &plan)
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return plan, fmt.Errorf("%w: there is no stream %s; if the centre has run, write it anew with gateline central rebuild", ErrCompact, StreamLedger)
	case err != nil:
		return plan, fmt.Errorf("look for the stream %s: %w; run this again", StreamLedger, err)
	}
	info := c.stream.CachedInfo()
	mark, marked := info.Config.Metadata[metadataRebuild]
	if _, moving := info.Config.Metadata[metadataMove]; moving {
		return plan, fmt.Errorf("%w: %w; let gateline central move come to its end", ErrCompact, ErrUnfinished)
	}
	if marked && !strings.HasPrefix(mark, markCompact) {
		return plan, fmt.Errorf("%w: %w; let gateline central rebuild come to its end", ErrCompact, ErrUnfinishedRebuild)
	}
	if swapped && marked {
		// The stream is still the old one, or the new one as far as it was written.
		c.plan.Unfinished = max(1, info.Config.FirstSeq) == plan.First
		return plan, c.readState(ctx, &plan)
	}
	if plan.Last < plan.First || info.State.LastSeq != plan.Last || info.State.Msgs != c.count() {
		return plan, fmt.Errorf("%w: the stream %s has %d messages up to %d, and its copy %d up to %d; start the centre, stop it, then run this again", ErrCompact, StreamLedger, info.State.Msgs, info.State.LastSeq, c.count(), plan.Last)
	}
	if err := c.compare(ctx); err != nil {
		return plan, fmt.Errorf("%w: %w", ErrCompact, err)
	}
	c.plan.Agree = swapped // nothing but the old copy is left
	if err := c.readState(ctx, &plan); err != nil || c.cfg.NewEpoch || swapped {
		return plan, err
	}
	return plan, c.checkFeed(ctx, plan.Last)
}

// quietFor is longer than the time between two heartbeats of a centre.
const quietFor = 2500 * time.Millisecond

// quiet refuses where a centre writes to servers of the operator's: there nothing but
// its heartbeats tells that it runs, on whatever machine.
func (c *compactor) quiet(ctx context.Context) error {
	if c.cfg.Config.Servers == nil {
		return nil
	}
	var ends [2]uint64
	for i := range ends {
		if i > 0 {
			wait(ctx, quietFor)
		}
		stream, err := lookFor(ctx, c.js, replication.StreamFeed)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look for the stream %s: %w; run this again", replication.StreamFeed, err)
		}
		ends[i] = stream.CachedInfo().State.LastSeq
	}
	if ends[0] != ends[1] {
		return fmt.Errorf("%w: a centre writes to these servers; stop it first", ErrCompact)
	}
	return ctx.Err()
}

// readState makes the state of the copy.
func (c *compactor) readState(ctx context.Context, plan *CompactPlan) error {
	c.state = newState(rules.DefaultRules()) // applying events asks no rules
	if err := readCopy(ctx, c.copy, c.state, newKeyCheck(c.cfg.Config.TokenKey), func(n uint64) { c.say("read the copy", n) }); err != nil {
		return err
	}
	plan.Persons, plan.Credentials = c.state.registry.Stats().Persons, c.state.credentials()
	return nil
}

// readCopy applies every message of a copy to an empty state.
func readCopy(ctx context.Context, from *ledgercopy.Copy, to *state, check keyCheck, say func(uint64)) error {
	w := &writer{state: to, ledger: &ledger{first: from.First()}, check: check, now: time.Now}
	r := &replaying{w: w, began: time.Now(), said: time.Now(), published: math.MaxUint64}
	w.log = slog.New(slog.DiscardHandler)
	err := from.Each(ctx, 0, func(n uint64, data []byte) error {
		say(n)
		_, err := r.apply(n, data)
		if err != nil {
			err = fmt.Errorf("message %d of the copy: %w", n, err)
		}
		return err
	})
	if err == nil && from.Last() < r.snapshotEnd {
		err = fmt.Errorf("%w: it begins with a snapshot up to message %d and ends at %d", ErrLedger, r.snapshotEnd, from.Last())
	}
	return err
}

// checkFeed refuses a feed that lacks what the ledger has: after it was compacted
// nobody could tell what.
func (c *compactor) checkFeed(ctx context.Context, last uint64) error {
	stream, err := lookFor(ctx, c.js, replication.StreamFeed)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil // it begins anew
	}
	if err != nil {
		return fmt.Errorf("look for the stream %s: %w; run this again", replication.StreamFeed, err)
	}
	end := stream.CachedInfo().State.LastSeq
	if end == 0 {
		return nil
	}
	message, err := replication.Ask(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) { return stream.GetMsg(ctx, end) })
	if err != nil {
		return fmt.Errorf("%w: entry %d of the feed, the last, cannot be read: %w; compact with a new epoch (--new-epoch)", ErrCompact, end, err)
	}
	entry, err := replication.DecodeEntry(message.Data)
	if err != nil {
		return fmt.Errorf("%w: entry %d of the feed, the last: %w; see what gateline inspect feed says", ErrCompact, end, err)
	}
	if entry.Source != last {
		return fmt.Errorf("%w: the feed covers ledger message %d, and the ledger ends at %d; start the centre, stop it, then run this again", ErrCompact, entry.Source, last)
	}
	return nil
}

// prepare writes the new copy, proves it, marks the ledger and puts the new copy in
// the place of the old one. Only then is anything of the old ledger removed.
func (c *compactor) prepare(ctx context.Context, plan CompactPlan) error {
	sum, err := c.writeSnapshot(ctx, plan.Last+1)
	if err != nil {
		return err
	}
	compacted, err := ledgercopy.Open(c.path(compactedFolder), ledgercopy.KeyCheck(newKeyCheck(c.cfg.Config.TokenKey)), c.cfg.Config.Log)
	if err != nil {
		return err
	}
	mark := c.prefix + markOf(compacted)
	if err = c.prove(ctx, compacted, sum); err == nil {
		err = c.begin(plan, compacted)
	}
	if err := errors.Join(err, compacted.Close()); err != nil {
		return err
	}
	config := ledgerConfig(c.cfg.Config.replicas(), plan.First)
	config.Metadata = map[string]string{metadataRebuild: mark}
	err = c.insist(ctx, func() error {
		_, err := c.js.UpdateStream(ctx, config)
		return err
	})
	if err != nil {
		return fmt.Errorf("mark the stream %s: %w; run this again", StreamLedger, err)
	}
	// A centre that was started meanwhile, elsewhere, has not seen the mark.
	info, err := replication.Ask(ctx, func(ctx context.Context) (*jetstream.StreamInfo, error) { return c.stream.Info(ctx) })
	if err == nil && info.State.LastSeq != plan.Last {
		err = fmt.Errorf("%w: the ledger has gone on to message %d meanwhile; stop the centre that does it, start it and stop it again, then run this again", ErrCompact, info.State.LastSeq)
	}
	if err = errors.Join(err, c.quiet(ctx)); err != nil {
		config.Metadata = nil
		_, unmarkErr := c.js.UpdateStream(ctx, config)
		return errors.Join(err, unmarkErr)
	}
	if err := c.copy.Close(); err != nil {
		return err
	}
	if err = os.Rename(c.path(CopyFolder), c.path(beforeFolder)); err == nil {
		err = c.finishSwap()
	}
	if err != nil {
		return fmt.Errorf("put the new copy in the place of the old one: %w; see to the disk, then run this again", err)
	}
	return c.openCopy()
}

// finishSwap puts the new copy in its place where the old one has left it. What a start
// in between has put there is empty: the ledger was marked.
func (c *compactor) finishSwap() error {
	for _, name := range []string{beforeFolder, compactedFolder} {
		if _, err := os.Stat(c.path(name)); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	return errors.Join(os.RemoveAll(c.path(CopyFolder)), os.Rename(c.path(compactedFolder), c.path(CopyFolder)), durable.SyncDir(c.cfg.Config.Dir))
}

// removeCompacted removes the copies of a Compact that was broken off, where the ledger
// is not marked by it: it had not begun, or Rebuild has ended it.
func removeCompacted(dir string) error {
	for _, name := range []string{beforeFolder, compactedFolder} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("remove a copy that a broken-off compaction has left: %w; check the owner of the centre's directory", err)
		}
	}
	return nil
}

// destroy removes what is left of the old copy, with what was moved aside as damaged
// before, and then makes the receipt valid.
func (c *compactor) destroy() (Receipt, error) {
	err := errors.Join(removeCompacted(c.cfg.Config.Dir), os.RemoveAll(c.path(CopyFolder+".damaged")), durable.SyncDir(c.cfg.Config.Dir))
	if err != nil {
		return Receipt{}, fmt.Errorf("remove the old copy: %w; run this again", err)
	}
	return c.finishReceipt()
}
