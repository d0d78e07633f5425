package rules

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestReadRules(t *testing.T) {
	b, err := EncodeRules(DefaultRules())
	if err != nil {
		t.Fatal(err)
	}
	r, err := ReadRules("rules.json", b)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := EncodeRules(r); err != nil || string(again) != string(b) {
		t.Errorf("what was read is another: %v", err)
	}
	if !reflect.DeepEqual(r.Quotas[0].Value, DefaultRules().Quotas[0].Value) {
		t.Errorf("%+v", r.Quotas)
	}
}

// Each fault of a file is told with its line and its key, all at once where the file
// can be read at all.
func TestReadRulesTellsLines(t *testing.T) {
	b, err := EncodeRules(DefaultRules())
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for name, c := range map[string]struct{ old, new, want string }{
		"no JSON":     {`"value": {`, `value: {`, "rules.json:5: bad rules: no JSON: "},
		"cut off":     {text, "{\n\"quotas\": [", "rules.json:2: bad rules: no JSON: it is empty or cut off"},
		"empty":       {text, "", "rules.json:1: bad rules: no JSON: "},
		"unknown key": {`"helper": 5`, `"helpers": 5`, "rules.json:9: bad rules: helpers: unknown key"},
		"one unknown": {`"top_up_from"`, `"topup_from"`, "topup_from: unknown key"},
		"wrong type":  {`"helper": 5`, `"helper": "5"`, "quotas.value.helper: a value of the wrong type"},
		"text after":  {text, text + "\n{}", "there is text after the document"},
		"too long":    {text, strings.Repeat(" ", MaxRulesSize) + text, "leave out terms that ended long ago"},
		"a value":     {`"physical": 1`, `"physical": -1`, "rules.json:6: bad rules: quotas[0].value.physical: "},
		"given twice": {`"physical": 1,`, "\"physical\": 2,\n\"physical\": 1,", "rules.json:7: bad rules: quotas[0].value.physical: given twice"},
		"nothing":     {text, "{}", "rules.json: bad rules: quotas: 0 terms"},
		"an instant":  {`"from": "2022`, `"from": "20222`, `rules.json:4: bad rules: "20222-05-17T00:00:00+08:00" is not an instant`},
	} {
		r, err := ReadRules("rules.json", []byte(strings.Replace(text, c.old, c.new, 1)))
		if r != nil || !errors.Is(err, ErrRules) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: no %q in %v", name, c.want, err)
		}
	}

	const several = `{
"quotas": [{"from": "2022-05-17T00:00:00+08:00", "value": {"physical": 1, "nfc": 1,
  "total": -2, "helper": 5, "helper_mode": "active"}}],
"channels": [{"from": "2022-05-17T00:00:00+08:00", "value": {
  "app": ["upgrade",
          "block_card"],
  "BAD": []}}],
"kinds": [{"from": "2022-05-17T00:00:00+08:00", "value": [
  {"code": 1, "name": "a", "zh": "甲", "medium": "nfc", "ranges": ["chip:0A",
    "visa:4"],
   "upgrade": "self"},
  {"name": "b", "zh": "乙", "medium": "nfc", "ranges": [], "upgrade": "self"}]}],
"consents": [{"from": "2022-05-17T00:00:00+08:00", "value": [1]}]
}`
	_, err = ReadRules("rules.json", []byte(several))
	if err == nil {
		t.Fatal("accepted")
	}
	want := []string{
		"rules.json:3: bad rules: quotas[0].value.total: ", `rules.json:7: bad rules: channels[0].value."BAD": `, "rules.json:6: bad rules: channels[0].value.app[1]: ",
		"rules.json:10: bad rules: kinds[0].value[0].ranges[1]: ", "rules.json:12: bad rules: kinds[0].value[1].code: ", "rules.json: bad rules: day_rules: 0 terms",
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("no %q", w)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != len(want) {
		t.Errorf("%d faults:\n%v", n, err)
	}
}
