package replication

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"gateline/gateway"
)

const (
	// shardsPerWindow bounds the shards of one question. Its bytes are bounded
	// too, so with large shards a window holds fewer.
	shardsPerWindow = 64
	// headBytes bounds the answer with the head and the announcements of keys:
	// the largest schedule, and some hundred announcements.
	headBytes = 1 << 20
	// announcedLimit bounds the announcements of one epoch.
	announcedLimit = 1000
	// progressEvery is how often a long load reports how far it is.
	progressEvery = 5 * time.Second
	// headerSubject names the subject of a message in an answer.
	headerSubject = "Nats-Subject"
)

// loadStage is what a load asks for.
type loadStage uint8

const (
	stageHead   loadStage = iota // the head and the announcements of keys
	stageShards                  // a window of shards that are lacking
	stageAnchor                  // the entry that the oldest shard reaches
)

// load is how a box gets whole shards: all of them at its start, after a gap and
// where the centre began a new epoch, or one that a checkpoint has found to
// differ. What is loaded stands in the store's marks, so a load that was broken
// off asks for the rest.
//
// Nothing is followed meanwhile. A box without data takes the position of the
// oldest shard with the first window, so that what is loaded answers; one with
// data keeps its position, and what it has, until every shard is of the new
// history. One that has missed a purge erases what it has first.
type load struct {
	active bool
	stage  loadStage
	reason error            // nil = a first load, or the rest of one
	repair *gateway.ShardID // the one shard to load; nil = all
	mended bool             // it is loaded
	// need is the least number that a shard of epoch has to reach.
	need, epoch uint64

	head      Head
	announced []Signed
	headSeen  bool
	terms     []gateway.KeyTerm

	asked  []gateway.ShardID // and not yet answered
	window []gateway.Shard
	moved  bool // the window has brought something, if only to refuse
	// bad are shards whose snapshot was refused; err is the first reason.
	bad map[gateway.ShardID]bool
	err error

	// next is when another attempt may be made.
	next time.Time
	// started is when the first shard was asked for; zero = nothing to report.
	started, reported time.Time
	records           uint64
}

// lastFor is the body of a request for the last message of each subject.
type lastFor struct {
	MultiLast []string `json:"multi_last"`
	MaxBytes  int      `json:"max_bytes"`
}

// whole reports whether every shard is of the epoch the box follows. Only then
// the feed may be followed, or where the box rests and wants no shard.
func (r *runner) whole() bool {
	at := r.follower.Position()
	return at.Epoch != 0 && (r.resting() || !slices.ContainsFunc(r.marks, func(m gateway.ShardMark) bool { return m.Epoch != at.Epoch }))
}

// ask asks for what the box needs next: shards, or entries of the feed.
func (r *runner) ask(now time.Time) {
	switch {
	case r.whole():
		r.startFetch(now)
	case r.startLoad(load{}, now):
	case r.follower.Position().Epoch == 0:
		r.startFetch(now)
	default: // nothing can be followed from some of the shards
		r.nextPoll = r.load.next
	}
}

// startLoad begins to load what l says, or, if it is too soon after the last
// attempt, reports false.
func (r *runner) startLoad(l load, now time.Time) bool {
	if now.Before(r.load.next) {
		return false
	}
	l.active, l.next, l.bad = true, now.Add(r.cfg.PollInterval), map[gateway.ShardID]bool{}
	r.load = l
	r.verified = false
	r.askLoad(stageHead, SubjectFetchShards, lastFor{MultiLast: []string{subjectKeys + ">", subjectHead}, MaxBytes: headBytes}, now)
	return true
}

func (r *runner) askLoad(stage loadStage, subject string, body any, now time.Time) {
	r.load.stage = stage
	text, err := json.Marshal(body)
	if err == nil {
		err = r.question(subject, text, now)
	}
	if err != nil {
		r.loadFailed(err, now)
	}
}

// loadFailed ends an attempt. The feed is asked whether it leads on; a box that
// has not got all shards has nothing to go on from and waits.
func (r *runner) loadFailed(err error, now time.Time) {
	l := &r.load
	l.active, r.fetch.active = false, false
	switch {
	case l.repair != nil:
		r.stats.refused.Add(1)
		r.log.Warn("a shard that differs could not be loaded again", "shard", *l.repair, "err", err)
	case l.reason == nil && errors.Is(err, ErrNoShards) && r.follower.Position().Epoch == 0:
		// A first load without snapshots is none: the feed begins at entry 1.
	default:
		r.refuse(err)
	}
	if l.repair == nil {
		r.stats.loading.Store(false)
	}
	r.nextPoll = l.next
	if r.follower.Position().Epoch == 0 || r.whole() {
		r.startFetch(now)
	}
}

