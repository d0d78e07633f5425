package rules

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"gateline/gateway"
)

// commands has one of every command, each with a token and a person wherever
// it can hold one.
func commands() []Command {
	c := Card{Token: secretToken, Kind: KindInteroperable}
	p := secretPerson
	rows := []Row{{Card: c, Person: p, Guardian: p}}
	return []Command{
		Upgrade{Card: c, Person: p}, Help{Card: c, Person: p, Helper: p}, Swap{Old: c.Token, New: c, Person: p},
		Unbind{Token: c.Token, By: p}, Return{c.Token}, Replace{Old: c.Token, New: c}, Authorise{Account: c, Person: p},
		Withdraw{Account: c.Token, Person: p}, Issue{Card: c, Person: p}, CheckTopUp{c}, ReportLoss{}, LookUp{c}, Own{p}, ListCases{}, Statistics{},
		Report{Person: p, Anchor: secretDay}, Reports{[]Report{{Person: p, Anchor: secretDay}}}, Concessions{Rows: rows}, Students{Rows: rows}, EndOfList{}, Expire{}, Died{p},
		WithdrawStudent{Token: c.Token, Guardian: p}, Resolve{Token: c.Token}, Merge{From: p, Into: p},
		Split{From: p, Into: p, Tokens: []gateway.Token{c.Token}}, Delete{p},
	}
}

// events has one of every event.
func events() []Event {
	c := Card{Token: secretToken, Kind: KindInteroperable}
	p := secretPerson
	b := Binding{Card: c, Person: p, Helper: p, Listing: Listing{Guardian: p}}
	record := gateway.Record{Anchor: secretDay}
	return []Event{Bound{b}, Marked{b}, Ended{c.Token}, Renumbered{Old: c.Token, New: c}, Moved{Token: c.Token, To: p},
		Seen{Tokens: []gateway.Token{c.Token}}, CaseOpened{Case{Want: b}}, CaseClosed{c.Token}, Reported{Person: p, Record: record},
		Merged{From: p, Into: p}, Forgotten{p}, HelpedEver{Person: p}, Settled{}}
}

// shapes are all types that hold a token, a person or a status.
func shapes() []any {
	var all []any
	for _, c := range commands() {
		all = append(all, c, Request{Command: c})
	}
	for _, e := range events() {
		all = append(all, e)
	}
	b := Binding{Card: Card{Token: secretToken}, Person: secretPerson, Helper: secretPerson, Listing: Listing{Guardian: secretPerson}}
	h := Holder{Person: secretPerson, Record: gateway.Record{Anchor: secretDay}, Bindings: []Binding{b}, Cases: []Case{{Want: b}}}
	return append(all, secretPerson, b, h, b.Listing, b.Card, Case{Want: b}, Refusal{},
		Answer{Bindings: []Shown{{Card: b.Card}}, Helped: []Card{b.Card}}, markOf(Case{Want: b}), Row{Card: b.Card, Person: secretPerson, Guardian: secretPerson})
}

const (
	secretToken gateway.Token = 0x5EC2E7C0DE5EC2E7
	secretDay   gateway.Day   = 29977
)

var secretPerson = Person([]byte("SECRETPSEUDONYM!"))

// leaks are what a token, a person or a day looks like when it is not hidden.
func leaks() []string {
	return []string{"SECRETPSEUDONYM", fmt.Sprintf("%x", "SECRETPSEUDONYM")[:16], "83 69 67 82", "0x53, 0x45", "53 45 43",
		fmt.Sprintf("%d", uint64(secretToken)), fmt.Sprintf("%x", uint64(secretToken)), fmt.Sprintf("%o", uint64(secretToken)),
		fmt.Sprintf("%b", uint64(secretToken)), base64Person}
}

const base64Person = "U0VDUkVUUFNFVURPTllNIQ"

// TestNothingShows prints every type with every verb, and as JSON.
func TestNothingShows(t *testing.T) {
	m := NewMemory()
	b := Binding{Card: Card{Token: secretToken}, Person: secretPerson, Medium: MediumPhysical, Source: SourceSelf}
	if err := m.Apply(Bound{b}); err != nil {
		t.Fatal(err)
	}
	for _, v := range append(shapes(), m) {
		var texts []string
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b"} {
			texts = append(texts, fmt.Sprintf(verb, v), fmt.Sprintf(verb, []any{v}), fmt.Sprintf(verb, &v))
		}
		document, err := json.Marshal(v)
		if err != nil {
			t.Errorf("%T: %v", v, err)
		}
		for _, text := range append(texts, string(document)) {
			for _, leak := range leaks() {
				if strings.Contains(strings.ToUpper(text), strings.ToUpper(leak)) {
					t.Errorf("%T shows what it holds: %s", v, leak)
				}
			}
		}
	}
	if text := fmt.Sprint(Report{Person: secretPerson, Class: gateway.ClassRed, Anchor: secretDay}); strings.Contains(text, "red") || strings.Contains(text, secretDay.String()) {
		t.Error("a report shows a status")
	}
}
