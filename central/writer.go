package central

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"gateline/central/ledgercopy"
	"gateline/central/rules"
	"gateline/gateway"
	"gateline/replication"
)

// feed is what the writer needs of a replication.Publisher.
type feed interface {
	// Last returns the header of the last entry; number 0 = none yet.
	Last() replication.Entry
	// Key returns the public key that the next entry will be signed with.
	Key() gateway.FeedKey
	// Publish stores the entry as the next one and blocks until it is safe.
	// After an error it is not known whether it was stored.
	Publish(context.Context, *replication.Entry) error
	// PublishShard stores a snapshot of a shard that holds its records as they
	// are after the last entry published, and blocks until it is safe.
	PublishShard(context.Context, gateway.Shard) error
	// LastPurge returns the entry of this epoch that purged last and the instant of its
	// order; 0 and 0 = there was none.
	LastPurge() (number uint64, ordered int64)
	// ShardsComplete reports whether every shard has a snapshot: until then no
	// box can start from shards.
	ShardsComplete() bool
}

// commitTimeout bounds one append or one publication. A hub that takes longer
// is out of order, and the writer gives up.
const commitTimeout = 20 * time.Second

// writer owns state, ledger, its copy and feed. One goroutine, Run's, uses it.
type writer struct {
	state  *state
	ledger *ledger
	kept   *keeper
	feed   feed
	check  keyCheck
	now    func() time.Time
	log    *slog.Logger
	number atomic.Uint64 // of the last entry; read by anyone
	clock  clockGuard
	origin time.Time // of the steady clock
}

// item is a command in the queue. answer is called exactly once, by whichever
// goroutine knows the outcome, and does not block.
type item struct {
	command command
	answer  func(answer)
}

// answer is the outcome of a command.
type answer struct {
	refusal *Refusal
	// number is that of the feed entry at which the command's effect is
	// complete.
	number   uint64
	changed  int
	registry rules.Answer
	schedule *gateway.Schedule
	stats    Stats
}

// replayLogEvery is how often a long replay reports how far it is.
const replayLogEvery = 5 * time.Second

// replay rebuilds the state: from the copy, once the ledger has been found to hold the
// same (verify = every message of it), then from what the ledger holds above, which
// goes into the copy. It publishes the entries that the feed lacks: those of messages
// above the last entry's Source.
func (w *writer) replay(ctx context.Context, verify bool) error {
	r := &replaying{w: w, began: w.now(), said: w.now(), published: w.feed.Last().Source}
	err := w.compare(ctx, verify)
	if err == nil {
		err = r.copy(ctx)
	}
	if errors.Is(err, ledgercopy.ErrDamaged) {
		r.copied, r.published, r.snapshotEnd = 0, w.feed.Last().Source, 0
		err = w.renewCopy(err)
	}
	if err == nil {
		err = r.ledger(ctx)
	}
	if err != nil {
		return fmt.Errorf("rebuild the registry from the ledger: %w", err)
	}
	if w.ledger.last < r.snapshotEnd {
		return fmt.Errorf("%w: it begins with a snapshot up to message %d and ends at %d; restore the centre's directory from a backup", ErrLedger, r.snapshotEnd, w.ledger.last)
	}
	if r.published > w.ledger.last {
		return fmt.Errorf("%w: the feed covers ledger message %d, but the ledger ends at %d; restore the whole centre directory from one backup, or remove the feed so that it is rebuilt under a new epoch", ErrLedger, r.published, w.ledger.last)
	}
	w.log.Info("ledger replayed", "messages", w.ledger.last, "from_copy", r.copied, "credentials", w.state.credentials(), "persons", w.state.registry.Stats().Persons,
		"missing_entries_published", r.missing, "feed_number", w.feed.Last().Number, "took", w.now().Sub(r.began).Round(time.Millisecond))
	if w.state.schedule == nil {
		w.log.Warn("no policy has been set: boxes send every rider to the manual lane; publish a policy document", "subject", SubjectPolicySet)
	}
	return nil
}

// replaying is a replay that is under way.
type replaying struct {
	w           *writer
	began, said time.Time
	published   uint64 // the last message that the feed covers
	copied      uint64 // the last message that came from the copy
	missing     int
	// snapshotEnd is the last message of the snapshot that the ledger begins with, 0 =
	// it begins with none.
	snapshotEnd uint64
}

