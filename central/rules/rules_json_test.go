package rules

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestDefaultRulesEncode(t *testing.T) {
	b, err := EncodeRules(DefaultRules())
	if err != nil {
		t.Fatal(err)
	}
	r, err := DecodeRules(b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := EncodeRules(r)
	if err != nil || !bytes.Equal(b, again) {
		t.Errorf("what was decoded encodes otherwise: %v", err)
	}
}

func TestDecodeRulesIsStrict(t *testing.T) {
	b, err := EncodeRules(DefaultRules())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"unknown key":  strings.Replace(string(b), `"quotas"`, `"quota"`, 1),
		"text after":   string(b) + "{}",
		"wrong type":   strings.Replace(string(b), `"helper": 5`, `"helper": "5"`, 1),
		"nothing":      "",
		"empty object": "{}",
		"too long":     strings.Repeat(" ", MaxRulesSize) + string(b),
	} {
		if r, err := DecodeRules([]byte(text)); r != nil || !errors.Is(err, ErrRules) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestValidateNamesEveryFault breaks many keys at once and finds each named.
func TestValidateNamesEveryFault(t *testing.T) {
	r := DefaultRules()
	r.Quotas[0].Value.Physical = -1
	r.Quotas[1].Value.HelperMode = "sometimes"
	r.Quotas[1].From = r.Quotas[0].From
	r.Kinds[0].Value[0].Code = 0
	r.Kinds[0].Value[1].Medium = "paper"
	r.Kinds[1].Value[2].Ranges = []string{"tunion:310477", "visa:4"}
	r.Kinds[2].Value[3].Upgrade = ""
	r.Kinds[3].Value[4].Channels = []Channel{"No Such"}
	r.Kinds[3].Value[5].Name = r.Kinds[3].Value[6].Name
	r.Channels[0].Value["app"] = []Function{"block_card"}
	r.Channels[0].Value["BAD"] = nil
	r.Consents = nil
	r.DayRules[1].Value = 3
	r.TopUpFrom = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	r.NewCardFrom = time.Date(2900, 1, 1, 0, 0, 0, 0, time.UTC)
	err := r.Validate()
	if !errors.Is(err, ErrRules) {
		t.Fatal(err)
	}
	lines := "\n" + strings.TrimPrefix(err.Error(), ErrRules.Error()+": ")
	for _, key := range []string{
		"quotas[0].value.physical", "quotas[1].value.helper_mode", "quotas[1].from", "kinds[0].value[0].code", "kinds[0].value[1].medium",
		"kinds[1].value[2].ranges[0]", "kinds[1].value[2].ranges[1]", "kinds[2].value[3].upgrade", "kinds[3].value[4].channels[0]",
		"kinds[3].value[6].name", "channels[0].value.app[0]", `channels[0].value."BAD"`, "consents", "day_rules[1].value",
		"top_up_from", "new_card_from",
	} {
		if !strings.Contains(lines, "\n"+key+": ") {
			t.Errorf("%s is not named in\n%s", key, lines)
		}
	}
}

func TestZeroRulesEntitleNobody(t *testing.T) {
	for _, c := range commands() {
		_, _, refusal := Decide(NewMemory(), &Rules{}, Request{Channel: ChannelApp, Command: c}, at(t, "2022-06-10 12:00:00"))
		if refusal == nil || refusal.Code != CodeChannel && refusal.Code != CodeNoLossReports {
			t.Errorf("%T: %v", c, refusal)
		}
	}
}

// FuzzDecodeRules: what is accepted is valid, encodes, and encodes the same
// after another round.
func FuzzDecodeRules(f *testing.F) {
	f.Add([]byte(`{"quotas":[{"from":"2022-05-17T00:00:00+08:00","value":{"physical":1,"nfc":1,"total":2,"helper":5,"helper_mode":"active"}}],` +
		`"kinds":[{"from":"2022-05-17T00:00:00+08:00","value":[{"code":1,"name":"a","zh":"甲","medium":"nfc","ranges":["chip:0A"],"upgrade":"self"}]}],` +
		`"channels":[{"from":"2022-05-17T00:00:00+08:00","value":{"app":["upgrade"]}}],"consents":[{"from":"2022-05-17T00:00:00Z","value":[1]}],` +
		`"day_rules":[{"from":"2022-05-17T00:00:00.5+08:00","value":2}]}`))
	f.Add([]byte(`{"quotas":[{"from":"2022-05-17T00:00:00Z","value":{"physical":-1}},{"from":"2022-05-16T00:00:00Z"}],"top_up_from":"2022-06-01T00:00:00+08:00"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeRules(b)
		if file, fileErr := ReadRules("f", b); err != nil && fileErr == nil || (file == nil) != (fileErr != nil) {
			t.Fatalf("a file is read otherwise: %v, %v", fileErr, err)
		}
		if err != nil {
			if r != nil || !errors.Is(err, ErrRules) {
				t.Fatalf("%v", err)
			}
			return
		}
		first, err := EncodeRules(r)
		if err != nil {
			if len(b) > MaxRulesSize/8 {
				return // indented it may be too long
			}
			t.Fatal(err)
		}
		r, err = DecodeRules(first)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := EncodeRules(r); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("another round encodes otherwise: %v", err)
		}
	})
}
