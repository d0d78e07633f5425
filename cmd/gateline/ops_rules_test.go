package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"gateline/central/rules"
	"gateline/gateway"
)

// A file to begin with, changed, checked, in force and shown.
func TestOpsRules(t *testing.T) {
	defaults := gateline(t, environment{server: "nats://127.0.0.1:1"}, nil, "ops", "rules", "file", "--defaults")
	if defaults.code != 0 || defaults.err != "" {
		t.Fatal(defaults)
	}
	r, err := rules.ReadRules("printed", []byte(defaults.out))
	if err != nil {
		t.Fatal(err)
	}
	r.Quotas = append(r.Quotas, rules.Term[rules.Quotas]{From: time.Date(2055, 1, 1, 0, 0, 0, 0, gateway.Zone),
		Value: rules.Quotas{Physical: 2, NFC: 1, Total: 3, Helper: 5, HelperMode: rules.HelperLifetime}})
	text, err := rules.EncodeRules(r)
	if err != nil {
		t.Fatal(err)
	}
	file := writeFile(t, "rules.json", string(text))
	config := centralConfig(t)
	check := func() result { return gateline(t, environment{}, nil, "check", "--central", config) }
	check().want(t, 0, "rules           built in, 0 terms pre-staged\n", "")
	appendTo(t, config, fmt.Sprintf("registry.rules_file = %q\n", file))
	check().want(t, 0, "ok     rules           "+file+", 1 term pre-staged\n", "")

	s, env := startCentral(t, config)
	s.until(`msg="rules of the registry" file="(.*), 1 term pre-staged"`)
	show := gateline(t, env, nil, "ops", "rules", "show")
	for _, want := range []string{
		"quotas\n  from 2022-05-31 00:00:00 +08:00 (in force)\n    of one person: 1 physical, 1 nfc, 2 of both; 5 for others (active)\n" +
			"  from 2055-01-01 00:00:00 +08:00 (pre-staged)\n    of one person: 2 physical, 1 nfc, 3 of both; 5 for others (lifetime)\nkinds\n",
		"      1 municipal                  physical self        tunion:3104771 chip:   北京市政交通一卡通\n",
		"    hotline          unbind\n", "consents\n", "    versions 1\n", "up to 06:00 from the day before\n", "top_up_from    2022-06-01 00:00:00 +08:00 (in force)\n",
	} {
		show.want(t, 0, want, "")
	}
	if strings.Contains(show.out, "2022-05-17 00:00:00 +08:00 (in force)\n    of one person") {
		t.Errorf("a term that is over is shown:\n%s", show.out)
	}
	var a answer
	if err := json.Unmarshal([]byte(gateline(t, env, nil, "ops", "rules", "show", "--json").out), &a); err != nil || len(a.Rules.Quotas) != 3 {
		t.Errorf("--json: %v", err)
	}
	gateline(t, env, nil, "ops", "rules", "file").want(t, 0, string(text)+"\n", "")
	if code := s.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}

}

// A file that is wrong stops a start, and the check tells every fault; a dry run of a
// list goes by the file that is named.
func TestOpsRulesOfAFile(t *testing.T) {
	// A list may name what the file of rules lets it name.
	r := rules.DefaultRules()
	r.Kinds = append(r.Kinds, rules.Term[[]rules.Kind]{From: time.Date(2022, 6, 1, 0, 0, 0, 0, gateway.Zone), Value: []rules.Kind{
		{Code: 200, Name: "club", ZH: "会员卡", Medium: rules.MediumPhysical, Ranges: []string{"tunion:3109"}, Upgrade: rules.ByBackOffice}}})
	text, err := rules.EncodeRules(r)
	if err != nil {
		t.Fatal(err)
	}
	cards := writeFile(t, "cards.csv", "credential,person\n3109000000000000001,p-1\n")
	dry := []string{"ops", "list", "concession", "--dry-run", "--list", "1", cards}
	gateline(t, environment{}, nil, dry...).want(t, 1, "0 rows would be delivered, 1 rejected", "E106")
	gateline(t, environment{}, nil, append(dry, "--rules", writeFile(t, "club.json", string(text)))...).want(t, 0, "1 row would be delivered, 0 rejected", "")
	gateline(t, environment{}, nil, append(dry, "--rules", cards)...).want(t, 1, "", "bad rules: no JSON")

	wrong := strings.NewReplacer(`"total": 2`, `"total": -2`, `"medium": "nfc"`, `"medium": "paper"`).Replace(string(text))
	file, config := writeFile(t, "rules.json", wrong), centralConfig(t)
	appendTo(t, config, fmt.Sprintf("registry.rules_file = %q\n", file))
	check := func() result { return gateline(t, environment{}, nil, "check", "--central", config) }
	check().want(t, 1, "fault  rules           rules.json:18: bad rules: quotas[1].value.total: ", "")
	check().want(t, 1, ".medium: not one of physical, nfc, ride\n", "")
	check().want(t, 1, "ok     keys and lists  can be read\n", "")
	gateline(t, environment{}, nil, "central", "--config", config).want(t, 1, "", "rules.json:18: bad rules: quotas[1].value.total: ")
	gateline(t, environment{}, nil, "check", "--central", config+".none").want(t, 1, "fault  configuration", "")
	gateline(t, environment{}, nil, "check", "--central", config, "--config", config).want(t, 2, "", "give one of them")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	check().want(t, 1, "correct registry.rules_file", "")
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, append(before, text...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
