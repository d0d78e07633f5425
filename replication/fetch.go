package replication

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// fetchBatch bounds the messages of one answer, so that they fit the channel
// they wait in.
const fetchBatch = 1024

// answerBytes bounds what an answer may bring beyond the bytes that were asked for:
// a message that is begun is sent whole.
const answerBytes = MaxSnapshotSize

// Headers of an answer to a batched Direct Get (NATS ADR-31).
const (
	headerStatus      = "Status"
	headerDescription = "Description"
	headerSequence    = "Nats-Sequence"
	headerLast        = "Nats-Last-Sequence"
	headerPending     = "Nats-Num-Pending"
)

// Status codes of an answer that carries no entry.
const (
	statusEndOfBatch   = "204"
	statusNotFound     = "404"
	statusNoResponders = "503"
)

// fetch is the one question that is out: for a window of missed entries, or for
// what a load needs.
type fetch struct {
	prefix   string // of the subjects answers come to
	serial   uint64
	active   bool
	verify   bool   // it starts at the entry we stand at, not at the next
	from     uint64 // our position when it was asked for
	subject  string
	deadline time.Time
	// messages and bytes are what the answer has brought so far.
	messages, bytes int
}

// directGet is the body of the request.
type directGet struct {
	Seq      uint64 `json:"seq"`
	Batch    int    `json:"batch"`
	MaxBytes int    `json:"max_bytes"`
}

// startFetch asks for the entries after our position. Where the centre has not
// yet shown that it has the entry we stand at, it asks for that one too: a feed
// that was replaced or restored then shows at once, also where it is silent.
func (r *runner) startFetch(now time.Time) {
	f, at := &r.fetch, r.follower.Position().Number
	f.verify, f.from = !r.verified && at > 0, at
	r.nextPoll = now.Add(r.cfg.PollInterval)
	request := directGet{Seq: at + 1, Batch: fetchBatch, MaxBytes: r.cfg.WindowBytes}
	if f.verify {
		request.Seq = at
	} else {
		r.absent = 0
	}
	body, err := json.Marshal(request)
	if err == nil {
		err = r.question(SubjectFetch, body, now)
	}
	if err != nil {
		r.log.Debug("fetch", "err", err)
		r.abandon(now)
		return
	}
	r.stats.fetches.Add(1)
}

// question sends a request; what was asked before is given up.
func (r *runner) question(subject string, body []byte, now time.Time) error {
	f := &r.fetch
	f.serial++
	f.active, f.subject = true, f.prefix+strconv.FormatUint(f.serial, 10)
	f.messages, f.bytes = 0, 0
	f.deadline = now.Add(r.cfg.FetchTimeout)
	return r.nc.PublishRequest(subject, f.subject, body)
}

// abandon ends a fetch that came to nothing; the next one has to wait.
func (r *runner) abandon(now time.Time) {
	r.fetch.active = false
	r.nextPoll = now.Add(fetchRetry)
}

// noAnswer abandons a fetch that nobody answered.
func (r *runner) noAnswer(now time.Time) {
	if r.load.active {
		r.loadFailed(fmt.Errorf("%w: it does not answer about them", ErrNoShards), now)
		return
	}
	r.abandon(now)
	if r.unanswered++; r.unanswered == unansweredLimit {
		r.log.Warn("the centre is connected and does not answer about its feed; it is asked again; check that its publisher and its JetStream run",
			"centre", r.cfg.CentreURL)
	}
}

// answer takes one message of the answer to the running fetch.
func (r *runner) answer(ctx context.Context, m *nats.Msg) {
	if !r.fetch.active || m.Subject != r.fetch.subject {
		return // of a fetch that was given up
	}
	now := r.cfg.Now()
	if r.fetch.messages, r.fetch.bytes = r.fetch.messages+1, r.fetch.bytes+len(m.Data); r.endless() {
		r.tooMuch(ctx, now)
		return
	}
	if r.load.active {
		r.loadAnswer(ctx, m, now)
		return
	}
	switch m.Header.Get(headerStatus) {
	case statusNoResponders:
		// From the box's own server: the link is down, or the centre has no
		// feed yet.
		r.noAnswer(now)
		return
	case "":
		r.heardNow()
		r.fetched(ctx, m)
	case statusEndOfBatch:
		r.heardNow()
		r.endOfWindow(m, now)
	case statusNotFound:
		r.heardNow()
		r.notFound(now)
	default:
		r.heardNow()
		r.abandon(now)
		r.refuse(fmt.Errorf("fetch from the centre's feed: it answers %.40q %.80q",
			m.Header.Get(headerStatus), m.Header.Get(headerDescription)))
	}
	r.fetch.deadline = r.cfg.Now().Add(r.cfg.FetchTimeout)
}

