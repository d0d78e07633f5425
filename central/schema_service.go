package central

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/micro"

	"gateline/replication"
)

// VerbSchemaOf is the verb of both services that answers the schemas of the others:
// any NATS client can ask, and in the registry's service any channel.
const VerbSchemaOf = "schema"

// SubjectSchema is the ops service's.
const SubjectSchema = replication.SubjectOps + VerbSchemaOf

// schemaRequest asks for the schemas of a verb of the service that is asked.
type schemaRequest struct {
	// Verb is its name; empty = the names of all are wanted.
	Verb string `json:"verb,omitempty"`
}

// answerSchema answers for the service whose subjects begin with prefix: the names of
// its verbs, or the schemas of one.
func answerSchema(prefix string, data []byte) (verbs []string, one *VerbSchema, refusal *Refusal) {
	var q schemaRequest
	if len(data) > 0 {
		if refusal := decodeRequest(data, maxSmallRequest, "verb", &q); refusal != nil {
			return nil, nil, refusal
		}
	}
	all, err := Schemas()
	if err != nil {
		return nil, nil, refuse(CodeBusy, "%v", err)
	}
	for _, s := range all {
		if !strings.HasPrefix(s.Subject, prefix) {
			continue
		}
		if s.Verb == q.Verb {
			return nil, &s, nil
		}
		verbs = append(verbs, s.Verb)
	}
	if q.Verb != "" {
		return nil, nil, refuse(CodeMalformed, "verb: not one of %s", strings.Join(verbs, ", "))
	}
	slices.Sort(verbs)
	return verbs, nil, nil
}

// opsSchema answers SubjectSchema.
func opsSchema(_ context.Context, data []byte) (reply, *Refusal) {
	verbs, one, refusal := answerSchema(replication.SubjectOps, data)
	return reply{OK: refusal == nil, Verbs: verbs, Schema: one}, refusal
}

// addSchema puts the verb on the registry's service, for every channel.
func (r *registry) addSchema() error {
	subject := RegistrySubject("*", VerbSchemaOf)
	err := r.service.AddEndpoint(VerbSchemaOf, micro.HandlerFunc(func(m micro.Request) {
		verbs, one, refusal := answerSchema(replication.SubjectRegistry, m.Data())
		if refusal != nil {
			r.respond(m.Reply(), refused(refusal))
			return
		}
		r.respond(m.Reply(), RegistryReply{OK: true, Verbs: verbs, Schema: one})
	}), micro.WithEndpointSubject(subject), micro.WithEndpointPendingLimits(maxVerbRequests, maxVerbBytes))
	if err != nil {
		return fmt.Errorf("serve %s: %w", subject, err)
	}
	return nil
}

// schemaMetadata tells who lists a service where its schemas are.
func schemaMetadata(subject string) map[string]string {
	example, err := json.Marshal(schemaRequest{Verb: "NAME"})
	if err != nil {
		return nil // it holds nothing that cannot be encoded
	}
	return map[string]string{"schema": "JSON Schemas of requests and replies: " + subject + " " + string(example)}
}
