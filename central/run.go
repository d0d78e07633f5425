package central

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"gateline/gateway"
)

// queue is the bounded way to the writer.
type queue struct {
	items chan item
	// snapshots asks for all records; it does not compete with commands.
	snapshots chan chan []gateway.Change
	// overflow counts commands refused because the queue was full.
	overflow atomic.Uint64

	mu     sync.RWMutex // guards closed and orders it with sends on items
	closed bool
}

func newQueue(size int) *queue {
	return &queue{items: make(chan item, size), snapshots: make(chan chan []gateway.Change)}
}

// put hands a command to the writer, or answers it with E114 at once.
func (q *queue) put(it item) {
	q.mu.RLock()
	defer q.mu.RUnlock()
	if q.closed {
		it.answer(answer{refusal: refuse(CodeBusy, "the centre is stopping; nothing has changed")})
		return
	}
	select {
	case q.items <- it:
	default:
		q.overflow.Add(1)
		it.answer(answer{refusal: refuse(CodeBusy, "%d commands are waiting; nothing has changed", cap(q.items))})
	}
}

// close answers what still waits; put refuses from then on.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	for {
		select {
		case it := <-q.items:
			it.answer(answer{refusal: refuse(CodeBusy, "the centre is stopping; nothing has changed")})
		default:
			return
		}
	}
}

// serve is the writer's loop.
func (w *writer) serve(ctx context.Context, q *queue, heartbeat, shardCycle time.Duration) error {
	// A round that has begun is finished: its outcome would be unknown.
	commitCtx := context.WithoutCancel(ctx)
	timer := time.NewTimer(0) // the first heartbeat says that the centre is back
	defer timer.Stop()
	snaps := newSnapshots(w.feed, shardCycle, w.now())
	due := time.NewTimer(snaps.pause())
	defer due.Stop()
	var overflow uint64
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case reply := <-q.snapshots:
			reply <- w.state.records()
			continue
		case <-timer.C:
			w.kept.mend(commitCtx, w.ledger)
			err = w.publish(commitCtx, w.ledger.last, nil)
			if n := q.overflow.Load(); n != overflow {
				w.log.Warn("commands were refused because the queue is full; slow the callers down or raise the queue's size", "refused", n-overflow, "queue", cap(q.items))
				overflow = n
			}
			timer.Reset(heartbeat)
		case <-due.C:
			err = w.publishSnapshot(commitCtx, snaps)
			due.Reset(snaps.pause())
		case it := <-q.items:
			var published bool
			if published, err = w.serveRound(commitCtx, q, it); published {
				timer.Reset(heartbeat)
			}
		}
		if err != nil {
			return err
		}
	}
}

// serveRound decides a command and those waiting behind it, makes them safe
// together and answers them. It reports whether it published an entry.
func (w *writer) serveRound(ctx context.Context, q *queue, first item) (bool, error) {
	r := &round{state: w.state}
	err := w.decide(r, first)
	for err == nil && !r.full() {
		select {
		case it := <-q.items:
			err = w.decide(r, it)
			continue
		default:
		}
		break
	}
	if err == nil {
		err = w.commit(ctx, r)
	}
	if err == nil {
		err = w.rotate(ctx, r)
	}
	if err != nil {
		for i := range r.taken {
			r.taken[i].item.answer(answer{refusal: refuse(CodeBusy, "the centre has failed; it is not known whether the command took effect, send it again")})
		}
		return false, err
	}
	w.answerAll(r)
	return len(r.batches) > 0, nil
}

func (w *writer) decide(r *round, it item) error {
	err := r.add(it, w.state.decide(it.command, w.now()))
	if err != nil {
		r.taken = append(r.taken, taken{item: it})
	}
	return err
}
