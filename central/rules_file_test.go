package central

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gateline/central/rules"
	"gateline/internal/logtest"
)

// rulesFrom writes a file of rules and reads it as a centre does.
func rulesFrom(t *testing.T, r *rules.Rules) *rules.Rules {
	t.Helper()
	text, err := rules.EncodeRules(r)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "rules.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	read, err := FileConfig{RulesFile: path}.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// generousRules allow three physical cards, and know a kind that DefaultRules do not.
func generousRules() *rules.Rules {
	r := rules.DefaultRules()
	r.Quotas = r.Quotas[:1]
	r.Quotas[0].Value = rules.Quotas{Physical: 3, NFC: 1, Total: 4, Helper: 5, HelperMode: rules.HelperActive}
	last := len(r.Kinds) - 1
	r.Kinds[last].Value = append(r.Kinds[last].Value, rules.Kind{Code: 200, Name: "club", ZH: "会员卡", Medium: rules.MediumPhysical,
		Ranges: []string{"tunion:3109"}, Upgrade: rules.BySelf})
	return r
}

func entitlingNobody() *rules.Rules {
	r := rules.DefaultRules()
	for i := range r.Channels {
		r.Channels[i].Value = rules.Matrix{rules.ChannelApp: {}}
	}
	return r
}

// TestRestartWithOtherRules: what was decided under one file stands under any other.
// A replay asks no rules, a lower quota unbinds nothing (QTA-05), and a request that
// was settled has its answer still.
func TestRestartWithOtherRules(t *testing.T) {
	generous := generousRules()

	cfg := testConfig(t.TempDir(), &logtest.Buffer{})
	cfg.Rules = rulesFrom(t, generous)
	const ordinary, other, club, more = "3104770900000000001", "3104770900000000002", "3109000000000000003", "3104770900000000004"
	upgrade := func(r *running, id, card string) (RegistryReply, error) {
		return NewChannel(r.Client.conn, rules.ChannelApp).Upgrade(t.Context(), UpgradeRequest{ID: id, Credential: card, Who: ByID("p-1"), Identified: true, Consent: 1})
	}
	r := start(t, cfg)
	for _, card := range []string{ordinary, other, club} {
		if _, err := upgrade(r, "id-"+card, card); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := r.Client.Rules(t.Context()); err != nil || got.Quotas[0].Value != generous.Quotas[0].Value {
		t.Errorf("the rules in force are told as %+v: %v", got, err)
	}
	held := r.held()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}

	for name, file := range map[string]*rules.Rules{"no channel may do anything": entitlingNobody(), "lower quotas, and a kind less": rules.DefaultRules()} {
		cfg.Rules, cfg.VerifyLedger = rulesFrom(t, file), true
		r = start(t, cfg)
		if !maps.Equal(r.held(), held) || len(held) != 3 {
			t.Errorf("%s: the centre holds %d records, not the %d of before", name, len(r.held()), len(held))
		}
		r.checkFeed()
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	}

	cfg.Rules = nil // as rules.DefaultRules
	r = start(t, cfg)
	again, err := upgrade(r, "id-"+other, other)
	if err != nil || again.Result != rules.ResultDone {
		t.Errorf("a settled request is answered %+v, %v", again, err)
	}
	refusedWith(t, "a fourth card", rules.CodePhysicalFull)(upgrade(r, "id-4", more))
	app := NewChannel(r.Client.conn, rules.ChannelApp)
	own, err := app.Own(t.Context(), ByID("p-1"))
	if err != nil || len(own.Bindings) != 3 {
		t.Fatalf("own bindings: %+v, %v", own.Bindings, err)
	}
	for _, b := range own.Bindings {
		if b.Medium != rules.MediumPhysical || b.Since.IsZero() {
			t.Errorf("a binding of before is shown as %+v", b)
		}
	}
	unbind := func(card string) {
		t.Helper()
		if _, err := app.Unbind(t.Context(), UnbindRequest{Credential: card, Who: ByID("p-1"), Identified: true}); err != nil {
			t.Fatal(err)
		}
	}
	unbind(club) // of a kind that is none any more
	unbind(other)
	refusedWith(t, "a card beside one", rules.CodePhysicalFull)(upgrade(r, "id-5", more))
	unbind(ordinary)
	if _, err := upgrade(r, "id-6", more); err != nil {
		t.Error(err)
	}
}

func refusedWith(t *testing.T, what string, code Code) func(RegistryReply, error) {
	t.Helper()
	return func(_ RegistryReply, err error) {
		t.Helper()
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Code != code {
			t.Errorf("%s: %v, want %s", what, err, code)
		}
	}
}

// TestRulesFileFaults: a centre whose file is wrong does not start, and every fault is
// told at once.
func TestRulesFileFaults(t *testing.T) {
	text, err := rules.EncodeRules(rules.DefaultRules())
	if err != nil {
		t.Fatal(err)
	}
	wrong := strings.NewReplacer(`"helper": 5`, `"helper": -5`, `"medium": "nfc"`, `"medium": "paper"`).Replace(string(text))
	path := filepath.Join(t.TempDir(), "rules.json")
	if err := os.WriteFile(path, []byte(wrong), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = FileConfig{RulesFile: path}.Config()
	if !errors.Is(err, rules.ErrRules) || !strings.Contains(err.Error(), "rules.json:9: bad rules: quotas[0].value.helper: ") || !strings.Contains(err.Error(), ".medium: not one of physical, nfc, ride") {
		t.Errorf("%v", err)
	}
	if _, err := (FileConfig{RulesFile: path + ".none"}).Rules(); err == nil || !strings.Contains(err.Error(), "correct registry.rules_file") {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := Open(Config{Dir: t.TempDir(), Rules: &rules.Rules{}}); !errors.Is(err, rules.ErrRules) {
		t.Errorf("a centre without rules: %v", err)
	}
}