// loadAnswer takes one message of the answer to the load's question.
func (r *runner) loadAnswer(ctx context.Context, m *nats.Msg, now time.Time) {
	status := m.Header.Get(headerStatus)
	if status != statusNoResponders {
		// Not heardNow: who answers about shards may have no feed.
		r.lastHeard = now
		r.stats.lastHeard.Store(&now)
		r.fetch.deadline = now.Add(r.cfg.FetchTimeout)
	}
	switch status {
	case statusNoResponders, statusNotFound:
		err := fmt.Errorf("%w: it answers %s", ErrNoShards, status)
		if r.load.stage == stageAnchor {
			err = fmt.Errorf("%w: the feed ends before the entry that the shards reach", ErrWentBack)
		}
		r.loadFailed(err, now)
	case "":
		r.loadMessage(m, now)
	case statusEndOfBatch:
		r.loadWindow(ctx, m.Header.Get(headerPending), now)
	default:
		r.loadFailed(fmt.Errorf("fetch from the centre's shards: it answers %.40q %.80q", status, m.Header.Get(headerDescription)), now)
	}
}

func (r *runner) loadMessage(m *nats.Msg, now time.Time) {
	l, subject := &r.load, m.Header.Get(headerSubject)
	var err error
	switch {
	case l.stage == stageShards:
		r.takeSnapshot(subject, m.Data)
		return
	case l.stage == stageHead && subject == subjectHead:
		l.head, err = DecodeHead(m.Data)
		l.headSeen = true
	case len(l.announced) == announcedLimit:
		err = fmt.Errorf("%w: too many changes of the key", ErrEntry)
	default:
		var e Signed
		e, err = DecodeEntry(m.Data)
		l.announced = append(l.announced, e)
	}
	if err != nil {
		r.loadFailed(err, now)
	}
}

// loadWindow is the end of an answer.
func (r *runner) loadWindow(ctx context.Context, pendingText string, now time.Time) {
	l := &r.load
	pending, err := strconv.ParseUint(strings.TrimSpace(pendingText), 10, 64)
	switch {
	case err != nil:
		err = fmt.Errorf("fetch from the centre's shards: its answer has no %s", headerPending)
	case l.stage == stageShards:
		r.loadShards(ctx, now)
		return
	case l.stage == stageAnchor:
		err = r.anchor(ctx, now)
	case pending != 0 || !l.headSeen:
		err = fmt.Errorf("%w: it has no head, or too many changes of the key", ErrNoShards)
	default:
		err = r.takeHead(ctx, now)
	}
	if err != nil {
		r.loadFailed(err, now)
	}
}

// takeHead decides whether there is something to load, and begins.
func (r *runner) takeHead(ctx context.Context, now time.Time) error {
	l, at := &r.load, r.follower.Position()
	if l.repair == nil && !l.head.Complete && !r.resting() {
		return ErrNoShards // a No needs no signature
	}
	terms, err := r.follower.Accept(&l.head, l.announced)
	if err != nil {
		return err
	}
	l.terms, l.epoch = terms, l.head.At.Epoch
	switch {
	case l.repair != nil && l.epoch != at.Epoch:
		return fmt.Errorf("%w: its shards", ErrForeignEpoch)
	case l.repair != nil:
		r.nextShards(now)
		return nil
	case l.epoch == at.Epoch && errors.Is(l.reason, ErrForeignEpoch):
		return l.reason // nobody but that entry knows of another epoch
	}
	if !r.obey(ctx) {
		return nil
	}
	if r.resting() {
		return r.toHead(ctx)
	}
	r.beginShards(now)
	return nil
}

// beginShards says what is loaded, and asks for the first of it.
func (r *runner) beginShards(now time.Time) {
	l, at := &r.load, r.follower.Position()
	lacking := len(r.lacking(gateway.Shards))
	r.stats.shardsToLoad.Store(uint64(lacking))
	r.stats.shardsLoaded.Store(0)
	r.stats.loading.Store(true)
	l.started, l.reported = now, now
	if at.Epoch == 0 || r.holdsNothing() || l.reason == nil && l.epoch == at.Epoch {
		r.log.Info("shards are being loaded; those that are there are of use at once", "shards", lacking)
	} else if r.reloading != l.epoch {
		// Once, however often the link breaks it off.
		r.reloading = l.epoch
		r.log.Warn("all shards are being loaded anew, because the feed does not lead on from what this box holds; it answers from that until all are there",
			"shards", lacking, "position", at.Number, "reason", l.reason)
	}
	r.nextShards(now)
}