// apply applies a message, and returns what it means for boxes if the feed lacks it.
func (r *replaying) apply(sequence uint64, data []byte) (*batch, error) {
	m, err := r.w.decode(data)
	if err == nil {
		err = r.snapshot(sequence, &m)
	}
	if err != nil {
		return nil, err
	}
	var b *batch
	if sequence > r.published {
		b = newBatch()
	}
	if err := r.w.replayMessage(&m, b); err != nil {
		return nil, err
	}
	if now := r.w.now(); now.Sub(r.said) >= replayLogEvery {
		r.said = now
		r.w.log.Info("ledger being replayed", "message", sequence, "credentials", r.w.state.credentials())
	}
	return b, nil
}

// snapshot takes note of the snapshot that a compacted ledger begins with. A feed that
// had just what was before it has what it says. One that has a part of it was begun
// anew and broken off: only such a feed tells of the snapshot's own messages.
func (r *replaying) snapshot(sequence uint64, m *ledgerMessage) error {
	if first := r.w.ledger.first; sequence == first {
		if r.snapshotEnd = m.snapshotEnd; first > 1 && m.snapshotEnd < first {
			return fmt.Errorf("%w: the ledger begins with it, and it is no snapshot of what was before; restore the centre's directory from a backup", ErrLedger)
		}
		switch {
		case r.published > 0 && r.published == first-1:
			r.published = r.snapshotEnd
		case r.published > 0 && r.published < first:
			return fmt.Errorf("%w: the ledger was compacted, and the feed covers only message %d of what was before; remove the feed so that it is rebuilt under a new epoch", ErrLedger, r.published)
		}
	}
	if in := sequence <= r.snapshotEnd; m.snapshotEnd != 0 && !in || in && m.snapshotEnd != r.snapshotEnd {
		return fmt.Errorf("%w: it is of another snapshot than the ledger begins with; restore the centre's directory from a backup", ErrLedger)
	}
	return nil
}

func (r *replaying) publish(ctx context.Context, sequence uint64, b *batch) error {
	if b == nil {
		return nil
	}
	r.missing++
	return r.w.publish(ctx, sequence, b)
}

// copy takes what the copy holds.
func (r *replaying) copy(ctx context.Context) error {
	err := r.w.kept.copy.Each(ctx, 0, func(sequence uint64, data []byte) error {
		b, err := r.apply(sequence, data)
		if err != nil {
			return fmt.Errorf("message %d of the copy: %w", sequence, err)
		}
		r.copied, r.w.ledger.last = sequence, sequence
		return r.publish(ctx, sequence, b)
	})
	return err
}

// ledger takes what the ledger holds above the copy, into the copy too: as in a round,
// before the feed says it.
func (r *replaying) ledger(ctx context.Context) error {
	var tail [][]byte
	size := 0
	keep := func(last uint64) {
		r.w.kept.keep(ctx, r.w.ledger, last, tail)
		tail, size = tail[:0], 0
	}
	err := r.w.ledger.replay(ctx, func(sequence uint64, data []byte) error {
		b, err := r.apply(sequence, data)
		if err != nil {
			return err
		}
		if tail, size = append(tail, data), size+len(data); b != nil || size >= copyChunk {
			keep(sequence)
		}
		return r.publish(ctx, sequence, b)
	})
	if err == nil && len(tail) > 0 {
		keep(r.w.ledger.last)
	}
	return err
}

func (w *writer) decode(data []byte) (ledgerMessage, error) {
	m, err := decodeMessage(data)
	if err == nil && m.check != w.check {
		err = fmt.Errorf("%w: it was written under another token key; start the centre with the key it had before", ErrLedger)
	}
	return m, err
}

// replayMessage applies one ledger message to the state, and adds to b, if that is not
// nil, what it means for boxes.
func (w *writer) replayMessage(m *ledgerMessage, b *batch) (err error) {
	var changes []gateway.Change
	for i := range m.events {
		if b == nil {
			err = w.state.applyAlone(&m.events[i])
		} else if changes, err = w.state.apply(&m.events[i], changes[:0]); err == nil {
			b.addChanges(&m.events[i], changes)
		}
		if err != nil {
			return fmt.Errorf("%w: line %d: %w; restore the centre's directory from a backup", ErrLedger, i+2, err)
		}
	}
	return nil
}

