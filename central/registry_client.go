package central

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"

	"gateline/central/rules"
	"gateline/replication"
)

// Channel asks the registry's service as one of the channels. A refusal comes
// back as an error of type *Refusal. It may be used by several goroutines at
// once.
type Channel struct {
	conn *nats.Conn
	name rules.Channel
}

// NewChannel returns a Channel over a connection that stays the caller's, and
// whose key has to be that of the channel where the centre asks for one.
func NewChannel(conn *nats.Conn, name rules.Channel) *Channel {
	return &Channel{conn: conn, name: name}
}

// RegistrySubject returns the subject of a verb for a channel.
func RegistrySubject(channel rules.Channel, verb string) string {
	return replication.SubjectRegistry + string(channel) + "." + verb
}

// Upgrade binds a card or a phone's card to its holder (UPG-01).
func (c *Channel) Upgrade(ctx context.Context, q UpgradeRequest) (RegistryReply, error) {
	return c.Do(ctx, VerbUpgrade, q)
}

// Help binds a physical card to the person it belongs to, on a helper's word
// (UPG-05).
func (c *Channel) Help(ctx context.Context, q HelpRequest) (RegistryReply, error) {
	return c.Do(ctx, VerbHelp, q)
}

// Swap ends the binding of one card and binds another in its place (QTA-03).
func (c *Channel) Swap(ctx context.Context, q SwapRequest) (RegistryReply, error) {
	return c.Do(ctx, VerbSwap, q)
}

// Unbind ends a binding (UNB-01).
func (c *Channel) Unbind(ctx context.Context, q UnbindRequest) (RegistryReply, error) {
	return c.Do(ctx, VerbUnbind, q)
}

// AuthoriseRide links a ride-code account to its person (RC-01).
func (c *Channel) AuthoriseRide(ctx context.Context, q RideRequest) (RegistryReply, error) {
	return c.Do(ctx, VerbRideAuthorise, q)
}

// WithdrawRide takes the authorisation back (RC-04).
func (c *Channel) WithdrawRide(ctx context.Context, q RideWithdrawRequest) (RegistryReply, error) {
	return c.Do(ctx, VerbRideWithdraw, q)
}

// Issue is the first top-up of a new card (TOP-04, TOP-05). rules.ResultPending
// says that the sale succeeds and the binding waits for a slot.
func (c *Channel) Issue(ctx context.Context, q IssueRequest) (RegistryReply, error) {
	return c.Do(ctx, VerbCardIssue, q)
}

// Return ends the binding of a card that was given back (UNB-05).
func (c *Channel) Return(ctx context.Context, q CardRequest) (RegistryReply, error) {
	return c.Do(ctx, VerbCardReturn, q)
}

// Replace puts a new card in the place of one (IMP-28).
func (c *Channel) Replace(ctx context.Context, q ReplaceRequest) (RegistryReply, error) {
	return c.Do(ctx, VerbCardReplace, q)
}

// LookUp answers the kind of a card, and nothing of anybody's (NUM-02).
func (c *Channel) LookUp(ctx context.Context, credential string) (RegistryReply, error) {
	return c.Do(ctx, VerbCardLookUp, LookRequest{Credential: credential})
}

// Own answers a person's own bindings, and what was bound for others.
func (c *Channel) Own(ctx context.Context, who Who) (RegistryReply, error) {
	return c.Do(ctx, VerbOwn, OwnRequest{who})
}

// CheckTopUp asks whether a card may be topped up now; T201 says that it has to be
// upgraded first (TOP-01).
func (c *Channel) CheckTopUp(ctx context.Context, credential string) (RegistryReply, error) {
	return c.Do(ctx, VerbTopUpCheck, LookRequest{Credential: credential})
}

// ReportLoss is refused with L301, whoever asks (TOP-08).
func (c *Channel) ReportLoss(ctx context.Context) (RegistryReply, error) {
	return c.Do(ctx, VerbLossReport, emptyRequest{})
}

// ListConcession delivers a part of a list of concession cards (BO-01).
func (c *Channel) ListConcession(ctx context.Context, q ListRequest) (RegistryReply, error) {
	return c.Do(ctx, VerbListConcession, q)
}

// ListStudents delivers a part of a school's batch (BO-03).
func (c *Channel) ListStudents(ctx context.Context, q ListRequest) (RegistryReply, error) {
	return c.Do(ctx, VerbListStudents, q)
}

// ListEnd closes a full delivery of a list (BO-01, IMP-20).
func (c *Channel) ListEnd(ctx context.Context, q ListEndRequest) (RegistryReply, error) {
	return c.Do(ctx, VerbListEnd, q)
}

// ListExpire ends the bindings whose last day is over (BO-03).
func (c *Channel) ListExpire(ctx context.Context, q ListExpireRequest) (RegistryReply, error) {
	return c.Do(ctx, VerbListExpire, q)
}

// WithdrawGuardian ends a student's binding (BO-03).
func (c *Channel) WithdrawGuardian(ctx context.Context, q GuardianRequest) (RegistryReply, error) {
	return c.Do(ctx, VerbGuardianWithdraw, q)
}

// Conflicts lists what waits (BO-02, TOP-05).
func (c *Channel) Conflicts(ctx context.Context, q ConflictsRequest) (RegistryReply, error) {
	return c.Do(ctx, VerbConflictList, q)
}

// Resolve settles what waits for a human (BO-02).
func (c *Channel) Resolve(ctx context.Context, q ResolveRequest) (RegistryReply, error) {
	return c.Do(ctx, VerbConflictResolve, q)
}

// ReportHealth delivers a batch of statuses (IMP-12).
func (c *Channel) ReportHealth(ctx context.Context, q HealthRequest) (RegistryReply, error) {
	return c.Do(ctx, VerbHealthReport, q)
}

// Died ends every binding of a person (IMP-29).
func (c *Channel) Died(ctx context.Context, q PersonRequest) (RegistryReply, error) {
	return c.Do(ctx, VerbPersonDied, q)
}

// Merge makes one person of two (IMP-29).
func (c *Channel) Merge(ctx context.Context, q MergeRequest) (RegistryReply, error) {
	return c.Do(ctx, VerbPersonMerge, q)
}

// Split gives some of a person's cards to another one (IMP-29).
func (c *Channel) Split(ctx context.Context, q SplitRequest) (RegistryReply, error) {
	return c.Do(ctx, VerbPersonSplit, q)
}

// Forget erases a person (PRV-04).
func (c *Channel) Forget(ctx context.Context, q PersonRequest) (RegistryReply, error) {
	return c.Do(ctx, VerbPersonForget, q)
}

// Statistics answers the counters (TIME-04).
func (c *Channel) Statistics(ctx context.Context) (RegistryReply, error) {
	return c.Do(ctx, VerbStatistics, emptyRequest{})
}

// Do asks one of the verbs with a request of its type; each has a method above.
func (c *Channel) Do(ctx context.Context, verb string, q any) (RegistryReply, error) {
	subject := RegistrySubject(c.name, verb)
	data, err := exchange(ctx, c.conn, subject, q)
	if err != nil {
		return RegistryReply{}, err
	}
	var r RegistryReply
	if err := json.Unmarshal(data, &r); err != nil {
		return RegistryReply{}, fmt.Errorf("ask %s: the answer is not one of a centre this program knows; use the same version on both sides: %w", subject, err)
	}
	if !r.OK {
		return RegistryReply{}, &Refusal{Code: r.Code, ZH: r.ZH, EN: r.EN, Detail: r.Detail}
	}
	return r, nil
}