// lacking returns the first shards, at most so many, that are still to be
// loaded.
func (r *runner) lacking(most int) (ids []gateway.ShardID) {
	l := &r.load
	for i, m := range r.marks {
		id := gateway.ShardID(i)
		lacks := m.Epoch != l.epoch || m.Number < l.need
		if l.repair != nil {
			lacks = id == *l.repair && !l.mended
		}
		if lacks && !l.bad[id] && len(ids) < most {
			ids = append(ids, id)
		}
	}
	return ids
}

// nextShards asks for the next window, or ends the load.
func (r *runner) nextShards(now time.Time) {
	l := &r.load
	l.asked, l.window = r.lacking(shardsPerWindow), nil
	l.moved = false
	if len(l.asked) == 0 {
		r.loadedAll(now)
		return
	}
	request := lastFor{MaxBytes: r.cfg.WindowBytes}
	for _, id := range l.asked {
		request.MultiLast = append(request.MultiLast, subjectOfShard(id))
	}
	r.askLoad(stageShards, SubjectFetchShards, request, now)
}

// takeSnapshot adds a snapshot to the window, if it is genuine and of use.
func (r *runner) takeSnapshot(subject string, data []byte) {
	l := &r.load
	i := slices.IndexFunc(l.asked, func(id gateway.ShardID) bool { return subject == subjectOfShard(id) })
	if i < 0 {
		return // not asked for
	}
	id := l.asked[i]
	l.asked = slices.Delete(l.asked, i, i+1) // a second one is not asked for
	l.moved = true
	s, err := DecodeSnapshot(data)
	if err == nil {
		err = r.checkSnapshot(&s, id)
	}
	if err != nil {
		l.bad[id] = true
		if l.err == nil {
			l.err = fmt.Errorf("shard %d: %w", id, err)
		}
		return
	}
	l.window = append(l.window, s.Shard)
	l.records += uint64(len(s.Shard.Records))
	r.stats.loadedBytes.Add(uint64(len(data)))
}

func (r *runner) checkSnapshot(s *Snapshot, id gateway.ShardID) error {
	l, at, key := &r.load, s.Shard.At, r.load.terms[len(r.load.terms)-1].Key
	mine := r.follower.Position()
	switch {
	case s.Shard.ID != id:
		return fmt.Errorf("%w: it is shard %d", ErrShard, s.Shard.ID)
	case at.Epoch != l.epoch:
		return fmt.Errorf("%w: its snapshot", ErrForeignEpoch)
	case s.Signer != key.ID():
		return fmt.Errorf("%w: key %v", ErrKey, s.Signer)
	case !s.Verify(key):
		return fmt.Errorf("%w: its snapshot", ErrSignature)
	case s.ScheduleAt > l.head.ScheduleAt:
		return fmt.Errorf("%w: its snapshot is newer than the head; it is asked for again", ErrNoShards)
	case at.Number < l.need:
		return fmt.Errorf("%w: its snapshot is from entry %d, the feed begins after it", ErrMissing, at.Number)
	case l.repair != nil && (at.Number < mine.Number || at.Number == mine.Number && at.Hash != mine.Hash):
		return fmt.Errorf("%w: its snapshot is from entry %d, position of this box %d", ErrWentBack, at.Number, mine.Number)
	}
	return nil
}

// loadShards hands the window to the store and asks for the next.
func (r *runner) loadShards(ctx context.Context, now time.Time) {
	l, at := &r.load, r.follower.Position()
	switch {
	case !l.moved:
		r.loadFailed(fmt.Errorf("%w: none of shard %d", ErrNoShards, l.asked[0]), now)
		return
	case len(l.window) == 0:
		r.nextShards(now)
		return
	}
	slices.SortFunc(l.window, func(x, y gateway.Shard) int { return int(x.ID) - int(y.ID) })
	load := gateway.Load{Shards: l.window}
	oldest := slices.MinFunc(l.window, func(x, y gateway.Shard) int {
		return int(min(max(int64(x.At.Number-y.At.Number), -1), 1))
	}).At
	if at.Epoch == 0 || l.repair == nil && (r.holdsNothing() || at.Epoch == l.epoch && oldest.Number < at.Number) {
		load.To = &oldest
		load.Schedule, load.Keys = l.head.Schedule, l.terms
	}
	if !r.takeLoad(ctx, &load) {
		return
	}
	if l.mended = true; l.repair == nil {
		r.stats.shardsLoaded.Add(uint64(len(l.window)))
	}
	r.progress(r.cfg.Now())
	r.nextShards(r.cfg.Now())
}

