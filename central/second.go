package central

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"gateline/central/ledgercopy"
)

// CopyFolder is the folder of the ledger's copy in Config.Dir.
const CopyFolder = "ledger-copy"

const (
	// compareTail is how many of the last messages a start compares with the copy,
	// compareSamples how many of those before, at equal distances.
	compareTail    = 1000
	compareSamples = 1000
	// copyChunk bounds in bytes what a replay holds before it is copied.
	copyChunk = 1 << 20
	// mendMost bounds how many messages a copy that is behind is given at once,
	// mendTimeout how long their reading may take: commands wait meanwhile.
	mendMost    = 64
	mendTimeout = 2 * time.Second
	// mendPause is the time between a failure and the next attempt.
	mendPause = time.Minute
	// behindPause is the time between two lines of the log that say how far the copy
	// is behind.
	behindPause = 10 * time.Minute
)

// ErrLedgerLost reports that the ledger lacks messages that its copy holds, or has
// others in their place.
var ErrLedgerLost = errors.New("the ledger is not what its copy says it was")

func lost(copied secondCopy, format string, args ...any) error {
	return fmt.Errorf("%w: %s, and the copy in %s has messages %d to %d; write the ledger anew from the copy with gateline central rebuild, or, if the ledger is the one that is right, move the folder of the copy away; docs/OPERATIONS.md says more under \"The ledger is lost or damaged\"",
		ErrLedgerLost, fmt.Sprintf(format, args...), copied.Dir(), copied.First(), copied.Last())
}

// secondCopy is what the centre needs of a ledgercopy.Copy.
type secondCopy interface {
	Dir() string
	// First returns the number of the first message, there or to come; Last that of
	// the last, First less one = none.
	First() uint64
	Last() uint64
	// Begin gives the first message of an empty copy its number.
	Begin(first uint64) error
	// Append stores messages as those after Last and blocks until they are safe.
	Append(messages [][]byte) error
	// Message returns message n, unproven.
	Message(n uint64) ([]byte, error)
	// Each hands the messages after one to fn, proven and in order.
	Each(ctx context.Context, after uint64, fn func(uint64, []byte) error) error
	// Renew moves what is stored aside and begins anew.
	Renew() error
}

// openCopy opens the copy. One that is damaged is moved aside and made anew, if the
// ledger has messages to make it from.
func openCopy(js jetstream.JetStream, cfg Config) (*ledgercopy.Copy, error) {
	dir, check := filepath.Join(cfg.Dir, CopyFolder), ledgercopy.KeyCheck(newKeyCheck(cfg.TokenKey))
	c, err := ledgercopy.Open(dir, check, cfg.Log)
	if !errors.Is(err, ledgercopy.ErrDamaged) {
		return c, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	stream, lookErr := lookFor(ctx, js, StreamLedger)
	switch {
	case errors.Is(lookErr, jetstream.ErrStreamNotFound) || lookErr == nil && stream.CachedInfo().State.LastSeq == 0:
		return nil, fmt.Errorf("%w (the stream %s is empty or gone too: restore the centre's directory from a backup)", err, StreamLedger)
	case lookErr != nil:
		return nil, fmt.Errorf("look for the stream %s: %w", StreamLedger, lookErr)
	}
	sayRenewed(cfg.Log, dir, err)
	if err := ledgercopy.Aside(dir); err != nil {
		return nil, err
	}
	return ledgercopy.Open(dir, check, cfg.Log)
}

func sayRenewed(log *slog.Logger, dir string, cause error) {
	log.Warn("the copy of the ledger is damaged; it is made anew from the ledger. See to the disk; what was there is kept beside it until the next time", "kept", dir+".damaged", "err", cause)
}

// compare proves that the ledger holds at least what the copy holds: how many there
// are, and the content of the last messages and of some before them, or of all.
// The error wraps ErrLedgerLost where it does not.
func (w *writer) compare(ctx context.Context, all bool) error {
	first, last := w.kept.copy.First(), w.kept.copy.Last()
	if last < first {
		return w.kept.copy.Begin(w.ledger.first)
	}
	info, err := w.ledger.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("read the state of the stream %s: %w", StreamLedger, err)
	}
	if end := info.State.LastSeq; end < last {
		return lost(w.kept.copy, "the stream %s ends at message %d", StreamLedger, end)
	} else if w.ledger.first != first {
		return lost(w.kept.copy, "the stream %s begins with message %d", StreamLedger, w.ledger.first)
	} else if there := end - first + 1; info.State.Msgs != there {
		return lost(w.kept.copy, "of the %d messages of the stream %s %d are missing", there, StreamLedger, there-info.State.Msgs)
	}
	tail := max(first-1, last-min(last, compareTail))
	if all {
		tail = first - 1
	}
	for n := first; n <= tail; n += max(1, (tail-first+1)/compareSamples) {
		message, err := w.ledger.stream.GetMsg(ctx, n)
		if err != nil {
			return fmt.Errorf("read message %d of the stream %s: %w; check the disk", n, StreamLedger, err)
		}
		if err := w.same(n, message.Data); err != nil {
			return err
		}
	}
	said := w.now()
	return w.ledger.read(ctx, tail, last, func(n uint64, data []byte) error {
		if now := w.now(); now.Sub(said) >= replayLogEvery {
			said = now
			w.log.Info("ledger being compared with its copy", "message", n, "of", last)
		}
		return w.same(n, data)
	})
}

