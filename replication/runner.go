package replication

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"gateline/gateway"
)

const (
	// tickInterval is how often the runner looks at the link and its timers.
	tickInterval = 100 * time.Millisecond
	// liveBuffer bounds the live entries that wait to be applied; what does not
	// fit is dropped and fetched later.
	liveBuffer = 256
	// connectGrace is how long a box waits at its start before it reports that
	// the centre is not there.
	connectGrace = 3 * time.Second
	// fetchRetry is the pause after a fetch that came to nothing.
	fetchRetry = time.Second
	// applyRetryMin and applyRetryMax bound the pause between two attempts to
	// apply an update that the store could not take.
	applyRetryMin = 100 * time.Millisecond
	applyRetryMax = 5 * time.Second
	// absentLimit is the number of answers in a row, fetchRetry apart, that the feed
	// ends before the entry we stand at, after which that is believed.
	absentLimit = 10
	// unansweredLimit is the number of questions nobody answered, over a link
	// that is up, after which that is reported.
	unansweredLimit = 3
	// sameReportAfter is how soon the same trouble, gone and back again, is
	// worth another line in the log.
	sameReportAfter = time.Minute
)

// runner follows the feed. Everything in it belongs to the goroutine of
// Box.Run.
type runner struct {
	cfg   *BoxConfig
	log   *slog.Logger
	stats *counters
	nc    *nats.Conn
	// connected and cause are the link's state as the embedded server has it.
	connected func() bool
	cause     func() string
	// breakLink closes the link; the server makes a new one.
	breakLink func()
	dog       watchdog

	follower Follower
	group    group
	live     *intake
	answers  *intake
	fetch    fetch
	load     load
	proof    proof
	// marks are those of the store, erased what it says of its records.
	marks  []gateway.ShardMark
	erased gateway.Erasure
	// scheduleAt is the entry of the schedule that was loaded with shards: those of
	// entries before it, which are followed once more, are older.
	scheduleAt uint64
	// reloading is the epoch of the shards that a box with data has begun to
	// load and reported; 0 = none.
	reloading uint64
	// verified says that the centre has shown us the very entry we stand at, or
	// one that names its hash, since the link came up or went quiet.
	verified bool
	// absent counts the answers in a row that the feed ends before our entry.
	absent int
	// heard is the highest number of a live entry that could not be applied
	// because others were missing.
	heard     uint64
	lastHeard time.Time
	quiet     bool
	nextPoll  time.Time
	// unanswered counts the questions nobody answered since the centre was
	// last heard.
	unanswered int

	link    linkState
	trouble trouble
}

// linkState is what was last reported of the link.
type linkState struct {
	up, reported bool
	started      time.Time
}

// trouble is what was reported of entries that do not fit.
type trouble struct {
	// seen holds the kinds met since the box last got on; not empty = in
	// trouble.
	seen   map[error]bool
	logged bool
	// at holds when a kind was last logged.
	at map[error]time.Time
}

func newRunner(b *Box, nc *nats.Conn) (*runner, error) {
	r := &runner{
		cfg: &b.cfg, log: b.cfg.Log, stats: &b.stats, nc: nc,
		connected: b.Connected, cause: b.srvLog.cause, breakLink: b.breakLink,
		follower: NewFollower(Start{
			Position: b.cfg.Store.Position(), Usable: b.cfg.Store.Usable(), Terms: b.cfg.Store.Keys(), Trusted: b.cfg.Keys,
		}),
		marks:   b.cfg.Store.Marks(),
		erased:  b.cfg.Store.Erased(),
		live:    newIntake(liveBuffer),
		answers: newIntake(2 * fetchBatch),
	}
	r.link.started = b.cfg.Now()
	r.proof.agreed, r.proof.differ = map[gateway.ShardID]struct{}{}, map[gateway.ShardID]struct{}{}
	r.trouble.seen, r.trouble.at = map[error]bool{}, map[error]time.Time{}
	r.fetch.prefix = InboxPrefix + b.cfg.Station + "."
	if _, err := nc.Subscribe(SubjectLive, r.live.put); err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", SubjectLive, err)
	}
	if _, err := nc.Subscribe(r.fetch.prefix+"*", r.answers.put); err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", r.fetch.prefix+"*", err)
	}
	return r, nil
}