// takeLoad makes the store take l and follows it. It reports false where ctx was
// done before.
func (r *runner) takeLoad(ctx context.Context, l *gateway.Load) bool {
	if !r.insist(ctx, func() error { return r.cfg.Store.Load(*l) }, "shards", len(l.Shards)) {
		return false
	}
	r.marks = r.cfg.Store.Marks()
	if l.To == nil {
		return true
	}
	r.scheduleAt = r.load.head.ScheduleAt
	r.follower.Moved(*l.To, l.Keys)
	r.stats.position.Store(l.To)
	if r.cfg.OnApplied != nil {
		r.cfg.OnApplied(gateway.Update{To: *l.To, Schedule: l.Schedule, Keys: l.Keys})
	}
	return true
}

// loadedAll is reached where no shard is left to ask for.
func (r *runner) loadedAll(now time.Time) {
	l, at := &r.load, r.follower.Position()
	switch {
	case l.err != nil:
		r.loadFailed(l.err, now)
	case l.repair != nil:
		r.stats.repairs.Add(1)
		r.log.Info("a shard that differed was loaded again", "shard", *l.repair)
		r.loadDone(now)
	case at.Epoch == l.epoch && at.Number >= l.need:
		r.loadDone(now)
	default:
		// The feed says which time and hash belong to where we go.
		r.load.announced = nil
		r.askLoad(stageAnchor, SubjectFetch, directGet{Seq: max(r.reached(), 1), Batch: 1, MaxBytes: r.cfg.WindowBytes}, now)
	}
}

// reached returns the number of the last entry that every shard contains.
func (r *runner) reached() uint64 {
	least := r.marks[0].Number
	for _, m := range r.marks {
		least = min(least, m.Number)
	}
	return least
}

// anchor brings the store, all of whose shards are of the new history, to the
// entry that the oldest of them reaches.
func (r *runner) anchor(ctx context.Context, now time.Time) error {
	l, number := &r.load, r.reached()
	if len(l.announced) != 1 {
		return errors.New("fetch from the centre's feed: it did not answer with one entry")
	}
	e := &l.announced[0]
	if e.Number > max(number, 1) {
		// It expired meanwhile: what is older is loaded once more.
		l.need = e.Number
		r.nextShards(now)
		return nil
	}
	as := Follower{terms: l.terms, trusted: r.cfg.Keys, position: gateway.Position{Number: e.Number}}
	err := as.authenticate(e)
	if err == nil && (e.Epoch != l.epoch || e.Number != max(number, 1)) {
		err = ErrForeignEpoch
	}
	if err != nil {
		return fmt.Errorf("%w: entry %d, which the shards reach", err, e.Number)
	}
	to := gateway.Position{Epoch: l.epoch}
	if number > 0 {
		to = positionOf(e)
	}
	load := gateway.Load{To: &to, Schedule: l.head.Schedule, Keys: l.terms}
	if !r.takeLoad(ctx, &load) {
		return nil
	}
	r.stats.reloads.Add(1)
	r.loadDone(r.cfg.Now())
	return nil
}

// loadDone follows the feed from where the shards have brought the box.
func (r *runner) loadDone(now time.Time) {
	l := &r.load
	l.active, l.next = false, time.Time{}
	if !l.started.IsZero() {
		r.stats.loading.Store(false)
		took := now.Sub(l.started)
		r.log.Info("all shards are loaded; the feed is followed from the oldest", "position", r.follower.Position().Number,
			"records", l.records, "took", took.Round(time.Millisecond), "records_per_second", int64(float64(l.records)/max(took.Seconds(), 1e-3)))
		r.reloading = 0
		r.recovered()
	}
	r.startFetch(now)
}

func (r *runner) progress(now time.Time) {
	l := &r.load
	if l.started.IsZero() || now.Sub(l.reported) < progressEvery {
		return
	}
	l.reported = now
	r.log.Info("shards are being loaded", "loaded", r.stats.shardsLoaded.Load(), "of", r.stats.shardsToLoad.Load(),
		"records_per_second", int64(float64(l.records)/max(now.Sub(l.started).Seconds(), 1e-3)))
}
