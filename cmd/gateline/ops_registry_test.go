package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gateline/central/rules"
	"gateline/gateway"
)

// The verbs of the registry's service, one after the other on one centre.
func TestOpsRegistry(t *testing.T) {
	_, env := startCentral(t, centralConfig(t))
	const (
		phone   = "3104774100000000001"
		account = "ride:1001000000000042"
		second  = "3104770900000000003"
	)
	walk(t, env, []step{
		{args: words("card lookup --credential " + phone), out: "kind    interoperable-nfc 北京互通卡(NFC)\nmedium  nfc\n"},
		{args: words("card lookup --credential -"), in: phone + "\n", out: "interoperable-nfc"},
		{args: words("card lookup --credential 9904774100000000001"), code: 1, err: "E106"},

		{args: words("card bind --person p1 --credential " + cardNumber), out: "bound"},
		{args: words("ride authorise --person p1 --consent 1 --credential " + account), code: 1, err: "E108"},
		{args: words("ride authorise --person p1 --consent 7 --identified --credential " + account), code: 1, err: "E111"},
		{args: words("ride authorise --person p1 --consent 1 --identified --credential " + account), out: "authorised (feed number "},
		{args: words("ride authorise --person p1 --consent 1 --identified --credential " + account), out: "nothing to do: it is authorised"},
		{args: words("person show --person p1"), out: "KIND                       MEDIUM   SOURCE     SINCE"},
		{args: words("person show --person p1"), out: "ride-yikatong              ride     RIDECODE   20"},
		{args: words("person show --person p2"), out: "nothing is bound\n"},
		{args: words("ride withdraw --person p2 --credential " + account), code: 1, err: "E112"},
		{args: words("ride withdraw --person p1 --credential " + account), out: "withdrawn"},

		{args: words("card replace --old - --new -"), in: cardNumber + "\n" + second + "\n", out: "replaced (feed number "},
		{args: words("card replace --old " + cardNumber + " --new " + second), out: "nothing to do: the old card is not bound, the new one is"},
		{args: words("card replace --old " + cardNumber + " --new " + phone), code: 1, err: "E112"},

		{args: words("person merge --from p1 --into p2 --yes p1"), out: "merged"},
		{args: words("person merge --from p1 --into p2 --yes p1"), out: "nothing to do: nothing is known of the first person"},
		{args: words("person show --person p2"), out: "interoperable "},
		{args: words("person split --from p2 --into p3 --yes p2 --credential " + cardNumber), code: 1, err: "E112"},
		{args: words("person split --from p2 --into-document passport --yes p2 --credential -"), in: "E1234 5678\n" + second + "\n", out: "split: the second person has 1 card"},
		{args: words("person show --document passport"), in: "e12345678", out: "interoperable "},
		{args: words("person show --document passport"), code: 1, err: "read the document number from standard input"},
		{args: words("person show --document passport"), in: "E1", code: 1, err: "E100"},
		{args: words("person forget --document passport"), in: "E12345678\nE12345679", code: 1, err: "nothing has changed"},
		{args: words("person forget --document passport"), in: "E12345678\nE12345678", out: "forgotten, 1 binding ended"},

		{args: words("card bind --person p4 --credential " + cardNumber), out: "bound"},
		{args: words("card return --credential " + cardNumber), out: "taken back (feed number "},
		{args: words("card return --credential " + cardNumber), out: "nothing to do: it is not bound"},
		{args: words("card bind --person p4 --credential " + cardNumber), out: "bound"},
		{args: words("person died --person p4"), code: 2, err: "Every binding of this person ends; say --yes with the id of --person"},
		{args: words("person died --person p4 --yes p4 --channel back-office"), out: "1 binding ended (feed number "},
		{args: words("person died --person p4 --yes p4"), out: "nothing to do: 0 bindings ended"},
		{args: words("person died --person p4 --yes p4 --channel app"), code: 1, err: "E116"},
		{args: words("person forget --person p4 --yes p4"), out: "forgotten, 0 bindings ended"},
		{args: words("stats"), out: "credentials  0 bound"},
		{args: words("conflict resolve --keep --credential " + cardNumber), out: "nothing to do: nothing waits for this card"},
	})
}

