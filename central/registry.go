package central

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"golang.org/x/sync/errgroup"

	"gateline/central/rules"
	"gateline/gateway"
	"gateline/replication"
)

// RegistryName is the NATS service by which channels, the back office and the
// health source reach the registry. SERVICES.md shows a request and a reply of
// each verb.
const RegistryName = "gateline-registry"

// verb is what a channel may ask, how its requests are read, and what kind of command
// they are.
type verb struct {
	name  string
	parse func(*door, []byte) (asked, *Refusal)
	of    rules.Command
}

func verbs() []verb {
	return []verb{
		{VerbUpgrade, parseUpgrade, rules.Upgrade{}},
		{VerbHelp, parseHelp, rules.Help{}},
		{VerbSwap, parseSwap, rules.Swap{}},
		{VerbUnbind, parseRegistryUnbind, rules.Unbind{}},
		{VerbRideAuthorise, parseAuthorise, rules.Authorise{}},
		{VerbRideWithdraw, parseRideWithdraw, rules.Withdraw{}},
		{VerbCardIssue, parseIssue, rules.Issue{}},
		{VerbCardReturn, parseReturn, rules.Return{}},
		{VerbCardReplace, parseReplace, rules.Replace{}},
		{VerbCardLookUp, parseLookUp, rules.LookUp{}},
		{VerbOwn, parseOwn, rules.Own{}},
		{VerbTopUpCheck, parseTopUp, rules.CheckTopUp{}},
		{VerbLossReport, parseLoss, rules.ReportLoss{}},
		{VerbListConcession, parseConcession, rules.Concessions{}},
		{VerbListStudents, parseStudents, rules.Students{}},
		{VerbListEnd, parseListEnd, rules.EndOfList{}},
		{VerbListExpire, parseListExpire, rules.Expire{}},
		{VerbGuardianWithdraw, parseGuardian, rules.WithdrawStudent{}},
		{VerbConflictList, parseConflicts, rules.ListCases{}},
		{VerbConflictResolve, parseResolve, rules.Resolve{}},
		{VerbHealthReport, parseHealth, rules.Reports{}},
		{VerbPersonDied, parsePerson(func(p Person) rules.Command { return rules.Died{Person: p} }), rules.Died{}},
		{VerbPersonMerge, parseMerge, rules.Merge{}},
		{VerbPersonSplit, parseSplit, rules.Split{}},
		{VerbPersonForget, parsePerson(func(p Person) rules.Command { return rules.Delete{Person: p} }), rules.Delete{}},
		{VerbStatistics, parseStatistics, rules.Statistics{}},
	}
}

// Bounds of what one verb may have waiting before it is read, as those of the ops
// service; there are more verbs.
const (
	maxVerbRequests = 8192
	maxVerbBytes    = 16 << 20
)

// registry is the service. Requests of one verb are read one after the other,
// by a door of the verb's own; those whose person a Verifier is asked about then
// go on beside each other.
type registry struct {
	conn     *nats.Conn
	queue    *queue
	rules    *rules.Rules
	now      func() time.Time
	verifier Verifier // nil = the channel's word counts
	service  micro.Service

	// verifying are the open questions; ctx ends them.
	verifying errgroup.Group
	ctx       context.Context
	cancel    context.CancelFunc

	mu     sync.RWMutex // guards closed and orders it with new questions
	closed bool
}

// openRegistry puts the verbs on conn.
func openRegistry(conn *nats.Conn, cfg Config, q *queue) (*registry, error) {
	r := &registry{conn: conn, queue: q, rules: cfg.Rules, now: cfg.Now, verifier: cfg.Verifier}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.verifying.SetLimit(maxVerifying)
	var err error
	r.service, err = micro.AddService(conn, micro.Config{
		Name: RegistryName, Version: ServiceVersion, Description: "who has upgraded what, for channels, back office and health source",
		Metadata: schemaMetadata(RegistrySubject("CHANNEL", VerbSchemaOf)),
	})
	if err != nil {
		_ = r.close() // the cause is err
		return nil, fmt.Errorf("start the service %s: %w", RegistryName, err)
	}
	for _, v := range verbs() {
		d := newDoor(cfg.TokenKey, cfg.Rules, cfg.Now)
		err := r.service.AddEndpoint(strings.ReplaceAll(v.name, ".", "-"), micro.HandlerFunc(func(m micro.Request) { r.handle(v, d, m) }),
			micro.WithEndpointSubject(RegistrySubject("*", v.name)), micro.WithEndpointPendingLimits(maxVerbRequests, maxVerbBytes))
		if err != nil {
			_ = r.close() // the cause is err
			return nil, fmt.Errorf("serve %s: %w", RegistrySubject("*", v.name), err)
		}
	}
	if err := r.addSchema(); err != nil {
		_ = r.close() // the cause is err
		return nil, err
	}
	if err := conn.FlushTimeout(openTimeout); err != nil {
		_ = r.close() // the cause is err
		return nil, fmt.Errorf("start the service %s: %w", RegistryName, err)
	}
	return r, nil
}