func (r *runner) loop(ctx context.Context) error {
	tick := time.NewTicker(tickInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-r.answers.messages:
			r.answers.took(m)
			r.answer(ctx, m)
		case m := <-r.live.messages:
			r.live.took(m)
			r.liveEntry(ctx, m.Data)
		case <-tick.C:
			if r.nc.IsClosed() {
				return errors.New("follow the feed: the embedded server closed the connection; restart the box")
			}
			if r.flush(ctx) && r.rest(ctx, r.cfg.Now()) {
				r.tick(r.cfg.Now())
			}
		}
		if r.group.full() || r.answers.empty() && r.live.empty() {
			r.flush(ctx)
		}
	}
}

// tick looks after the link, the running fetch and the next poll.
func (r *runner) tick(now time.Time) {
	up := r.connected()
	r.reportLink(up, now)
	if up != r.link.up {
		r.link.up = up
		r.verified, r.fetch.active, r.load.active = false, false, false
		r.load.next, r.proof.triedAt = now, 0
		r.nextPoll = now
		r.dog.since = now
	}
	if up && r.live.empty() && r.answers.empty() && r.dog.due(now, r.lastHeard, r.cfg.DeadAfter) {
		r.log.Warn("nothing has been heard from the centre over a link that is up; it is broken and made anew; if it goes on, see whether the centre's feed runs and what the network drops",
			"centre", r.cfg.CentreURL, "position", r.follower.Position().Number)
		r.breakLink()
		r.link.up, r.fetch.active = false, false // it may be up again before anybody looks
		return
	}
	if r.fetch.active && now.After(r.fetch.deadline) {
		r.noAnswer(now)
	}
	if !up || r.fetch.active {
		return
	}
	if !r.quiet && now.Sub(r.lastHeard) >= r.cfg.QuietAfter {
		// Once for each silence; the slow poll goes on after it.
		r.quiet, r.verified = true, false
		r.nextPoll = now
	}
	if !now.Before(r.nextPoll) {
		r.ask(now)
	}
}

// reportLink logs a change of the link once.
func (r *runner) reportLink(up bool, now time.Time) {
	l := &r.link
	switch {
	case up && (!l.reported || !l.up):
		r.log.Info("the link to the centre is up", "centre", r.cfg.CentreURL, "position", r.follower.Position().Number)
		l.reported = true
	case !up && l.up:
		r.log.Warn("the link to the centre is down; gates are answered from the data on this box, the link is tried again",
			"centre", r.cfg.CentreURL, "position", r.follower.Position().Number, "cause", r.cause())
	case !up && !l.reported && now.Sub(l.started) >= connectGrace:
		r.log.Warn("the centre is not reachable; gates are answered from the data on this box, the link is tried again; check the network and the centre's address",
			"centre", r.cfg.CentreURL, "position", r.follower.Position().Number, "cause", r.cause())
		l.reported = true
	}
}

func (r *runner) heardNow() {
	now := r.cfg.Now()
	if r.unanswered >= unansweredLimit {
		r.log.Info("the centre's feed answers again")
	}
	r.lastHeard, r.quiet, r.unanswered = now, false, 0
	r.stats.lastHeard.Store(&now)
}

// liveEntry takes an entry as the stream republishes it.
func (r *runner) liveEntry(ctx context.Context, data []byte) {
	r.heardNow()
	if r.load.active {
		return // it is fetched afterwards
	}
	e, err := DecodeEntry(data)
	if err != nil {
		r.refuse(err)
		return
	}
	if r.follower.Position().Epoch != 0 && !r.whole() {
		return // nothing can be followed from some of the shards
	}
	action, err := r.follower.Step(&e, false)
	if action == ActionApply {
		r.apply(ctx, &e)
		return
	}
	if !r.flush(ctx) {
		return
	}
	switch action {
	case ActionRepeat:
		r.stats.repeats.Add(1)
	case ActionRefuse:
		r.refuse(err)
	case ActionLoad:
		if r.link.up {
			r.leadsNowhere(&e, err)
		}
	case ActionGap:
		r.heard = max(r.heard, e.Number)
		// While entries are refused only the poll asks again.
		if !r.fetch.active && len(r.trouble.seen) == 0 && r.link.up {
			r.stats.gaps.Add(1)
			r.ask(r.cfg.Now())
		}
	}
}

