package central

import (
	"errors"
	"fmt"
	"time"

	"gateline/central/rules"
	"gateline/gateway"
)

// state is what the ledger says: who has which credential and which status, and
// the schedule of policies. decide reads it, apply changes it; neither reads a
// clock, sleeps, logs or fails half-way.
type state struct {
	rules    *rules.Rules
	registry *rules.Memory
	schedule *gateway.Schedule
	// erased is the instant of the last order to erase everything of the registry, in
	// Unix microseconds; 0 = there was none.
	erased int64
}

func newState(r *rules.Rules) *state { return &state{rules: r, registry: rules.NewMemory()} }

// decision is what a command means: events, none where it asks for what is so
// already, and what its caller is told.
type decision struct {
	events  []event
	changed int // how many of them are not about the request itself
	answer  rules.Answer
	refusal *Refusal
}

// decide does not change the state.
func (s *state) decide(c command, now time.Time) decision {
	switch c := c.(type) {
	case registryCommand:
		events, answer, refusal := rules.Decide(s.registry, s.rulesAt(now), rules.Request(c), now)
		d := decision{answer: answer, refusal: refusal}
		for _, e := range events {
			d.events = append(d.events, event{registry: e})
			if _, settled := e.(rules.Settled); !settled {
				d.changed++
			}
		}
		return d
	case policyCommand:
		return scheduled(decidePolicy(s.schedule, c, now))
	case stationCommand:
		return scheduled(decideStation(s.schedule, c, now))
	case purgeCommand:
		return s.decidePurge(c, now)
	case readPolicy:
		if s.schedule == nil {
			return decision{refusal: noPolicy()}
		}
	}
	return decision{}
}

func scheduled(events []event, refusal *Refusal) decision {
	return decision{events: events, changed: len(events), refusal: refusal}
}

// errImpossible is wrapped when an event does not fit the state it is applied
// to: the ledger is damaged, or was written by rules that this version does
// not know.
var errImpossible = errors.New("the event does not fit the state")

// apply changes the state by an event and appends the record changes that it
// means for boxes, at most rules.MaxPerPerson of them and at most one per token.
// An error wraps errImpossible and leaves the state as it was.
func (s *state) apply(e *event, changes []gateway.Change) ([]gateway.Change, error) {
	before := changes
	if e.registry != nil {
		changes = rules.Changes(s.registry, e.registry, changes)
	}
	if err := s.applyAlone(e); err != nil {
		return before, err
	}
	return changes, nil
}

// applyAlone is apply where nobody asks what the event means for boxes.
func (s *state) applyAlone(e *event) error {
	switch {
	case e.erased != 0:
		s.registry, s.erased = rules.NewMemory(), e.erased
		return nil
	case e.registry == nil:
		s.schedule = e.schedule
		return nil
	}
	if err := s.registry.Apply(e.registry); err != nil {
		return fmt.Errorf("%w: %w", errImpossible, err)
	}
	return nil
}

// credentials returns the number of bound credentials.
func (s *state) credentials() int { return s.registry.Stats().Bindings }

// records returns every record a box should hold, in no order.
func (s *state) records() []gateway.Change {
	all := make([]gateway.Change, 0, s.credentials())
	for c := range s.registry.Records() {
		all = append(all, c)
	}
	return all
}