// listCard is a concession card.
func listCard(n int) string { return fmt.Sprintf("310477500000%07d", n) }

// A full delivery from the dry run to its end. Rows at fault are told by their lines,
// no number is.
func TestOpsList(t *testing.T) {
	_, env := startCentral(t, centralConfig(t))
	call := func(args string) result {
		r := gateline(t, env, nil, append([]string{"ops", "list"}, words(args)...)...)
		if strings.Contains(r.out+r.err, "31047") || strings.Contains(r.out+r.err, "E1234567") {
			t.Errorf("%s: a number is printed:\n%s%s", args, r.out, r.err)
		}
		return r
	}
	file := writeFile(t, "cards.csv", "credential,person,document,number,valid_to\n"+
		listCard(1)+",p-1,,,2058-12-31\n"+
		listCard(2)+",,passport,E12345678,\n"+
		listCard(1)+",p-2,,,\n"+ // line 4: another's, which only the centre knows
		"3104770900000000003,p-2,,,\n"+
		"3104775,p-3,,,\n"+
		listCard(3)+",p-3,,,2058-02-30\n"+
		listCard(4)+",p-3,passport,E12345678,\n"+
		listCard(4)+",,visa,E12345678,\n"+
		listCard(4)+",,passport,E1,\n"+
		listCard(5)+",p-5,,,2022-05-31\n"+
		listCard(6)+",p-6\n")
	dry := call("concession --dry-run --list 1 --full 7 " + file)
	dry.want(t, 1, "3 rows would be delivered, 8 rejected\n", file+":5: E106 该卡种暂不支持升级 (this kind of card cannot be upgraded): a card of kind interoperable stands in no such list\n")
	gateline(t, env, nil, "ops", "stats").want(t, 0, "credentials  0 bound", "")
	real := call("concession --list 1 --full 7 " + file)
	real.want(t, 1, "2 rows bound or changed, 0 as before, 1 conflict, 8 rejected (feed number ", ":4: another person has this card: decide with")
	for line, want := range map[int]string{5: "E106", 6: "a printed number has 19 digits", 7: "valid_to: not a day", 8: "give one of them", 9: "the type of the document is not one of",
		10: "the number of the document is not 4 to 32", 11: "E106", 12: "2 fields, the header has 5"} {
		for _, r := range []result{dry, real} {
			if prefix := fmt.Sprintf("%s:%d: ", file, line); !strings.Contains(r.err, prefix) || !strings.Contains(r.err[strings.Index(r.err, prefix):], want) {
				t.Errorf("line %d: no %q in\n%s", line, want, r.err)
			}
		}
	}
	if !strings.Contains(real.out, "next: correct the rejected rows and deliver them with --full 7, then 'gateline ops list end --list 1 --run 7'") {
		t.Errorf("no next step in\n%s", real.out)
	}
	walk(t, env, []step{
		{args: words("conflict list"), out: "  owner      1           7  physical  elderly-disabled-care 养老助残卡\n"},
		{args: words("conflict list --json --channel back-office"), out: `"cases":[{"name":"elderly-disabled-care","zh":"养老助残卡","medium":"physical","reason":"owner","since":"`},
		{args: words("conflict list --channel app"), code: 1, err: "E116"},
		{args: words("conflict list --most 0"), code: 2, err: "--most is not 1 to 100000"},
		{args: words("conflict resolve --grant --credential " + listCard(1)), out: "granted"},
		{args: words("conflict list"), out: "nothing waits\n"},
		{args: words("conflict list --json"), out: `"cases":[]`},
	})

	// The next full delivery names one card rightly and one in a row at fault: the
	// second is not taken for missing.
	next := writeFile(t, "next.csv", "credential,person,valid_to\n"+listCard(9)+",p-9,\n"+listCard(2)+",p-2,never\n")
	call("concession --list 1 --full 8 "+next).want(t, 1, "1 row bound or changed, 0 as before, 0 conflicts, 1 rejected", ":3: valid_to")
	call("end --list 1 --run 8").want(t, 1, "", "1 bindings would end, more than 0")
	call("end --list 1 --run 8 --most 1").want(t, 0, "ended: 1 (feed number ", "")
	call("end --list 1 --run 8").want(t, 0, "nothing to do: ended 0, the delivery has named all", "")
	call("concession --list 1 --full 8 --json "+next).want(t, 1, `"list":{"rows":2,"bound":0,"already":1,"conflicts":0,"rejected":1,"faults":[{"line":3,"result":"rejected",`, ":3: ")

	pupils := writeFile(t, "pupils.csv", "credential,person,guardian,guardian_document,guardian_number\n"+
		"3104776000000000001,p-4,p-1,,\n3104776000000000002,p-5,,,\n3104776000000000003,p-6,,passport,E12345678\n")
	for _, dry := range []string{"", "--dry-run "} {
		call("students --list 2 "+dry+pupils).want(t, 1, "2 rows ", pupils+":3: E111")
	}
	tomorrow := time.Now().In(gateway.Zone).AddDate(0, 0, 1)
	call("concession --list 3 "+writeFile(t, "ending.csv", "credential,person,valid_to\n"+listCard(7)+",p-7,"+tomorrow.Format(time.DateOnly)+"\n")).want(t, 0, "1 row bound", "")
	call("expire").want(t, 0, "nothing to do: ended 0, no last day is over (feed number ", "")
	call("students --list 2 --channel nobody "+pupils).want(t, 1, "", "E116")
	call("concession --list 1 "+writeFile(t, "bad.csv", "person\np\n")).want(t, 1, "", "there is no column credential; add it")
}

