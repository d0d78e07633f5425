package replication

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"gateline/gateway"
)

// openRunner returns a runner at position 0 whose link counts as up, with its
// first question out; the test hands it what the centre would answer.
func openRunner(t *testing.T) (*runner, *memory, *lines) {
	t.Helper()
	store, log := newMemory(), &lines{}
	box, err := OpenBox(BoxConfig{Station: "s-0407", CentreURL: "nats-leaf://127.0.0.1:1", Store: store, Keys: testKeys, Log: log.logger(),
		Now: func() time.Time { return time.Unix(1_660_000_000, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect("", nats.InProcessServer(box.srv))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nc.Close()
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	})
	r, err := newRunner(box, nc)
	if err != nil {
		t.Fatal(err)
	}
	r.link.up = true
	r.startFetch(r.cfg.Now())
	return r, store, log
}

// encoded returns the entry of a number in a feed of heartbeats.
func encoded(t *testing.T, number uint64) []byte {
	t.Helper()
	var b []byte
	var before gateway.Hash
	for n := uint64(1); n <= number; n++ {
		b = sign(t, 1, Entry{Epoch: 9, Number: n, Time: int64(n), Before: before})
		before = sha256.Sum256(b)
	}
	return b
}

// hand gives the runner one message of the answer to its question.
func (r *runner) hand(t *testing.T, data []byte, headers ...string) {
	t.Helper()
	m := nats.NewMsg(r.fetch.subject)
	m.Data = data
	for i := 0; i < len(headers); i += 2 {
		m.Header.Set(headers[i], headers[i+1])
	}
	r.answer(t.Context(), m)
	r.flush(t.Context()) // nothing else waits
}

func (r *runner) handEntry(t *testing.T, number, last, pending uint64) {
	t.Helper()
	r.hand(t, encoded(t, number), headerSequence, fmt.Sprint(number), headerLast, fmt.Sprint(last), headerPending, fmt.Sprint(pending))
}

func TestWindowThenNext(t *testing.T) {
	t.Parallel()
	r, store, _ := openRunner(t)
	r.handEntry(t, 1, 0, 4)
	r.handEntry(t, 2, 1, 3)
	r.hand(t, nil, headerStatus, statusEndOfBatch, headerPending, "3")
	if !r.fetch.active || r.fetch.serial != 2 || r.fetch.verify {
		t.Errorf("after a window with 3 pending: %+v", r.fetch)
	}
	for n := uint64(3); n <= 5; n++ {
		r.handEntry(t, n, n-1, 5-n)
	}
	r.hand(t, nil, headerStatus, statusEndOfBatch, headerPending, "0")
	if r.fetch.active || store.at() != 5 || store.complete != 5 {
		t.Errorf("at the end: %+v, position %d, complete at %d", r.fetch, store.at(), store.complete)
	}
}

// A live entry that came while a window was under way may be newer than the
// window's count of what is pending.
func TestLiveEntryDuringFetch(t *testing.T) {
	t.Parallel()
	r, store, _ := openRunner(t)
	r.liveEntry(t.Context(), encoded(t, 2))
	if r.fetch.serial != 1 {
		t.Error("a second question while one is out")
	}
	r.handEntry(t, 1, 0, 0)
	r.hand(t, nil, headerStatus, statusEndOfBatch, headerPending, "0")
	if !r.fetch.active || r.fetch.serial != 2 {
		t.Errorf("entry 2 is not asked for: %+v", r.fetch)
	}
	r.hand(t, nil, headerStatus, statusNotFound)
	if r.fetch.active || store.at() != 1 {
		t.Errorf("it asks for ever: %+v", r.fetch)
	}
}

func TestAnswersThatDoNotFit(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		hand    func(*testing.T, *runner)
		refused uint64
	}{
		"no responders":     {func(t *testing.T, r *runner) { r.hand(t, nil, headerStatus, statusNoResponders) }, 0},
		"entry lost on way": {func(t *testing.T, r *runner) { r.handEntry(t, 3, 2, 0) }, 0},
		"bad request":       {func(t *testing.T, r *runner) { r.hand(t, nil, headerStatus, "408", headerDescription, "Bad") }, 1},
		"no headers":        {func(t *testing.T, r *runner) { r.hand(t, encoded(t, 1)) }, 1},
		"end without count": {func(t *testing.T, r *runner) { r.hand(t, nil, headerStatus, statusEndOfBatch) }, 1},
		"not at its place": {func(t *testing.T, r *runner) {
			r.hand(t, encoded(t, 1), headerSequence, "2", headerLast, "0", headerPending, "0")
		}, 1},
		"not an entry": {func(t *testing.T, r *runner) {
			r.hand(t, []byte("hello"), headerSequence, "1", headerLast, "0", headerPending, "0")
		}, 1},
		"nothing, yet more":  {func(t *testing.T, r *runner) { r.hand(t, nil, headerStatus, statusEndOfBatch, headerPending, "7") }, 0},
		"end of an old feed": {func(t *testing.T, r *runner) { r.hand(t, nil, headerStatus, statusNotFound) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, store, log := openRunner(t)
			test.hand(t, r)
			if r.fetch.active || r.fetch.serial != 1 || !r.nextPoll.After(r.cfg.Now()) {
				t.Errorf("the question is not over, or asked again at once: %+v", r.fetch)
			}
			if got := r.stats.refused.Load(); got != test.refused || log.count("next=") != int(test.refused) {
				t.Errorf("%d refused, want %d:\n%s", got, test.refused, log)
			}
			if store.at() != 0 {
				t.Error("something was applied")
			}
		})
	}
}

// Where the feed has lost what the box needs, shards are asked for; where that
// was tried a moment ago, it is said.
func TestFirstIsMissing(t *testing.T) {
	t.Parallel()
	r, store, log := openRunner(t)
	r.handEntry(t, 3, 0, 0)
	if !r.load.active || r.load.stage != stageHead || r.load.need != 2 || !errors.Is(r.load.reason, ErrMissing) {
		t.Errorf("no shards are asked for: %+v", r.load)
	}
	r.hand(t, nil, headerStatus, statusNotFound)
	if r.load.active || !r.fetch.active {
		t.Errorf("the feed is not asked again: %+v", r.load)
	}
	r.handEntry(t, 3, 0, 0)
	if r.load.active || r.fetch.active || r.stats.refused.Load() != 2 || log.count(ErrMissing.Error()) != 1 || log.count(ErrNoShards.Error()) != 1 {
		t.Errorf("asked again at once, or not reported: %+v\n%s", r.load, log)
	}
	if store.at() != 0 {
		t.Error("something was applied")
	}
}

func TestAnswerOfOldFetch(t *testing.T) {
	t.Parallel()
	r, store, _ := openRunner(t)
	old := nats.NewMsg(r.fetch.subject)
	old.Header.Set(headerStatus, statusEndOfBatch)
	r.noAnswer(r.cfg.Now())
	r.answer(t.Context(), old)
	r.startFetch(r.cfg.Now())
	r.answer(t.Context(), old)
	if !r.fetch.active || store.at() != 0 || r.stats.refused.Load() != 0 {
		t.Errorf("an old answer ended the new question: %+v", r.fetch)
	}
}

// The same trouble, gone and back within a minute, is one line and not many.
func TestTroubleIsLoggedOnce(t *testing.T) {
	t.Parallel()
	r, _, log := openRunner(t)
	now := time.Unix(1_660_000_000, 0)
	r.cfg.Now = func() time.Time { return now }
	for range 5 {
		r.refuse(fmt.Errorf("%w: entry 1", ErrForeignEpoch))
		r.refuse(fmt.Errorf("%w: entry 2", ErrWentBack))
		r.refuse(errors.New("something else"))
		r.refuse(fmt.Errorf("%w: entry 3", ErrForeignEpoch))
		r.recovered()
	}
	if n, back := log.count("level=ERROR"), log.count("level=INFO"); n != 3 || back != 1 {
		t.Errorf("%d troubles and %d ends reported, want 3 and 1:\n%s", n, back, log)
	}
	now = now.Add(sameReportAfter)
	r.refuse(fmt.Errorf("%w: entry 4", ErrForeignEpoch))
	if n := log.count("level=ERROR"); n != 4 {
		t.Errorf("a minute later: %d reports, want 4", n)
	}
}

// A server that lags behind the others has not got our entry yet; a feed that was
// restored never gets it.
func TestAbsentEntryIsAskedForAgain(t *testing.T) {
	t.Parallel()
	r, _, log := openRunner(t)
	r.handEntry(t, 1, 0, 0)
	r.hand(t, nil, headerStatus, statusEndOfBatch, headerPending, "0")
	absent := func(times int) {
		t.Helper()
		for range times {
			r.startFetch(r.cfg.Now())
			if !r.fetch.verify {
				t.Fatal("it does not ask for the entry it stands at")
			}
			r.hand(t, nil, headerStatus, statusNotFound)
			if r.fetch.active {
				t.Error("the question is not over")
			}
		}
	}
	r.verified = false
	absent(absentLimit - 1)
	r.startFetch(r.cfg.Now())
	r.handEntry(t, 1, 0, 0)
	r.hand(t, nil, headerStatus, statusEndOfBatch, headerPending, "0") // and asks what follows
	r.startFetch(r.cfg.Now())
	r.verified = false
	absent(absentLimit - 1)
	if n := r.stats.refused.Load(); n != 0 {
		t.Errorf("%d refused:\n%s", n, log)
	}
	absent(1)
	if n := r.stats.refused.Load(); n != 1 || log.count(ErrWentBack.Error()) != 1 {
		t.Errorf("%d refused:\n%s", n, log)
	}
}

// An answer that brings more than was asked for is given up, whatever is in it: it
// would fill the memory, or keep the box from ever asking again.
func TestEndlessAnswer(t *testing.T) {
	t.Parallel()
	announcement := sign(t, 1, Entry{Epoch: 9, Number: 1, Time: 1, NextKey: testSecret(2).Public(), Changes: randomChanges(gateway.MaxChanges)})
	for name, test := range map[string]struct {
		ask  func(*runner)
		hand func(*runner)
		most int
	}{
		"entries": {func(*runner) {}, func(r *runner) { r.handEntry(t, 1, 0, 0) }, fetchBatch + 2},
		"announcements": {
			func(r *runner) { r.startLoad(load{}, r.cfg.Now()) },
			func(r *runner) { r.hand(t, announcement, headerSubject, subjectOfKey(1)) },
			(headBytes+answerBytes)/len(announcement) + 1,
		},
		"snapshots nobody asked for": {
			func(r *runner) {
				r.startLoad(load{}, r.cfg.Now())
				r.load.stage = stageShards
			},
			func(r *runner) { r.hand(t, nil, headerSubject, subjectOfShard(1)) }, fetchBatch + 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _, log := openRunner(t)
			test.ask(r)
			serial := r.fetch.serial
			for n := 1; r.fetch.active && r.fetch.serial == serial; n++ {
				if n > test.most {
					t.Fatalf("%d messages, and it listens on", n-1)
				}
				test.hand(r)
			}
			if r.load.active || log.count("longer than was asked for") != 1 {
				t.Errorf("%+v\n%s", r.load, log)
			}
		})
	}
}

// A window that was to show the entry we stand at, and brings nothing although there is
// more, is not asked for again at once.
func TestVerifyingWindowBringsNothing(t *testing.T) {
	t.Parallel()
	r, _, _ := openRunner(t)
	r.handEntry(t, 1, 0, 0)
	r.hand(t, nil, headerStatus, statusEndOfBatch, headerPending, "0")
	r.verified = false
	r.startFetch(r.cfg.Now())
	r.hand(t, nil, headerStatus, statusEndOfBatch, headerPending, "7")
	if r.fetch.active || !r.nextPoll.After(r.cfg.Now()) {
		t.Errorf("asked again at once: %+v", r.fetch)
	}
}
