package central

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/google/jsonschema-go/jsonschema"

	"gateline/central/fleet"
	"gateline/central/rules"
	"gateline/gateway"
	"gateline/replication"
)

// VerbSchema is what one verb takes and answers, as JSON Schemas (draft 2020-12).
// They are made from the very types that the services decode and encode.
type VerbSchema struct {
	// Verb is the name below its service, such as card.bind.
	Verb string `json:"verb"`
	// Subject has a * in the place of the channel.
	Subject string `json:"subject"`
	// Request is what a request has to be like. A request that is not is refused
	// as a whole; what is said of a row's fields in words is asked of that row alone.
	Request json.RawMessage `json:"request"`
	// Reply is what an answer is like, that of a refusal too.
	Reply json.RawMessage `json:"reply"`
}

// Schemas returns the schemas of every verb of both services, the ops service
// first. It asks no centre.
func Schemas() ([]VerbSchema, error) {
	all, err := schemasOnce()
	return slices.Clone(all), err
}

// schemasOnce: they are the same for as long as the program runs, and every centre
// of a test needs them.
var schemasOnce = sync.OnceValues(makeSchemas)

func makeSchemas() ([]VerbSchema, error) {
	var all []VerbSchema
	for _, s := range opsShapes() {
		s.subject, s.reply, s.common = replication.SubjectOps+s.verb, reply{}, []string{"number", "changed"}
		one, err := s.schema()
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	for _, s := range registryShapes() {
		s.subject, s.reply, s.common = RegistrySubject("*", s.verb), RegistryReply{}, []string{"number", "result"}
		one, err := s.schema()
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// shape is what a schema is made from.
type shape struct {
	verb    string
	request any
	// own are the fields that only answers of this verb have; common those that
	// every answer of the service may have.
	own []string

	subject string
	reply   any
	common  []string
}

func opsShapes() []shape {
	return []shape{
		{verb: "card.bind", request: bindRequest{}},
		{verb: "card.unbind", request: unbindRequest{}},
		{verb: "person.report", request: reportRequest{}},
		{verb: "import", request: importRequest{}},
		{verb: "policy.set", request: gateway.Policy{}},
		{verb: "policy.purge", request: purgeRequest{}},
		{verb: "policy.get", request: emptyRequest{}, own: []string{"schedule"}},
		{verb: "station.mode", request: stationRequest{}},
		{verb: "feed.rotate", request: rotateRequest{}},
		{verb: "stats", request: emptyRequest{}, own: []string{"stats"}},
		{verb: "rules.get", request: emptyRequest{}, own: []string{"rules"}},
		{verb: "fleet.list", request: fleetListRequest{}, own: []string{"fleet"}},
		{verb: "fleet.show", request: fleetStationRequest{}, own: []string{"station"}},
		{verb: "fleet.forget", request: fleetStationRequest{}},
		{verb: VerbSchemaOf, request: schemaRequest{}, own: []string{"verbs", "schema"}},
	}
}

func registryShapes() []shape {
	list := []string{"bound", "conflicts", "rejected", "rows"}
	return []shape{
		{verb: VerbUpgrade, request: UpgradeRequest{}},
		{verb: VerbHelp, request: HelpRequest{}},
		{verb: VerbSwap, request: SwapRequest{}},
		{verb: VerbUnbind, request: UnbindRequest{}},
		{verb: VerbRideAuthorise, request: RideRequest{}},
		{verb: VerbRideWithdraw, request: RideWithdrawRequest{}},
		{verb: VerbCardIssue, request: IssueRequest{}},
		{verb: VerbCardReturn, request: CardRequest{}},
		{verb: VerbCardReplace, request: ReplaceRequest{}},
		{verb: VerbCardLookUp, request: LookRequest{}, own: []string{"kind"}},
		{verb: VerbOwn, request: OwnRequest{}, own: []string{"bindings", "helped"}},
		{verb: VerbTopUpCheck, request: LookRequest{}},
		{verb: VerbLossReport, request: emptyRequest{}},
		{verb: VerbListConcession, request: ListRequest{}, own: list},
		{verb: VerbListStudents, request: ListRequest{}, own: list},
		{verb: VerbListEnd, request: ListEndRequest{}, own: []string{"ended", "more"}},
		{verb: VerbListExpire, request: ListExpireRequest{}, own: []string{"ended", "more"}},
		{verb: VerbGuardianWithdraw, request: GuardianRequest{}},
		{verb: VerbConflictList, request: ConflictsRequest{}, own: []string{"cases", "next"}},
		{verb: VerbConflictResolve, request: ResolveRequest{}},
		{verb: VerbHealthReport, request: HealthRequest{}, own: []string{"accepted", "rejected", "rows"}},
		{verb: VerbPersonDied, request: PersonRequest{}, own: []string{"ended"}},
		{verb: VerbPersonMerge, request: MergeRequest{}},
		{verb: VerbPersonSplit, request: SplitRequest{}},
		{verb: VerbPersonForget, request: PersonRequest{}, own: []string{"ended"}},
		{verb: VerbStatistics, request: emptyRequest{}, own: []string{"stats"}},
		{verb: VerbSchemaOf, request: schemaRequest{}, own: []string{"verbs", "schema"}},
	}
}

const draft = "https://json-schema.org/draft/2020-12/schema"

func (s shape) schema() (VerbSchema, error) {
	out := VerbSchema{Verb: s.verb, Subject: s.subject}
	request, err := s.ofRequest()
	if err == nil {
		out.Request, err = json.Marshal(request)
	}
	if err == nil {
		var answer *jsonschema.Schema
		if answer, err = s.ofReply(); err == nil {
			out.Reply, err = json.Marshal(answer)
		}
	}
	if err != nil {
		return out, fmt.Errorf("make the schema of %s: %w", s.subject, err)
	}
	return out, nil
}

func (s shape) ofRequest() (*jsonschema.Schema, error) {
	q, err := schemaOf(s.request)
	if err != nil {
		return nil, err
	}
	walkSchema(q, "", tighten)
	if _, policy := s.request.(gateway.Policy); policy {
		// What a document leaves out takes its default (gateway.DecodePolicy).
		walkSchema(q, "", func(_ string, p *jsonschema.Schema) { p.Required = nil })
		q.Required = []string{"effective"}
	}
	q.Schema, q.Title = draft, "request of "+s.subject
	return q, nil
}

// ofReply tells an answer from a refusal, and leaves out what other verbs answer.
func (s shape) ofReply() (*jsonschema.Schema, error) {
	all, err := schemaOf(s.reply)
	if err != nil {
		return nil, err
	}
	walkSchema(all, "", describe)
	one := func(ok any, required []string, fields ...string) *jsonschema.Schema {
		p := *all
		p.Properties = map[string]*jsonschema.Schema{}
		for _, name := range append([]string{"ok"}, fields...) {
			p.Properties[name] = all.Properties[name]
		}
		// ok is in both, so each has its own.
		p.Properties["ok"] = &jsonschema.Schema{Const: &ok}
		p.Required = append([]string{"ok"}, required...)
		p.PropertyOrder = slices.DeleteFunc(slices.Clone(all.PropertyOrder), func(name string) bool { return p.Properties[name] == nil })
		return &p
	}
	return &jsonschema.Schema{Schema: draft, Title: "reply of " + s.subject, OneOf: []*jsonschema.Schema{
		one(true, nil, append(slices.Clone(s.common), s.own...)...),
		one(false, []string{"code", "zh", "en"}, "code", "zh", "en", "detail"),
	}}, nil
}

// schemaOf returns the schema of a value's type.
func schemaOf(v any) (*jsonschema.Schema, error) {
	text := func(words ...any) *jsonschema.Schema { return &jsonschema.Schema{Type: "string", Enum: words} }
	var states []any
	for _, s := range fleet.States() {
		states = append(states, s.String())
	}
	return jsonschema.ForType(reflect.TypeOf(v), &jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[gateway.Mode]():        text(modeWords()...),
		reflect.TypeFor[gateway.Unit]():        text(gateway.UnitCalendarDay.String(), gateway.UnitRollingHour.String()),
		reflect.TypeFor[gateway.AfterSunset](): text(gateway.AfterSunsetManual.String(), gateway.AfterSunsetPass.String()),
		reflect.TypeFor[gateway.Duration]():    {Type: "string", Description: "such as 15m or 24h"},
		reflect.TypeFor[fleet.State]():         text(states...),
		reflect.TypeFor[rules.Result]():        text(rules.ResultDone, rules.ResultAlready, rules.ResultPending, rules.ResultConflict, rules.ResultRejected, rules.ResultOlder),
		reflect.TypeFor[rules.CaseReason]():    text(rules.CaseSlot, rules.CaseOwner),
		reflect.TypeFor[json.RawMessage]():     {Type: "object"},
	}})
}

func modeWords() []any {
	return []any{gateway.ModeOff.String(), gateway.ModeObserve.String(), gateway.ModeAdvisory.String(), gateway.ModeEnforce.String()}
}

// walkSchema calls fn for a schema and all below it, each with the name of the field
// that it is of; what is in a list has that of the list, followed by [].
func walkSchema(s *jsonschema.Schema, name string, fn func(string, *jsonschema.Schema)) {
	if s == nil {
		return
	}
	fn(name, s)
	for key, below := range s.Properties {
		walkSchema(below, key, fn)
	}
	walkSchema(s.Items, name+"[]", fn)
	walkSchema(s.AdditionalProperties, name+"{}", fn)
}
