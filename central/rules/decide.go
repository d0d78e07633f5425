package rules

import "time"

// Decide returns the events that a request means, in order, and its answer; or
// a refusal. It reads the state and does not change it. Nothing is decided by
// halves: a refused request has no event but that it was settled.
func Decide(view View, r *Rules, q Request, now time.Time) ([]Event, Answer, *Refusal) {
	if refusal := q.malformed(); refusal != nil {
		return nil, Answer{}, refusal
	}
	_, reads := q.Command.(reader)
	keep := q.ID != "" && !reads
	settled := Settled{Request: q.key()}
	if keep {
		settled.Print = fingerprint(q.Command)
		if before, ok := view.Settled(settled.Request); ok {
			return again(before, settled)
		}
	}
	events, answer, refusal := decideNow(view, r, q, now)
	if !keep || refusal.ofForm() {
		return events, answer, refusal
	}
	settled.Outcome = answer.Outcome
	if refusal != nil {
		settled.Outcome = Outcome{Code: refusal.Code}
	}
	return append(events, settled), answer, refusal
}

// again answers a request that was settled before.
func again(before, now Settled) ([]Event, Answer, *Refusal) {
	switch {
	case before.Print != now.Print:
		return nil, Answer{}, malformed("request id: it stands for another command already; give every command one of its own")
	case before.Outcome.Code != "":
		return nil, Answer{}, refuse(before.Outcome.Code)
	}
	return nil, Answer{Outcome: before.Outcome}, nil
}

func decideNow(view View, r *Rules, q Request, now time.Time) ([]Event, Answer, *Refusal) {
	if !r.Entitled(q.Channel, q.Command, now) {
		return nil, Answer{}, NotEntitled()
	}
	d := newDraft(view, r, q.Channel, now)
	answer, refusal := q.Command.decide(d)
	if refusal != nil {
		return nil, Answer{}, refusal
	}
	d.admitWaiting()
	return d.events, answer, nil
}

// done and already are the answers of commands with nothing else to say.
func done() Answer    { return Answer{Outcome: Outcome{Result: ResultDone}} }
func already() Answer { return Answer{Outcome: Outcome{Result: ResultAlready}} }
