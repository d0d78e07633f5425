package central

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"gateline/gateway"
	"gateline/internal/logtest"
	"gateline/replication"
)

// resolved are the schemas of one verb, ready to judge.
type resolved struct{ request, reply *jsonschema.Resolved }

func resolveSchemas(t *testing.T) map[string]resolved {
	t.Helper()
	all, err := Schemas()
	if err != nil {
		t.Fatal(err)
	}
	read := func(text json.RawMessage) *jsonschema.Resolved {
		var s jsonschema.Schema
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		r, err := s.Resolve(nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	schemas := map[string]resolved{}
	for _, s := range all {
		if schemas[s.Subject] != (resolved{}) {
			t.Errorf("%s comes twice", s.Subject)
		}
		schemas[s.Subject] = resolved{read(s.Request), read(s.Reply)}
	}
	return schemas
}

// TestSchemasAreOfEveryVerb: a verb that is added has schemas too.
func TestSchemasAreOfEveryVerb(t *testing.T) {
	schemas := resolveSchemas(t)
	subjects := []string{SubjectSchema, SubjectRulesGet, RegistrySubject("*", VerbSchemaOf)}
	for _, e := range endpoints() {
		subjects = append(subjects, e.subject)
	}
	for _, e := range (*fleetWatch)(nil).endpoints() {
		subjects = append(subjects, e.subject)
	}
	for _, v := range verbs() {
		subjects = append(subjects, RegistrySubject("*", v.name))
	}
	for _, subject := range subjects {
		if schemas[subject] == (resolved{}) {
			t.Errorf("%s has no schema: add it to opsShapes or registryShapes", subject)
		}
	}
	if len(schemas) != len(subjects) {
		t.Errorf("%d schemas of %d verbs", len(schemas), len(subjects))
	}
}

// TestExamplesFollowTheSchemas judges every request and reply that SERVICES.md and
// DESIGN.md show, as they are, and with a field too many at each place.
func TestExamplesFollowTheSchemas(t *testing.T) {
	schemas := resolveSchemas(t)
	heading := regexp.MustCompile(`(?m)^### (gateline\.[a-z.-]+)$`)
	example := regexp.MustCompile("(?s)```json\n(.*?)```\n```json\n(.*?)```")
	judged, wrong := 0, 0
	for _, name := range []string{"SERVICES.md", "DESIGN.md"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		places := heading.FindAllSubmatchIndex(text, -1)
		for i, place := range places {
			end := len(text)
			if i+1 < len(places) {
				end = places[i+1][0]
			}
			subject := string(text[place[2]:place[3]])
			if rest, is := strings.CutPrefix(subject, replication.SubjectRegistry); is {
				_, verb, _ := strings.Cut(rest, ".")
				subject = RegistrySubject("*", verb)
			}
			s := schemas[subject]
			if s == (resolved{}) {
				t.Fatalf("%s shows %s, which has no schema", name, subject)
			}
			for _, e := range example.FindAllSubmatch(text[place[1]:end], -1) {
				judged++
				if bytes.Contains(e[1], []byte(`"class":3`)) { // shown because its form is wrong
					wrong++
					if judge(t, s.request, e[1]) == nil {
						t.Errorf("%s: the wrong type of a class is let through", subject)
					}
				} else {
					follows(t, subject+": the request", s.request, e[1])
				}
				follows(t, subject+": the reply", s.reply, e[2])
			}
		}
	}
	if judged < len(schemas) || wrong != 1 {
		t.Errorf("%d examples, %d of them of a wrong form", judged, wrong)
	}
}

func judge(t *testing.T, s *jsonschema.Resolved, text []byte) error {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return s.Validate(v)
}

// follows expects a document to be valid, and not to be with an unknown field in any
// of its objects; maps by name, where any key is right, have no such objects.
func follows(t *testing.T, what string, s *jsonschema.Resolved, text []byte) {
	t.Helper()
	if err := judge(t, s, text); err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	everyObject(v, "", func(name string, object map[string]any) {
		if name == "answers" || name == "stations" {
			return
		}
		object["no_such_field"] = 1
		if s.Validate(v) == nil {
			t.Errorf("%s: an unknown field in %q is let through", what, name)
		}
		delete(object, "no_such_field")
	})
}

// everyObject calls fn for each object of a document, with the name it is under.
func everyObject(v any, name string, fn func(string, map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		fn(name, v)
		for key, below := range v {
			everyObject(below, key, fn)
		}
	case []any:
		for _, one := range v {
			everyObject(one, name+"[]", fn)
		}
	}
}

// TestSchemasSayWhatIsRefused: what a service refuses as a whole is not valid.
func TestSchemasSayWhatIsRefused(t *testing.T) {
	schemas := resolveSchemas(t)
	for _, c := range []struct{ subject, text string }{
		{SubjectCardBind, `{"person":"p-1"}`},
		{SubjectCardBind, `{"credential":7,"person":"p-1"}`},
		{SubjectCardUnbind, `{"credential":"tunion:3104770000000000001","person":null}`},
		{SubjectStationMode, `{"station":"xidan","mode":"shut"}`},
		{SubjectPolicySet, `{"mode":"enforce"}`},
		{SubjectPolicySet, `{"effective":"2022-05-28T00:00:00+08:00","window":-1}`},
		{SubjectPolicySet, `{"effective":"2022-05-28T00:00:00+08:00","stations":{"xidan":"shut"}}`},
		{SubjectImport, `{"rows":[]}`},
		{RegistrySubject("*", VerbUpgrade), `{"id":"with a blank","credential":"3104771000000000001"}`},
		{RegistrySubject("*", VerbUpgrade), `{"credential":"3104771000000000001","consent":65536}`},
		{RegistrySubject("*", VerbListConcession), `{"list":0,"rows":[{"credential":"3104771000000000001"}]}`},
		{RegistrySubject("*", VerbListEnd), `{"list":1,"run":1,"most":-1}`},
		{RegistrySubject("*", VerbHealthReport), `{"reports":[` + strings.Repeat(`{"person":"p","class":"red"},`, 500) + `{"person":"p","class":"red"}]}`},
	} {
		if judge(t, schemas[c.subject].request, []byte(c.text)) == nil {
			t.Errorf("%s: %.80s is let through", c.subject, c.text)
		}
	}
	policy, err := json.Marshal(gateway.DefaultPolicy(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	follows(t, "the whole of a policy", schemas[SubjectPolicySet].request, policy)
	for _, text := range []string{`{"ok":true,"code":"E100","zh":"否","en":"no"}`, `{"ok":false}`, `{"ok":true,"stats":{}}`, `{"ok":true,"result":"perhaps"}`} {
		if judge(t, schemas[RegistrySubject("*", VerbUpgrade)].reply, []byte(text)) == nil {
			t.Errorf("the reply %s is let through", text)
		}
	}
}

// TestSchemasOverNATS asks both services, as any client can.
func TestSchemasOverNATS(t *testing.T) {
	c := start(t, testConfig(t.TempDir(), &logtest.Buffer{}))
	all, err := Schemas()
	if err != nil {
		t.Fatal(err)
	}
	verbs := map[string][]string{}
	for _, s := range all {
		subject := strings.Replace(strings.TrimSuffix(s.Subject, s.Verb)+VerbSchemaOf, "*", "bus", 1)
		verbs[subject] = append(verbs[subject], s.Verb)
		var r struct{ Schema VerbSchema }
		m := askRegistry(t, c.Client.conn, subject, `{"verb":"`+s.Verb+`"}`)
		if err := json.Unmarshal(m.Data, &r); err != nil || r.Schema.Subject != s.Subject || !bytes.Equal(r.Schema.Request, s.Request) || !bytes.Equal(r.Schema.Reply, s.Reply) {
			t.Errorf("%s of %s: %v, got %.200s", subject, s.Verb, err, m.Data)
		}
	}
	for subject, names := range verbs {
		slices.Sort(names)
		var r struct{ Verbs []string }
		if m := askRegistry(t, c.Client.conn, subject, ""); json.Unmarshal(m.Data, &r) != nil || !slices.Equal(r.Verbs, names) {
			t.Errorf("%s: got %s", subject, m.Data)
		}
		if m := askRegistry(t, c.Client.conn, subject, `{"verb":"3104771000000000001"}`); !bytes.Contains(m.Data, []byte(`"code":"E100"`)) || bytes.Contains(m.Data, []byte("31047")) {
			t.Errorf("%s of no verb: got %s", subject, m.Data)
		}
		info, err := c.Client.conn.Request("$SRV.INFO", nil, openTimeout)
		if err != nil || !bytes.Contains(info.Data, []byte("JSON Schemas of requests and replies: gateline.")) {
			t.Errorf("nobody who lists the services finds the schemas: %v", err)
		}
	}
}
