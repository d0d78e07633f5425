package central

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"gateline/central/rules"
	"gateline/gateway"
	"gateline/replication"
)

// reply is every answer of the ops service.
type reply struct {
	OK       bool              `json:"ok"`
	Number   uint64            `json:"number,omitempty"`
	Changed  int               `json:"changed,omitempty"`
	Schedule *gateway.Schedule `json:"schedule,omitempty"`
	Stats    *Stats            `json:"stats,omitempty"`
	Fleet    *FleetPage        `json:"fleet,omitempty"`
	Station  *FleetStation     `json:"station,omitempty"`
	Rules    *rules.Rules      `json:"rules,omitempty"`
	Verbs    []string          `json:"verbs,omitempty"` // of the service
	Schema   *VerbSchema       `json:"schema,omitempty"`
	Code     Code              `json:"code,omitempty"`
	ZH       string            `json:"zh,omitempty"`
	EN       string            `json:"en,omitempty"`
	Detail   string            `json:"detail,omitempty"`
}

func newReply(c command, a answer) reply {
	if r := a.refusal; r != nil {
		return reply{Code: r.Code, ZH: r.ZH, EN: r.EN, Detail: r.Detail}
	}
	out := reply{OK: true, Number: a.number, Changed: a.changed, Schedule: a.schedule}
	if _, ok := c.(readStats); ok {
		out.Stats = &a.stats
	}
	return out
}

// endpoint is one subject of the service.
type endpoint struct {
	subject string
	parse   func(*door, []byte) (command, *Refusal)
}

func endpoints() []endpoint {
	return []endpoint{
		{SubjectCardBind, parseBind},
		{SubjectCardUnbind, parseUnbind},
		{SubjectPersonReport, parseReport},
		{SubjectImport, parseImport},
		{SubjectPolicySet, parsePolicy},
		{SubjectPolicyGet, parsePolicyGet},
		{SubjectPolicyPurge, parsePurge},
		{SubjectStationMode, parseStation},
		{SubjectFeedRotate, parseRotate},
		{SubjectStats, parseStats},
	}
}

// Bounds of what one endpoint may have waiting before it is read; the
// connection drops what comes above, and the caller runs into its deadline.
const (
	maxEndpointRequests = 16384
	maxEndpointBytes    = 64 << 20
)

// openService puts the endpoints on conn. Each turns numbers into tokens as a
// request comes in and hands a command to the queue; the writer answers.
func openService(conn *nats.Conn, cfg Config, q *queue) (micro.Service, error) {
	service, err := micro.AddService(conn, micro.Config{
		Name: ServiceName, Version: ServiceVersion, Description: "registry and policy of the centre", Metadata: schemaMetadata(SubjectSchema),
	})
	if err != nil {
		return nil, fmt.Errorf("start the service %s: %w", ServiceName, err)
	}
	for _, e := range endpoints() {
		err := service.AddEndpoint(endpointName(e.subject), e.handler(conn, newDoor(cfg.TokenKey, cfg.Rules, cfg.Now), q),
			micro.WithEndpointSubject(e.subject), micro.WithEndpointPendingLimits(maxEndpointRequests, maxEndpointBytes))
		if err != nil {
			_ = service.Stop() // the cause is err
			return nil, fmt.Errorf("serve %s: %w", e.subject, err)
		}
	}
	// Only now is it certain that a caller finds the service.
	if err := conn.FlushTimeout(openTimeout); err != nil {
		_ = service.Stop() // the cause is err
		return nil, fmt.Errorf("start the service %s: %w", ServiceName, err)
	}
	return service, nil
}

// endpointName returns the name under which a subject is listed.
func endpointName(subject string) string {
	return strings.ReplaceAll(strings.TrimPrefix(subject, replication.SubjectOps), ".", "-")
}

// handler reads requests one after the other; d is its own.
func (e endpoint) handler(conn *nats.Conn, d *door, q *queue) micro.HandlerFunc {
	return func(request micro.Request) {
		to := request.Reply()
		c, refusal := e.parse(d, request.Data())
		answerTo := func(a answer) { respond(conn, to, newReply(c, a)) }
		if refusal != nil {
			answerTo(answer{refusal: refusal})
			return
		}
		q.put(item{command: c, answer: answerTo})
	}
}

// respond publishes a reply of the ops service.
func respond(conn *nats.Conn, to string, r reply) {
	data, err := json.Marshal(r)
	if err != nil {
		return // a reply holds nothing that cannot be encoded
	}
	publishReply(conn, to, data, r.Code, r.EN)
}

// publishReply publishes a reply, with code and text in its headers where it is a
// refusal. It does not go through the micro package, whose request may not be
// answered once its handler has returned. A caller who is gone, or who asked for
// no reply, is not an error.
func publishReply(conn *nats.Conn, to string, data []byte, code Code, en string) {
	if to == "" {
		return
	}
	message := nats.NewMsg(to)
	message.Data = data
	if code != "" {
		message.Header.Set(micro.ErrorCodeHeader, string(code))
		message.Header.Set(micro.ErrorHeader, en)
	}
	_ = conn.PublishMsg(message)
}

// directEndpoints are those of the service that ask neither registry nor ledger, and
// answer before Run too.
func (c *Central) directEndpoints() []directEndpoint {
	return append(c.fleet.endpoints(), directEndpoint{SubjectSchema, opsSchema}, directEndpoint{SubjectRulesGet, rulesGet(c.cfg.Rules)})
}

// rulesGet answers the rules that the centre was started with.
func rulesGet(r *rules.Rules) func(context.Context, []byte) (reply, *Refusal) {
	return func(_ context.Context, data []byte) (reply, *Refusal) {
		return reply{OK: true, Rules: r}, decodeEmpty(data)
	}
}