// same compares message n of the ledger with that of the copy.
func (w *writer) same(n uint64, data []byte) error {
	copied, err := w.kept.copy.Message(n)
	if err == nil && !bytes.Equal(copied, data) {
		err = lost(w.kept.copy, "message %d of the stream %s differs from that of the copy", n, StreamLedger)
	}
	return err
}

// renewCopy begins the copy anew after cause, and the state with it.
func (w *writer) renewCopy(cause error) error {
	sayRenewed(w.log, w.kept.copy.Dir(), cause)
	w.state, w.ledger.last = newState(w.state.rules), w.ledger.first-1
	if err := w.kept.copy.Renew(); err != nil {
		return err
	}
	return w.kept.copy.Begin(w.ledger.first)
}

// keeper keeps the copy in step with the ledger. One goroutine uses it. A copy that
// cannot be written stops nothing: boxes and callers need the ledger and the feed, and
// what the copy lacks is given to it from the ledger, later or at the next start.
type keeper struct {
	copy secondCopy
	log  *slog.Logger
	now  func() time.Time
	// failing is true from a failure until the copy is complete again; next is when it
	// is worth another attempt.
	failing bool
	next    time.Time
	// behind is how many messages of the ledger the copy lacks, for the metrics; said
	// is when the log last told of it, zero while it is not failing.
	behind atomic.Uint64
	said   time.Time
}

// keep adds messages that the ledger holds, the last of them under number last.
func (k *keeper) keep(ctx context.Context, l *ledger, last uint64, messages [][]byte) {
	defer k.measure(l)
	if k.copy.Last()+uint64(len(messages)) != last {
		k.mend(ctx, l)
		return
	}
	if !k.now().Before(k.next) {
		k.report(k.copy.Append(messages), l)
	}
}

// mend adds some of what the copy lacks.
func (k *keeper) mend(ctx context.Context, l *ledger) {
	defer k.measure(l)
	last := k.copy.Last()
	if last >= l.last || k.now().Before(k.next) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, mendTimeout)
	defer cancel()
	var messages [][]byte
	err := l.read(ctx, last, min(l.last, last+mendMost), func(_ uint64, data []byte) error {
		messages = append(messages, data)
		return nil
	})
	if err == nil {
		err = k.copy.Append(messages)
	}
	k.report(err, l)
}

// measure notes how far the copy is behind, and says so now and then for as long as it
// is: a line that was said once, days ago, is not found when it matters.
func (k *keeper) measure(l *ledger) {
	behind := l.last - min(l.last, k.copy.Last())
	k.behind.Store(behind)
	if behind == 0 || !k.failing {
		k.said = time.Time{}
		return
	}
	now := k.now()
	switch {
	case k.said.IsZero():
		k.said = now // report has just told it
	case now.Sub(k.said) >= behindPause:
		k.said = now
		k.log.Warn("the copy of the ledger is behind; until it is complete the ledger alone has what it lacks: see to the disk of the centre's directory", "lacks", behind, "copied", k.copy.Last(), "ledger", l.last)
	}
}

// report says once that the copy fails, and that it is complete again.
func (k *keeper) report(err error, l *ledger) {
	switch {
	case err != nil:
		k.next = k.now().Add(mendPause)
		if !k.failing {
			k.log.Error("the copy of the ledger cannot be written; the centre goes on without it and tries again each minute", "copied", k.copy.Last(), "ledger", l.last, "err", err)
		}
		k.failing = true
	case k.failing && k.copy.Last() == l.last:
		k.failing = false
		k.log.Info("the copy of the ledger is complete again", "messages", l.last)
	}
}