// More rows than one request takes, with one at fault in each batch.
func TestOpsListInBatches(t *testing.T) {
	_, env := startCentral(t, centralConfig(t))
	var text strings.Builder
	text.WriteString("credential,person\n")
	rows := rules.MaxRows + 500
	for i := range rows {
		person := fmt.Sprintf("p%d", i)
		if i == 9 || i == rules.MaxRows+9 {
			person = "p 9"
		}
		fmt.Fprintf(&text, "%s,%s\n", listCard(i), person)
	}
	file := writeFile(t, "cards.csv", text.String())
	r := gateline(t, env, nil, "ops", "list", "concession", "--list", "3", "--channel", "back-office", file)
	r.want(t, 1, fmt.Sprintf("%d rows bound or changed, 0 as before, 0 conflicts, 2 rejected", rows-2), fmt.Sprintf("list %d/%d", rules.MaxRows+1, rows+1))
	r.want(t, 1, "2 rejected", fmt.Sprintf("%s:%d: person: not an id", file, rules.MaxRows+11))
	gateline(t, env, nil, "ops", "list", "concession", "--list", "3", file).want(t, 1, fmt.Sprintf("0 rows bound or changed, %d as before", rows-2), ":11: ")
}

// Who a key speaks for is the centre's to say.
func TestOpsListWithKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "link")
	gateline(t, environment{}, nil, "link-key", "init", dir).want(t, 0, "centre.pem", "Next:")
	gateline(t, environment{}, nil, "link-key", "client", dir, "ops", "back-office").want(t, 0, "client-back-office.pem", "clients_file")
	centre, env := startCentral(t, linkedConfig(t, dir))
	defer centre.stop()
	file := writeFile(t, "cards.csv", "credential,person\n"+listCard(1)+",p-1\n")
	call := func(key, rest string) result {
		return gateline(t, env, nil, append(words("ops --server tls://"+strings.TrimPrefix(env.server, "nats://")+" --link "+filepath.Join(dir, "client-"+key+".pem")), words(rest)...)...)
	}
	call("ops", "list concession --list 1 "+file).want(t, 0, "1 row bound", "")
	call("back-office", "list concession --list 1 --channel back-office "+file).want(t, 0, "0 rows bound or changed, 1 as before", "")
	call("back-office", "conflict list --channel back-office").want(t, 0, "nothing waits", "")
	call("back-office", "list expire --channel back-office").want(t, 0, "nothing to do: ended 0", "")
	call("back-office", "conflict list").want(t, 1, "", "gives no commands")
	call("back-office", "list concession --list 1 "+file).want(t, 1, "", "gives no commands")
	call("ops", "list concession --list 1 --channel back-office "+file).want(t, 1, "", "does not speak for back-office")
}