// commit makes a round's batches safe, each in the ledger first, then all in its copy
// and then each in the feed. So the copy never holds what the ledger lacks, and no
// caller and no box is told what is not in both.
func (w *writer) commit(ctx context.Context, r *round) error {
	before := w.ledger.last
	messages := make([][]byte, 0, len(r.batches))
	for _, b := range r.batches {
		message := appendHeader(make([]byte, 0, len(b.lines)+64), w.now().UnixMicro(), w.check, 0)
		message = append(message, b.lines...)
		appendCtx, cancel := context.WithTimeout(ctx, commitTimeout)
		err := w.ledger.append(appendCtx, message)
		cancel()
		if err != nil {
			return err
		}
		messages = append(messages, message)
	}
	if len(messages) > 0 {
		w.kept.keep(ctx, w.ledger, w.ledger.last, messages)
	}
	for i, b := range r.batches {
		if err := w.publish(ctx, before+uint64(i)+1, b); err != nil {
			return err
		}
	}
	return nil
}

// publish stores a batch as the next feed entry; nil is a heartbeat.
func (w *writer) publish(ctx context.Context, source uint64, b *batch) error {
	e := &replication.Entry{Source: source}
	if b != nil {
		e.Changes, e.Schedule = b.changes, b.schedule
		e.Purge, e.Ordered = b.erased != 0, b.erased
	}
	if err := w.publishEntry(ctx, e); err != nil {
		return err
	}
	if b != nil {
		b.number = e.Number
		if b.schedule != nil {
			w.log.Info("schedule published", "version", b.schedule.Version, "documents", len(b.schedule.Policies), "feed_number", e.Number)
		}
		if b.erased != 0 {
			w.log.Warn("everything of the registry was erased, and every box is told to erase its records; gateline fleet receipts shows which have", "feed_number", e.Number)
		}
	}
	return nil
}

// publishEntry stores e as the next feed entry, with the centre's time.
func (w *writer) publishEntry(ctx context.Context, e *replication.Entry) error {
	now := w.now()
	if w.origin.IsZero() {
		w.origin = now
	}
	// Round strips the steady reading that Sub goes by.
	if err := w.clock.check(now.Round(0), now.Sub(w.origin), w.feed.Last().Time); err != nil {
		return err
	}
	e.Time = now.UnixMicro()
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	if err := w.feed.Publish(ctx, e); err != nil {
		if errors.Is(err, replication.ErrFenced) {
			err = fmt.Errorf("%w: %w", ErrTakenOver, err)
		}
		return fmt.Errorf("publish the feed entry of ledger message %d: %w", e.Source, err)
	}
	w.number.Store(e.Number)
	return nil
}

// rotate publishes the entries by which commands of a round change the feed's
// key. A key that the centre has not got is refused.
func (w *writer) rotate(ctx context.Context, r *round) error {
	for i := range r.taken {
		t := &r.taken[i]
		c, is := t.item.command.(rotateCommand)
		before := w.feed.Key()
		if !is || c.key == before {
			continue
		}
		e := &replication.Entry{Source: w.ledger.last, NextKey: c.key}
		err := w.publishEntry(ctx, e)
		switch {
		case errors.Is(err, replication.ErrNoKey):
			t.decision.refusal = refuse(CodeNoKey, "it does not stand below key %v, which is in force, in the centre's feed key file; add it with gateline feed-key add, then start the centre again", before.ID())
			continue
		case err != nil:
			return err
		}
		t.decision.changed, t.batch = 1, &batch{number: e.Number}
		w.log.Info("the feed has a new key; the one before is retired and may be taken out of the feed key file", "feed_number", e.Number, "key", c.key.ID(), "retired", before.ID())
	}
	return nil
}

// answerAll answers every command of a round that is safe.
func (w *writer) answerAll(r *round) {
	last := w.feed.Last().Number
	for i := range r.taken {
		t := &r.taken[i]
		a := answer{refusal: t.decision.refusal, number: last, changed: t.decision.changed, registry: t.decision.answer}
		if t.batch != nil {
			a.number = t.batch.number
		}
		switch t.item.command.(type) {
		case readPolicy:
			a.schedule = w.state.schedule
		case readStats:
			a.stats = w.stats()
		}
		t.item.answer(a)
	}
}

func (w *writer) stats() Stats {
	last := w.feed.Last()
	s := Stats{Epoch: last.Epoch, Key: w.feed.Key().String(), Ledger: w.ledger.last, Credentials: w.state.credentials(), Persons: w.state.registry.Stats().Persons}
	if w.state.schedule != nil {
		s.ScheduleVersion = w.state.schedule.Version
	}
	return s
}