// reportKeys says once that the feed's key has changed.
func (r *runner) reportKeys(e *Signed) {
	if e.NextKey != (gateway.FeedKey{}) {
		r.log.Info("the feed has a new key; the one before is retired", "entry", e.Number, "key", e.NextKey.ID(), "retired", e.Signer)
	}
}

// insist has the store take something, what and n in the log, until it has. It
// reports false where ctx was done before.
func (r *runner) insist(ctx context.Context, take func() error, what string, n any) bool {
	pause := applyRetryMin
	for failed := false; ; failed = true {
		err := take()
		if err == nil {
			if failed {
				r.log.Info("updates are applied again", what, n)
			}
			return true
		}
		r.stats.applyErrors.Add(1)
		if !failed {
			r.log.Error("an update could not be applied and is tried again; its data grow stale until then; check the disk",
				what, n, "err", err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
		pause = min(2*pause, applyRetryMax)
	}
}

// refuse counts what does not continue the box's history and logs it once for
// each kind of trouble. The box keeps its data, its position, and serving.
func (r *runner) refuse(err error) {
	r.stats.refused.Add(1)
	next, kind := refusalKind(err)
	if kind == ErrWentBack || kind == ErrForked || kind == ErrForeignEpoch {
		r.verified = false // it is asked to show the entry we stand at
	}
	t, now := &r.trouble, r.cfg.Now()
	if t.seen[kind] {
		return
	}
	t.seen[kind] = true
	if last, ok := t.at[kind]; ok && now.Sub(last) < sameReportAfter {
		return
	}
	t.at[kind], t.logged = now, true
	r.log.Error("the feed does not continue what this box holds; its data stay as they are and grow stale",
		"position", r.follower.Position().Number, "err", err, "next", next)
}

// recovered ends a trouble.
func (r *runner) recovered() {
	if len(r.trouble.seen) == 0 {
		return
	}
	if r.trouble.logged {
		r.log.Info("the feed continues what this box holds again", "position", r.follower.Position().Number)
	}
	clear(r.trouble.seen)
	r.trouble.logged = false
}

// errOther is the kind of every refusal without one of its own.
var errOther = errors.New("refused")

// refusalKind returns what an operator does about a refusal, and the kind it is
// reported once for.
func refusalKind(err error) (next string, kind error) {
	const renew = "check whether the centre was restored from a backup; if it was, give it a new epoch, see docs/OPERATIONS.md: boxes then load everything by themselves"
	for _, k := range []struct {
		kind error
		next string
	}{
		{ErrOldEpoch, "somebody shows this box an old feed, or the centre's clock is behind: check which centre it is connected to, and that centre's time synchronisation"},
		{ErrNoShards, "wait until the centre has written all shards, some minutes after its start; then its log"},
		{ErrForeignEpoch, "check that the box is connected to the right centre; an old feed is never loaded in place of a newer one"},
		{ErrWentBack, renew},
		{ErrForked, renew},
		{ErrKey, "check that the box is connected to the right centre, whose feed key gateline ops stats shows; gateline check compares [feed] keys, which must hold the one that signed entry 1, with those the box has followed"},
		{ErrRetired, "check whether the centre was restored from a backup with an old key file; if it was not, somebody has that key: see docs/OPERATIONS.md"},
		{ErrSignature, "somebody else writes to this box, or changes what the centre sends: find out who is between the two"},
		{ErrTimeBack, "check the centre's feed and the clock of its publisher"},
		{ErrMissing, "all shards are loaded once the centre has a snapshot of each that is newer; check that its feed keeps entries longer than a cycle of its shards"},
		{ErrVersion, "the centre is of another release than this box: gateline --version on both, update the older one; a feed of version 1 has to be written anew, see docs/OPERATIONS.md"},
		{ErrShard, "check that centre and box run versions that fit each other; somebody else may write to the centre's streams"},
		{ErrEntry, "check that centre and box run versions that fit each other"},
	} {
		if errors.Is(err, k.kind) {
			return k.next, k.kind
		}
	}
	return "check the centre's server", errOther
}
