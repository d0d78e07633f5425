package main

import (
	"encoding/json"
	"strings"
	"testing"

	"gateline/central"
)

// The schemas are there without a centre.
func TestOpsSchema(t *testing.T) {
	env := environment{server: "nats://127.0.0.1:1"}
	list := gateline(t, env, nil, "ops", "schema")
	list.want(t, 0, "conflict.list      gateline.registry.*.conflict.list\n", "")
	all, err := central.Schemas()
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(list.out, "\n"); lines != len(all)+1 {
		t.Errorf("%d lines of %d verbs:\n%s", lines, len(all), list.out)
	}
	var every []central.VerbSchema
	if err := json.Unmarshal([]byte(gateline(t, env, nil, "ops", "schema", "--json").out), &every); err != nil || len(every) != len(all) {
		t.Errorf("%d of %d verbs: %v", len(every), len(all), err)
	}
	for _, name := range []string{"card.bind", central.SubjectCardBind} {
		var one central.VerbSchema
		if err := json.Unmarshal([]byte(gateline(t, env, nil, "ops", "schema", name).out), &one); err != nil || one.Subject != central.SubjectCardBind ||
			!strings.Contains(string(one.Request), `"additionalProperties": false`) {
			t.Errorf("%s: %v, %s", name, err, one.Request)
		}
	}
	gateline(t, env, nil, "ops", "schema", "card.block").want(t, 2, "", "there is no verb")
}