// close takes no further request and ends the questions to the Verifier.
func (r *registry) close() error {
	var err error
	if r.service != nil {
		err = r.service.Stop()
	}
	r.cancel()
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	return errors.Join(err, r.verifying.Wait())
}

func (r *registry) handle(v verb, d *door, m micro.Request) {
	to, channel := m.Reply(), channelOf(m.Subject(), v.name)
	if !r.rules.Entitled(channel, v.of, r.now()) {
		// It neither takes the time of those who may, nor asks about a person.
		r.respond(to, refused(rules.NotEntitled()))
		return
	}
	a, refusal := v.parse(d, m.Data())
	if refusal != nil {
		r.respond(to, refused(refusal))
		return
	}
	if r.verifier == nil || a.who == nil {
		r.put(to, channel, a)
		return
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.closed {
		r.respond(to, refused(refuse(CodeBusy, "the centre is stopping; nothing has changed")))
		return
	}
	r.verifying.Go(func() error {
		r.verify(to, channel, a)
		return nil
	})
}

// channelOf returns the third part of a subject. That it is the caller's own is
// seen to by the server that lets him in.
func channelOf(subject, verb string) rules.Channel {
	return rules.Channel(strings.TrimSuffix(strings.TrimPrefix(subject, replication.SubjectRegistry), "."+verb))
}

func (r *registry) verify(to string, channel rules.Channel, a asked) {
	ctx, cancel := context.WithTimeout(r.ctx, verifyTimeout)
	defer cancel()
	identified, err := r.verifier.Verify(ctx, Claim{Channel: channel, Who: *a.who, Identified: a.identified})
	if err != nil {
		// The error is not shown: it may name the person.
		r.respond(to, refused(refuse(CodeBusy, "the identity cannot be verified now; nothing has changed, send it again")))
		return
	}
	a.command = withIdentity(a.command, identified)
	r.put(to, channel, a)
}

func (r *registry) put(to string, channel rules.Channel, a asked) {
	q := rules.Request{ID: a.id, Channel: channel, Command: a.command}
	r.queue.put(item{command: registryCommand(q), answer: func(out answer) {
		r.respond(to, r.reply(a, out))
	}})
}

func (r *registry) respond(to string, reply RegistryReply) {
	data, err := json.Marshal(reply)
	if err != nil {
		return // a reply holds nothing that cannot be encoded
	}
	publishReply(r.conn, to, data, reply.Code, reply.EN)
}

func refused(r *Refusal) RegistryReply {
	return RegistryReply{Code: r.Code, ZH: r.ZH, EN: r.EN, Detail: r.Detail}
}

// reply says what was answered. It runs on the writer's goroutine and reads no
// state.
func (r *registry) reply(a asked, out answer) RegistryReply {
	if out.refusal != nil {
		return refused(out.refusal)
	}
	from := out.registry
	reply := RegistryReply{OK: true, Number: out.number, Result: from.Result, Bound: from.Bound, Ended: from.Ended,
		Conflicts: from.Conflicts, Rejected: from.Rejected, More: from.More}
	for _, row := range from.Rows {
		one := RowReply{Row: row.Row + 1, Result: row.Result, Code: row.Code}
		if fault := a.faults[row.Row]; fault != nil {
			one.Code, one.Detail = fault.Code, fault.Detail
		}
		reply.Rows = append(reply.Rows, one)
	}
	for _, b := range from.Bindings {
		shown := ShownBinding{CardKind: r.kind(b.Kind), Source: b.Source, Waiting: b.Waiting}
		shown.Medium = b.Medium // as it was bound
		if b.Since != 0 {
			shown.Since = time.Unix(b.Since, 0).In(gateway.Zone)
		}
		reply.Bindings = append(reply.Bindings, shown)
	}
	for _, c := range from.Cases {
		shown := ShownCase{CardKind: r.kind(c.Kind), Reason: c.Reason, Since: time.Unix(c.Since, 0).In(gateway.Zone), List: c.List, Run: c.Run}
		shown.Medium = c.Medium // as it will be bound
		reply.Cases = append(reply.Cases, shown)
	}
	if from.Next != (rules.CaseMark{}) {
		reply.Next = hex.EncodeToString(from.Next[:])
	}
	for _, card := range from.Helped {
		reply.Helped = append(reply.Helped, r.kind(card.Kind))
	}
	switch a.command.(type) {
	case rules.Reports:
		reply.Accepted, reply.Bound = from.Bound, 0
	case rules.LookUp:
		kind := r.kind(from.Kind)
		reply.Kind = &kind
	case rules.Statistics:
		reply.Stats = &RegistryCounts{Persons: from.Stats.Persons, Bindings: from.Stats.Bindings, Cases: from.Stats.Cases}
	}
	return reply
}

// kind shows a kind; one that the data no longer has is shown without a name.
func (r *registry) kind(code rules.KindCode) CardKind {
	k, _ := r.rules.Kind(code, r.now())
	return CardKind{Name: k.Name, ZH: k.ZH, Medium: k.Medium}
}