// endless reports whether the answer is longer than the question allows, its end
// included. Nobody shall fill our memory or keep us from asking again.
func (r *runner) endless() bool {
	return r.fetch.messages > fetchBatch+1 || r.fetch.bytes > max(r.cfg.WindowBytes, headBytes)+answerBytes
}

// tooMuch gives up an endless answer.
func (r *runner) tooMuch(ctx context.Context, now time.Time) {
	err := fmt.Errorf("fetch from the centre: its answer is longer than was asked for, %d messages with %d bytes so far", r.fetch.messages, r.fetch.bytes)
	if r.load.active {
		r.loadFailed(err, now)
		return
	}
	r.abandon(now)
	if r.flush(ctx) {
		r.refuse(err)
	}
}

// notFound is the answer where the feed holds nothing from the number on that
// was asked for. A server of several may still be catching up with the others.
func (r *runner) notFound(now time.Time) {
	if at := r.follower.Position().Number; r.fetch.verify {
		if r.absent++; r.absent < absentLimit {
			r.abandon(now)
			return
		}
		r.fetch.active = false
		r.refuse(fmt.Errorf("%w: it ends before entry %d, position of this box", ErrWentBack, at))
		return
	}
	r.verified = true
	r.follower.Asked(r.follower.Position().Number)
	r.windowDone(0, now)
}

// fetched takes one entry of the answer.
func (r *runner) fetched(ctx context.Context, m *nats.Msg) {
	sequence, last, pending, err := window(m)
	var e Signed
	if err == nil {
		e, err = DecodeEntry(m.Data)
	}
	if err == nil && e.Number != sequence {
		err = fmt.Errorf("%w: number %d at place %d of the stream", ErrEntry, e.Number, sequence)
	}
	action := ActionRefuse
	if err == nil {
		// The first of its window is no message lost on the way.
		action, err = r.follower.Step(&e, last == 0)
	}
	if action != ActionApply && !r.flush(ctx) {
		return
	}
	switch action {
	case ActionLoad:
		r.leadsNowhere(&e, err)
		return
	case ActionRefuse:
		r.fetch.active = false
		r.refuse(err)
		return
	case ActionGap:
		r.abandon(r.cfg.Now())
		return
	}
	r.follower.Asked(sequence + pending)
	if action == ActionApply {
		r.apply(ctx, &e)
		return
	}
	if !r.fetch.verify || e.Number != r.fetch.from {
		r.stats.repeats.Add(1)
	}
	if e.Number == r.follower.Position().Number {
		r.verified = true
		r.recovered()
	}
}

// leadsNowhere is where the feed, whose entry e says so, does not lead on from
// what the box holds: shards do.
func (r *runner) leadsNowhere(e *Signed, reason error) {
	l, now := load{reason: reason}, r.cfg.Now()
	if at := r.follower.Position(); at.Epoch == 0 || e.Epoch == at.Epoch {
		l.need = e.Number - 1
	}
	if !r.startLoad(l, now) {
		r.abandon(now)
		r.refuse(reason)
	}
}

// endOfWindow asks for the next window until nothing is pending.
func (r *runner) endOfWindow(m *nats.Msg, now time.Time) {
	pending, err := strconv.ParseUint(strings.TrimSpace(m.Header.Get(headerPending)), 10, 64)
	if err != nil {
		r.abandon(now)
		r.refuse(fmt.Errorf("fetch from the centre's feed: its answer has no %s", headerPending))
		return
	}
	r.windowDone(pending, now)
}

func (r *runner) windowDone(pending uint64, now time.Time) {
	f, at := &r.fetch, r.follower.Position().Number
	f.active = false
	// A live entry that came while this window was under way may be newer than
	// the window's count of what is pending.
	missed := r.heard > at
	r.heard = 0
	switch {
	case r.follower.Position().Epoch != 0 && !r.whole():
		r.nextPoll = now // a purge has left shards to be loaded
	case pending == 0 && !missed:
	case missed || at > f.from || f.verify && r.verified:
		r.startFetch(now)
	default:
		// The window brought nothing although there is more; do not spin.
		r.abandon(now)
	}
}

// window reads where in its answer an entry stands. last is 0 for the first
// entry of a window.
func window(m *nats.Msg) (sequence, last, pending uint64, err error) {
	for _, h := range []struct {
		name  string
		value *uint64
	}{{headerSequence, &sequence}, {headerLast, &last}, {headerPending, &pending}} {
		if *h.value, err = strconv.ParseUint(m.Header.Get(h.name), 10, 64); err != nil {
			return 0, 0, 0, fmt.Errorf("fetch from the centre's feed: its answer has no %s", h.name)
		}
	}
	return sequence, last, pending, nil
}
