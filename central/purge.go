package central

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"gateline/central/rules"
	"gateline/gateway"
)

// SubjectPolicyPurge is that of the end of a policy.
const SubjectPolicyPurge = "gateline.ops.policy.purge"

// purgeCommand erases everything of the registry, here and in every box, because what
// it was held for has ended (IMP-10). Where policy is not zero it is the effective
// instant of the document that has to be in force.
type purgeCommand struct{ policy time.Time }

func (purgeCommand) isCommand() {}

type purgeRequest struct {
	Policy time.Time `json:"policy,omitzero"`
}

func parsePurge(_ *door, data []byte) (command, *Refusal) {
	var q purgeRequest
	if len(data) > 0 {
		if refusal := decodeRequest(data, maxSmallRequest, "policy", &q); refusal != nil {
			return nil, refusal
		}
	}
	return purgeCommand{policy: q.Policy}, nil
}

// Purge erases everything of the registry, here and in every box, if the policy has
// ended; with a policy that is not zero, only if the document from that instant is the
// one in force. Changed counts the credentials that were bound, at least 1.
func (c *Client) Purge(ctx context.Context, policy time.Time) (Done, error) {
	return c.command(ctx, SubjectPolicyPurge, purgeRequest{Policy: policy})
}

// decidePurge decides on the end. An order's instant is after that of the one before.
func (s *state) decidePurge(c purgeCommand, now time.Time) decision {
	if refusal := notOver(s.schedule, c.policy, now); refusal != nil {
		return decision{refusal: refusal}
	}
	if s.registry.Empty() {
		return decision{}
	}
	return decision{
		events:  []event{{erased: max(now.UnixMicro(), s.erased+1)}},
		changed: max(1, s.credentials()),
	}
}

// notOver refuses to erase what a document needs, now or later.
func notOver(s *gateway.Schedule, policy, now time.Time) *Refusal {
	if s == nil {
		return noPolicy()
	}
	p := s.At(now)
	switch {
	case p == nil:
		return refuse(CodeNotOver, "the first document holds from %s only", instant(s.Policies[0].Effective))
	case !policy.IsZero() && !policy.Equal(p.Effective):
		return refuse(CodeNotOver, "the document in force is the one from %s, not from %s", instant(p.Effective), instant(policy))
	case !p.Ended(now) && !p.OffEverywhere():
		return refuse(CodeNotOver, "the document from %s is in force, not in mode off at every station, and no sunset of it has passed; set the mode or the sunset first", instant(p.Effective))
	}
	for i := range s.Policies {
		if later := &s.Policies[i]; later.Effective.After(now) && !later.OffEverywhere() {
			return refuse(CodeNotOver, "the document from %s needs the records again; replace it by one in mode off first", instant(later.Effective))
		}
	}
	return nil
}

func instant(t time.Time) string { return t.In(gateway.Zone).Format(time.RFC3339) }

// rulesAt returns the rules as they are at now: once the policy has ended no top-up
// needs an upgraded card (IMP-10).
func (s *state) rulesAt(now time.Time) *rules.Rules {
	var erased time.Time
	if s.erased != 0 {
		erased = time.UnixMicro(s.erased)
	}
	p := s.schedule.At(now)
	if p == nil || !p.TopUpLifted(now, erased) {
		return s.rules
	}
	lifted := *s.rules
	lifted.TopUpFrom = time.Time{}
	return &lifted
}

// appendErased appends the line of an end; readErased is its inverse.
func appendErased(b []byte, at int64) ([]byte, error) {
	if at <= 0 {
		return b, fmt.Errorf("write the end of a policy into the ledger: its instant is not above zero")
	}
	b = strconv.AppendInt(append(b, kindErased, ' '), at, 10)
	return append(b, '\n'), nil
}

func readErased(text []byte) (event, bool) {
	f := fields{rest: text}
	at := f.number(1<<63 - 1)
	return event{erased: int64(at)}, at > 0 && f.end()
}
