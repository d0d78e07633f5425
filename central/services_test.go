package central

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gateline/central/rules"
	"gateline/internal/logtest"
)

// TestServicesExamples sends every request that SERVICES.md shows, in its order, and
// compares the whole reply with the one shown beside it.
func TestServicesExamples(t *testing.T) {
	text, err := os.ReadFile("SERVICES.md")
	if err != nil {
		t.Fatal(err)
	}
	heading := regexp.MustCompile(`(?m)^### (gateline\.registry\.[a-z.-]+)$`)
	example := regexp.MustCompile("(?s)```json\n(.*?)```\n```json\n(.*?)```")
	c := start(t, testConfig(t.TempDir(), &logtest.Buffer{}))
	shown := map[string]string{}
	places := heading.FindAllSubmatchIndex(text, -1)
	for i, place := range places {
		end := len(text)
		if i+1 < len(places) {
			end = places[i+1][0]
		}
		subject := string(text[place[2]:place[3]])
		examples := example.FindAllSubmatch(text[place[1]:end], -1)
		if len(examples) == 0 {
			t.Fatalf("%s: no example", subject)
		}
		for _, e := range examples {
			m := askRegistry(t, c.Client.conn, subject, string(e[1]))
			var want, got map[string]any
			if err := json.Unmarshal(e[2], &want); err != nil {
				t.Fatalf("%s: the reply shown: %v; it is %s", subject, err, m.Data)
			}
			if err := json.Unmarshal(m.Data, &got); err != nil {
				t.Fatal(err)
			}
			unlike(want)
			unlike(got)
			if !reflect.DeepEqual(want, got) {
				t.Errorf("%s: got %s", subject, m.Data)
			}
		}
		_, verb, _ := strings.Cut(strings.TrimPrefix(subject, "gateline.registry."), ".")
		shown[verb] = string(examples[0][1])
	}
	for _, v := range verbs() {
		// What a verb says it is about is what its requests become.
		if a, refusal := v.parse(testDoor(), []byte(shown[v.name])); refusal != nil || reflect.TypeOf(a.command) != reflect.TypeOf(v.of) {
			t.Errorf("SERVICES.md shows no example of %s, or it becomes %T: %v", v.name, a.command, refusal)
		}
	}
}

// unlike replaces what differs from run to run.
func unlike(v any) {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			if key == "number" || key == "since" {
				v[key] = "…"
			}
			unlike(v[key])
		}
	case []any:
		for _, one := range v {
			unlike(one)
		}
	}
}

// TestServicesFields: every field of a request and a reply stands in SERVICES.md.
func TestServicesFields(t *testing.T) {
	text, err := os.ReadFile("SERVICES.md")
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]bool{}
	for _, v := range []any{HelpRequest{}, SwapRequest{}, UnbindRequest{}, RideWithdrawRequest{}, CardRequest{}, ReplaceRequest{}, LookRequest{}, OwnRequest{}, ListRequest{}, ListEndRequest{},
		ListExpireRequest{}, GuardianRequest{}, ConflictsRequest{}, ResolveRequest{}, HealthRequest{}, PersonRequest{}, MergeRequest{}, SplitRequest{}, RegistryReply{}} {
		jsonFields(reflect.TypeOf(v), fields)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !strings.Contains(string(text), `"`+name+`":`) && !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("SERVICES.md does not name the field %s", name)
		}
	}
	for _, kind := range documentTypes() {
		if !strings.Contains(string(text), kind) {
			t.Errorf("SERVICES.md does not name the document %s", kind)
		}
	}
	if !strings.Contains(string(text), string(rules.ResultPending)) {
		t.Error("SERVICES.md does not name the result pending")
	}
}

func jsonFields(t reflect.Type, into map[string]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		jsonFields(t.Elem(), into)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
				into[name] = true
			}
			if f.Type.PkgPath() != "time" {
				jsonFields(f.Type, into)
			}
		}
	}
}
