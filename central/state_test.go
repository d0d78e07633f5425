package central

import (
	"testing"
	"time"

	"gateline/central/rules"
	"gateline/gateway"
)

var noon = time.Date(2022, 5, 31, 12, 0, 0, 0, gateway.Zone)

func codeOf(r *Refusal) Code {
	if r == nil {
		return ""
	}
	return r.Code
}

func recordsOf(s *state) map[gateway.Token]gateway.Record {
	all := map[gateway.Token]gateway.Record{}
	for _, c := range s.records() {
		all[c.Token] = c.Record
	}
	return all
}

// do decides a command and applies its events, as the writer does.
func do(t *testing.T, s *state, c command) decision {
	t.Helper()
	d := s.decide(c, noon)
	for i := range d.events {
		if _, err := s.apply(&d.events[i], nil); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// The operator's verbs, as requests bring them, under the rules of the registry.
func TestOpsVerbs(t *testing.T) {
	door := newDoor(testKey(), rules.DefaultRules(), func() time.Time { return noon })
	rows := func(rows ...Row) command {
		c, refusal := byOps(door.rows(rows, needEither))
		if refusal != nil {
			t.Fatal(refusal)
		}
		return c
	}
	bind := func(credential, person string) command { return rows(Row{Credential: credential, Person: person}) }
	report := func(person string, s Status) command { return rows(Row{Person: person, Status: s}) }
	unbind := func(request string) command {
		c, refusal := parseUnbind(door, []byte(request))
		if refusal != nil {
			t.Fatal(refusal)
		}
		return c
	}
	const physical, nfc, other, code = "tunion:3104770000000000001", "tunion:3104774000000000001", "tunion:3104770000000000002", "ride:1001000000000001"
	tested := Status{Class: "normal", Anchor: "2022-05-28"}
	start := []command{report("ann", tested), bind(physical, "ann"), bind(code, "ann"), bind(other, "bob")}
	for _, tt := range []struct {
		name    string
		command command
		code    Code
		changed int
	}{
		{"a free card is bound", bind(nfc, "ann"), "", 1},
		{"the same pair again is no event", bind(physical, "ann"), "", 0},
		{"QTA-01: one physical card", bind("tunion:3104770000000000009", "ann"), "E101", 0},
		{"UPG-10: another's card", bind(physical, "bob"), CodeOtherOwner, 0},
		{"KIND-04: a concession card", bind("tunion:3104775000000000001", "eve"), "E107", 0},
		{"UNB-01: own card", unbind(`{"credential":"` + physical + `","person":"ann"}`), "", 1},
		{"unbind without a person", unbind(`{"credential":"` + code + `"}`), "", 1},
		{"E112: another's card", unbind(`{"credential":"` + physical + `","person":"bob"}`), CodeNotBound, 0},
		{"E112: not bound", unbind(`{"credential":"` + nfc + `"}`), CodeNotBound, 0},
		{"a status", report("ann", Status{Class: "red"}), "", 1},
		{"the same status is no event", report("ann", tested), "", 0},
		{"a status of somebody without a credential", report("eve", tested), "", 1},
		{"a row with both", rows(Row{Credential: nfc, Person: "eve", Status: tested}), "", 2},
		{"an import is refused as a whole", rows(Row{Credential: nfc, Person: "eve"}, Row{Credential: physical, Person: "eve"}), CodeOtherOwner, 0},
		{"an import sees its own rows", rows(Row{Credential: nfc, Person: "eve"}, Row{Credential: nfc, Person: "dan"}), CodeOtherOwner, 0},
		{"an import may repeat itself", rows(Row{Credential: nfc, Person: "eve"}, Row{Credential: nfc, Person: "eve"}), "", 1},
		{"no policy to read", readPolicy{}, CodeNoPolicy, 0},
		{"no policy to edit", stationCommand{station: "xidan", mode: gateway.ModeOff}, CodeNoPolicy, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newState(rules.DefaultRules())
			for _, c := range start {
				if d := do(t, s, c); d.refusal != nil {
					t.Fatal(d.refusal)
				}
			}
			before := s.credentials()
			d := do(t, s, tt.command)
			if codeOf(d.refusal) != tt.code || d.changed != tt.changed {
				t.Fatalf("got %q with %d events, want %q with %d", codeOf(d.refusal), d.changed, tt.code, tt.changed)
			}
			if d.refusal != nil && (s.credentials() != before || d.refusal.ZH == "" || d.refusal.EN == "") {
				t.Errorf("a refusal changed the state, or lacks a text: %+v", d.refusal)
			}
		})
	}
}

func TestApplyRefusesWhatDoesNotFit(t *testing.T) {
	s := newState(rules.DefaultRules())
	if _, err := s.apply(&event{registry: rules.Ended{Token: 1}}, nil); err == nil {
		t.Error("what is not bound was unbound")
	}
}
