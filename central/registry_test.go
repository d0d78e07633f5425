package central

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"gateline/central/rules"
	"gateline/gateway"
	"gateline/internal/logtest"
	"gateline/replication"
)

// askRegistry sends a raw body and returns the reply.
func askRegistry(t *testing.T, conn *nats.Conn, subject, body string) *nats.Msg {
	t.Helper()
	m, err := conn.Request(subject, []byte(body), 10*time.Second)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	return m
}

// channel returns a client of the centre as one of the channels.
func (r *running) channel(name rules.Channel) *Channel { return NewChannel(r.Client.conn, name) }

// took expects a result.
func took(t *testing.T, want rules.Result) func(RegistryReply, error) RegistryReply {
	return func(r RegistryReply, err error) RegistryReply {
		t.Helper()
		if err != nil || r.Result != want || r.Number == 0 && want == rules.ResultDone {
			t.Fatalf("got %+v, %v; want %s", r, err, want)
		}
		return r
	}
}

// refusedAs expects a code.
func refusedAs(t *testing.T, want Code) func(RegistryReply, error) *Refusal {
	return func(r RegistryReply, err error) *Refusal {
		t.Helper()
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Code != want || refusal.ZH == "" || refusal.EN == "" {
			t.Fatalf("got %+v, %v; want %s", r, err, want)
		}
		return refusal
	}
}

func upgradeOf(id, credential string, who Who) UpgradeRequest {
	return UpgradeRequest{ID: id, Credential: credential, Who: who, Identified: true, Consent: 1}
}

// badRegistry is one row of what is refused: a channel with a verb, and a body.
type badRegistry struct {
	name, at, body string
	code           Code
}

func badRegistryRequests() []badRegistry {
	const n = badNumber
	upgrade := func(rest string) string {
		return `{"credential":"` + n + `","identified":true,"consent":1,` + rest + `}`
	}
	card := func(credential string) string {
		return `{"credential":"` + credential + `","person":"ann","identified":true,"consent":1}`
	}
	long := strings.Repeat("7", 1000_000)
	secret := `"document":{"type":"passport","number":"` + n + `"}`
	var all []badRegistry
	add := func(at string, code Code, bodies map[string]string) {
		for name, body := range bodies {
			all = append(all, badRegistry{name + ", " + at, at, body, code})
		}
	}
	add("app.upgrade", CodeBadNumber, map[string]string{
		"no card": card(""), "17 digits": card(n[:17]), "18 digits": card(n[:18]), "20 digits": card("1" + n), "full-width digits": card("３１０４７７００１２３４５６７８９０１"), "letters": card(n[:18] + "A"),
	})
	add("app.upgrade", CodeUnsupported, map[string]string{"an unknown scheme": card("unionpay:" + n), "an unknown kind": card("9" + n[1:])})
	add("app.upgrade", CodeMalformed, map[string]string{
		"a number as a JSON number": `{"credential":` + n + `,"person":"ann"}`, "an unknown field": upgrade(`"phone":"` + n + `"`), "a number as a key": upgrade(`"` + n + `":1`),
		"nobody": upgrade(`"consent":1`), "both": upgrade(`"person":"ann",` + secret), "a person with blanks": upgrade(`"person":"张 三"`), "a person of 1 MB": upgrade(`"person":"` + long + `"`),
		"a document of no type": upgrade(`"document":{"number":"` + n + `"}`), "a document of another type": upgrade(`"document":{"type":"` + n + `","number":"` + n + `"}`),
		"a document without a number": upgrade(`"document":{"type":"passport"}`), "a document of three characters": upgrade(`"document":{"type":"passport","number":"E12"}`),
		"a document of 1 MB": upgrade(`"document":{"type":"passport","number":"` + long + `"}`), "a document in full width": upgrade(`"document":{"type":"passport","number":"３１０４７７００１"}`),
		"a document as text": upgrade(`"document":"` + n + `"`), "an unknown field in a document": upgrade(`"document":{"type":"passport","number":"` + n + `","name":"张三"}`),
		"an id with a blank": upgrade(`"person":"ann","id":"a b"`), "an id of 65 bytes": upgrade(`"person":"ann","id":"` + strings.Repeat("a", 65) + `"`), "consent below zero": upgrade(`"person":"ann","consent":-1`),
		"consent as text": upgrade(`"person":"ann","consent":"yes"`), "empty": "", "cut off": `{"credential":"` + n, "an array": `["` + n + `"]`, "two documents": card(n) + card(n), "text after it": card(n) + n,
	})
	add("app.upgrade", rules.CodeIdentity, map[string]string{"no identity": `{"credential":"` + n + `","person":"ann","consent":1}`})
	add("app.upgrade", rules.CodeConsent, map[string]string{"no consent": `{"credential":"` + n + `","person":"ann","identified":true}`, "another consent": `{"credential":"` + n + `","person":"ann","identified":true,"consent":9}`})
	add("app.help", CodeMalformed, map[string]string{"no helper": card(n), "a helper as text": upgrade(`"person":"ann","helper":"` + n + `"`)})
	add("app.swap", CodeBadNumber, map[string]string{"no old card": `{"new":"` + n + `","person":"ann"}`, "no new card": `{"old":"` + n + `","person":"ann"}`})
	add("app.swap", CodeNotBound, map[string]string{"nothing to end": `{"old":"` + n + `","new":"3104770012345678902","person":"ann","identified":true,"consent":1}`})
	add("hotline.unbind", CodeNotBound, map[string]string{"nothing to end": card(n[:19])[:len(card(n))-len(`,"consent":1}`)] + "}", "nobody asks": `{"credential":"` + n + `","identified":true}`})
	add("app.ride.authorise", CodeUnsupported, map[string]string{"a card": card(n)})
	add("app.own", CodeMalformed, map[string]string{"nobody": `{}`})
	add("wechat.upgrade", rules.CodeChannel, map[string]string{"a channel with no right": card(n)})
	add("nobody-knows.upgrade", rules.CodeChannel, map[string]string{"an unknown channel": card(n)})
	add("app.person.forget", rules.CodeChannel, map[string]string{"not the app's": `{"person":"ann"}`})
	add("app.health.report", rules.CodeChannel, map[string]string{"not the app's": `{"reports":[{"person":"ann","class":"red"}]}`})
	add("app.list.students", rules.CodeChannel, map[string]string{"not even read": `{`})
	add("ops.statistics", CodeMalformed, map[string]string{"a field": `{"all":true}`})
	add("health-source.health.report", CodeMalformed, map[string]string{
		"none": `{"reports":[]}`, "501": `{"reports":[` + strings.Repeat(`{"person":"a","class":"red"},`, rules.MaxReports) + `{"person":"a","class":"red"}]}`, "1 MB": `{"reports":[{"person":"` + long + `"}]}`,
		"a bad form": `{"reports":[{"person":"ann","class":"red"},{"person":"ann","class":"red","` + n + `":1}]}`, "a revision of 20 digits": `{"reports":[{"person":"ann","class":"red","revision":` + n + `99}]}`,
		"a revision below zero": `{"reports":[{"person":"ann","class":"red","revision":-1}]}`, "an instant that is none": `{"reports":[{"person":"ann","class":"red"},{"person":"ann","class":"red","result_at":"` + n + `"}]}`,
	})
	add("back-office.list.concession", CodeMalformed, map[string]string{
		"no list": `{"rows":[{"credential":"3104775000000000001","person":"ann"}]}`, "no rows": `{"list":1}`, "a list of 300": `{"list":300,"rows":[{}]}`, "a row as text": `{"list":1,"rows":["` + n + `"]}`,
		"2049 rows": `{"list":1,"rows":[{}` + strings.Repeat(`,{}`, rules.MaxRows) + `]}`,
	})
	add("back-office.list.end", CodeMalformed, map[string]string{"no run": `{"list":1,"most":3}`, "most below zero": `{"list":1,"run":1,"most":-1}`})
	add("ops.person.merge", CodeMalformed, map[string]string{"one": `{"from":{"person":"ann"}}`, "the same": `{"from":{"person":"ann"},"into":{"person":"ann"}}`})
	add("ops.person.split", CodeMalformed, map[string]string{"no cards": `{"from":{"person":"ann"},"into":{"person":"bob"},"credentials":[]}`})
	add("ops.person.split", CodeBadNumber, map[string]string{"a bad card": `{"from":{"person":"ann"},"into":{"person":"bob"},"credentials":["` + n + `","` + n[:18] + `"]}`})
	return all
}

func TestRegistryRefusesBadInput(t *testing.T) {
	log := &logtest.Buffer{}
	c := start(t, testConfig(t.TempDir(), log))
	for _, tt := range badRegistryRequests() {
		t.Run(tt.name, func(t *testing.T) {
			m := askRegistry(t, c.Client.conn, "gateline.registry."+tt.at, tt.body)
			var r RegistryReply
			if err := json.Unmarshal(m.Data, &r); err != nil {
				t.Fatal(err)
			}
			if r.OK || r.Code != tt.code || r.ZH == "" || r.EN == "" || tt.code == CodeMalformed && r.Detail == "" {
				t.Fatalf("got %s, want %s", m.Data, tt.code)
			}
			if m.Header.Get(micro.ErrorCodeHeader) != string(tt.code) {
				t.Errorf("header %v", m.Header)
			}
			leaks(t, "the reply", m.Data, []string{badNumber, badNumber[:17], badNumber[:8], "７７", "张"})
		})
	}
	s, _, err := c.Stats(t.Context())
	if err != nil || s.Credentials != 0 || s.Persons != 0 || s.Ledger != 0 {
		t.Errorf("something took effect: %+v, %v", s, err)
	}
	leaks(t, "the log", []byte(log.String()), []string{badNumber, badNumber[:17]})
}

// A batch in which every row is bad has a code for each, and no effect.
func TestBatchOfBadRows(t *testing.T) {
	c := start(t, testConfig(t.TempDir(), &logtest.Buffer{}))
	health := HealthRequest{Reports: []HealthReport{
		{Class: "red"}, {Who: ByID("ann")}, {Who: ByID("ann"), Class: "green"}, {Who: ByID("ann"), Class: "normal", Anchor: "1900-01-01"}, {Who: ByID("ann"), Class: "normal", Anchor: "9999-12-31"},
		{Who: ByID("ann"), Class: "normal", HoldThrough: "2022-02-30"}, {Who: ByID("ann"), Class: "normal", ResultAt: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)},
		{Who: ByID("ann"), Class: "normal", ResultAt: time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)}, {Who: ByID("ann"), Class: "normal", ResultAt: at("2022-06-01"), Anchor: "2022-06-01"},
		{Who: ByID("ann"), Class: "normal", Minute: 5}, {Who: ByDocument("passport", badNumber), Class: "normal", Anchor: "2022-05-28", Minute: 1440},
	}}
	r := took(t, rules.ResultRejected)(c.channel(rules.ChannelHealthSource).ReportHealth(t.Context(), health))
	if int(r.Rejected) != len(health.Reports) || len(r.Rows) != len(health.Reports) || r.Accepted != 0 {
		t.Errorf("got %+v", r)
	}
	for i, row := range r.Rows {
		if row.Row != i+1 || row.Result != rules.ResultRejected || row.Code != CodeMalformed || row.Detail == "" {
			t.Errorf("row %d: %+v", i, row)
		}
	}
	list := ListRequest{List: 1, Rows: []ListRow{{}, {Credential: badNumber[:17], Who: ByID("ann")}, {Credential: "x:" + badNumber, Who: ByID("ann")}, {Credential: elderly(1)}, {Credential: elderly(1), Who: ByID("ann"), ValidTo: "1900-01-01"},
		{Credential: elderly(1), Who: ByID("ann"), Guardian: &Who{}}, {Credential: elderly(1), Who: ByID("ann"), ValidTo: "2022-01-01"}, {Credential: card(1), Who: ByID("ann")}}}
	lr := took(t, rules.ResultAlready)(c.channel(rules.ChannelBackOffice).ListConcession(t.Context(), list))
	want := []Code{CodeBadNumber, CodeBadNumber, CodeUnsupported, CodeMalformed, CodeMalformed, CodeMalformed, CodeUnsupported, CodeUnsupported}
	for i, row := range lr.Rows {
		if len(lr.Rows) != len(want) || row.Row != i+1 || row.Code != want[i] {
			t.Fatalf("got %+v", lr.Rows)
		}
	}
	if s, _, err := c.Stats(t.Context()); err != nil || s.Ledger != 0 {
		t.Errorf("something took effect: %+v, %v", s, err)
	}
}

// A card that a full delivery names in a row that cannot be read is not missing from
// the list.
func TestBadRowNamesItsCard(t *testing.T) {
	c := start(t, testConfig(t.TempDir(), &logtest.Buffer{}))
	back, ctx := c.channel(rules.ChannelBackOffice), t.Context()
	good := []ListRow{{Credential: elderly(1), Who: ByID("ann")}, {Credential: elderly(2), Who: ByID("bob")}, {Credential: elderly(3), Who: ByID("cat")}}
	took(t, rules.ResultDone)(back.ListConcession(ctx, ListRequest{List: 1, Run: 1, Rows: good}))
	bad := []ListRow{{Credential: elderly(1)}, {Credential: elderly(2), Who: ByID("bob"), ValidTo: "tomorrow"}, {Credential: elderly(3), Who: ByID("cat"), Guardian: &Who{}}}
	if r := took(t, rules.ResultDone)(back.ListConcession(ctx, ListRequest{List: 1, Run: 2, Rows: bad})); r.Rejected != 3 {
		t.Errorf("got %+v", r)
	}
	took(t, rules.ResultAlready)(back.ListEnd(ctx, ListEndRequest{List: 1, Run: 2, Most: 3}))
}

func elderly(i int) string { return fmt.Sprintf("tunion:31047750%011d", i) }

// What a rider, an outlet, the back office and the health source do, over the typed
// client.
func TestRegistryVerbs(t *testing.T) {
	c := start(t, testConfig(t.TempDir(), &logtest.Buffer{}))
	ctx := t.Context()
	app, back, health, ops := c.channel(rules.ChannelApp), c.channel(rules.ChannelBackOffice), c.channel(rules.ChannelHealthSource), c.channel(rules.ChannelOps)
	done, already := took(t, rules.ResultDone), took(t, rules.ResultAlready)
	ann := ByDocument(DocumentResident, "11010119900307721x")
	done(app.Upgrade(ctx, upgradeOf("u1", card(1), ann)))
	already(app.Upgrade(ctx, upgradeOf("u2", "3104 7700 0000 0000 001", ByDocument(DocumentResident, "110101 19900307 721X"))))
	refusedAs(t, CodeOtherOwner)(app.Upgrade(ctx, upgradeOf("", card(1), ByDocument(DocumentPassport, "11010119900307721X"))))
	refusedAs(t, CodeOtherOwner)(app.Upgrade(ctx, upgradeOf("", card(1), ByID("11010119900307721X"))))
	r := done(health.ReportHealth(ctx, HealthRequest{Reports: []HealthReport{{Who: ann, Revision: 3, Class: "normal", ResultAt: time.Date(2022, 7, 2, 3, 0, 0, 0, gateway.Zone)}, {Who: ann, Revision: 2, Class: "red"}, {Who: ann, Revision: 3, Class: "red"}}}))
	if r.Accepted != 1 || r.Rejected != 1 || len(r.Rows) != 2 || r.Rows[0] != (RowReply{Row: 2, Result: rules.ResultOlder}) || r.Rows[1].Code != CodeMalformed {
		t.Errorf("reports: %+v", r)
	}
	day, _ := parseDay("2022-07-01") // IMP-16
	if got := c.held()[tokenOf(t, card(1))]; got != (gateway.Record{Anchor: day}) {
		t.Errorf("a box has %+v", got)
	}
	done(app.Help(ctx, HelpRequest{UpgradeRequest: upgradeOf("", card(2), ByID("mum")), Helper: ann}))
	done(app.Swap(ctx, SwapRequest{Old: card(1), New: card(3), Who: ann, Identified: true, Consent: 1}))
	done(app.AuthoriseRide(ctx, upgradeOf("", account(1), ann)))
	if own := done(app.Own(ctx, ann)); len(own.Bindings) != 2 || len(own.Helped) != 1 || own.Bindings[1].Name != "interoperable" || own.Bindings[1].Medium != rules.MediumPhysical || own.Bindings[1].Since.IsZero() {
		t.Errorf("own: %+v", own)
	}
	done(app.WithdrawRide(ctx, RideWithdrawRequest{Credential: account(1), Who: ann}))
	took(t, rules.ResultPending)(app.Issue(ctx, IssueRequest{Credential: card(4), Who: ann, Identified: true}))
	refusedAs(t, "T202")(app.Issue(ctx, IssueRequest{Credential: card(5)}))
	if own := done(app.Own(ctx, ann)); len(own.Bindings) != 2 || !own.Bindings[1].Waiting {
		t.Errorf("own: %+v", own)
	}
	done(app.CheckTopUp(ctx, card(3)))
	refusedAs(t, "T201")(app.CheckTopUp(ctx, card(4)))
	refusedAs(t, "L301")(app.ReportLoss(ctx))
	done(app.Unbind(ctx, UnbindRequest{Credential: card(3), Who: ann, Identified: true})) // and card 4 comes in
	done(app.CheckTopUp(ctx, card(4)))
	done(c.channel(rules.ChannelHall).Return(ctx, CardRequest{Credential: card(4)}))
	done(back.Replace(ctx, ReplaceRequest{Old: card(2), New: card(6)}))
	if kind := done(c.channel(rules.ChannelMachine).LookUp(ctx, card(6))); kind.Kind == nil || kind.Kind.ZH != "北京互通卡" {
		t.Errorf("look-up: %+v", kind)
	}
	list := done(back.ListConcession(ctx, ListRequest{List: 1, Run: 1, Rows: []ListRow{{Credential: elderly(1), Who: ann}, {Credential: elderly(1), Who: ByID("bob")}, {Credential: elderly(2), Who: ByID("bob"), ValidTo: "2058-01-01"}}}))
	if list.Bound != 2 || list.Conflicts != 1 {
		t.Errorf("list: %+v", list)
	}
	done(ops.Resolve(ctx, ResolveRequest{Credential: elderly(1), Grant: true}))
	already(back.ListExpire(ctx, ListExpireRequest{ID: "today"}))
	refusedAs(t, CodeMalformed)(back.ListEnd(ctx, ListEndRequest{List: 1, Run: 2, Most: 1}))
	if end := done(back.ListEnd(ctx, ListEndRequest{List: 1, Run: 2, Most: 2})); end.Ended != 2 || end.More {
		t.Errorf("end: %+v", end)
	}
	student := "tunion:3104776000000000001"
	if students := done(back.ListStudents(ctx, ListRequest{List: 2, Rows: []ListRow{{Credential: student, Who: ByID("kid"), Guardian: &ann}}})); students.Bound != 1 {
		t.Errorf("students: %+v", students)
	}
	done(app.WithdrawGuardian(ctx, GuardianRequest{Credential: student, Guardian: ann}))
	done(ops.Merge(ctx, MergeRequest{From: ByID("mum"), Into: ByID("mother")}))
	done(ops.Split(ctx, SplitRequest{From: ByID("mother"), Into: ByID("aunt"), Credentials: []string{card(6)}}))
	if died := done(back.Died(ctx, PersonRequest{Who: ByID("aunt")})); died.Ended != 1 {
		t.Errorf("died: %+v", died)
	}
	done(ops.Forget(ctx, PersonRequest{Who: ann}))
	if s := done(ops.Statistics(ctx)); s.Stats == nil || *s.Stats != (RegistryCounts{}) {
		t.Errorf("statistics: %+v", s)
	}
	if len(c.held()) != 0 {
		t.Error("a box holds something still")
	}
}

// TestThousandUpgrades: however many channels ask at once, a person gets one card
// (QTA-07).
func TestThousandUpgrades(t *testing.T) {
	c := start(t, testConfig(t.TempDir(), &logtest.Buffer{}))
	channels := []*Channel{c.channel(rules.ChannelApp), c.channel(rules.ChannelMini), c.channel(rules.ChannelMetro)}
	const requests = 1000
	errs := make([]error, requests)
	var all sync.WaitGroup
	for i := range requests {
		all.Go(func() {
			_, errs[i] = channels[i%3].Upgrade(t.Context(), upgradeOf(fmt.Sprint(i), card(i), ByDocument(DocumentPassport, "E12345678")))
		})
	}
	all.Wait()
	won := 0
	for _, err := range errs {
		var refusal *Refusal
		switch {
		case err == nil:
			won++
		case !errors.As(err, &refusal) || refusal.Code != rules.CodePhysicalFull:
			t.Fatalf("a loser got %v", err)
		}
	}
	if s := took(t, rules.ResultDone)(c.channel(rules.ChannelOps).Statistics(t.Context())); won != 1 || *s.Stats != (RegistryCounts{Persons: 1, Bindings: 1}) {
		t.Errorf("%d won; %+v", won, s.Stats)
	}
}

// A request that is sent again has one effect and the same answer, also after the
// centre was started again.
func TestRetryAfterRestart(t *testing.T) {
	dir := t.TempDir()
	c := start(t, testConfig(dir, &logtest.Buffer{}))
	ctx := t.Context()
	ann := ByID("ann")
	done := took(t, rules.ResultDone)
	batch := HealthRequest{ID: "h", Reports: []HealthReport{{Who: ann, Class: "yellow"}, {Who: ByID("bob"), Class: "green"}}}
	ask := func() []RegistryReply {
		t.Helper()
		app := c.channel(rules.ChannelApp)
		return []RegistryReply{
			done(app.Upgrade(ctx, upgradeOf("u", card(1), ann))),
			done(app.Unbind(ctx, UnbindRequest{ID: "x", Credential: card(1), Who: ann, Identified: true})),
			done(c.channel(rules.ChannelHealthSource).ReportHealth(ctx, batch)),
			{Detail: refusedAs(t, CodeOtherOwner)(app.Upgrade(ctx, upgradeOf("no", card(2), ann))).ZH},
		}
	}
	done(c.channel(rules.ChannelMini).Upgrade(ctx, upgradeOf("u", card(2), ByID("bob"))))
	first := ask()
	var all sync.WaitGroup
	for range 50 { // at once
		all.Go(func() {
			if r, err := c.channel(rules.ChannelApp).Upgrade(ctx, upgradeOf("u", card(1), ann)); err != nil || r.Result != rules.ResultDone {
				t.Errorf("sent again at once: %+v, %v", r, err)
			}
		})
	}
	all.Wait()
	check := func(when string) {
		t.Helper()
		for i, r := range ask() {
			r.Number, first[i].Number, first[i].Rows = 0, 0, nil
			if got, want := fmt.Sprintf("%+v", r), fmt.Sprintf("%+v", first[i]); got != want {
				t.Errorf("%s: answer %d is %s, was %s", when, i, got, want)
			}
		}
		refusedAs(t, CodeMalformed)(c.channel(rules.ChannelApp).Upgrade(ctx, upgradeOf("u", card(3), ann)))
		if s, _, err := c.Stats(ctx); err != nil || s.Credentials != 1 {
			t.Errorf("%s: %+v, %v", when, s, err)
		}
	}
	if first[2].Accepted != 1 || first[2].Rejected != 1 || len(first[2].Rows) != 1 {
		t.Errorf("the batch: %+v", first[2])
	}
	check("sent again")
	s, _, _ := c.Stats(ctx)
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	c = start(t, testConfig(dir, &logtest.Buffer{}))
	check("after a restart")
	if again, _, err := c.Stats(ctx); err != nil || again.Ledger != s.Ledger {
		t.Errorf("the ledger has %d messages, had %d: %v", again.Ledger, s.Ledger, err)
	}
}

// asker is a Verifier of a test's.
type asker func(context.Context, Claim) (bool, error)

func (a asker) Verify(ctx context.Context, c Claim) (bool, error) { return a(ctx, c) }

func TestVerifier(t *testing.T) {
	log := &logtest.Buffer{}
	cfg := testConfig(t.TempDir(), log)
	hang := make(chan struct{}, 1)
	cfg.Verifier = asker(func(ctx context.Context, c Claim) (bool, error) {
		switch c.Who.Person {
		case "down":
			return true, fmt.Errorf("no connection about %s", c.Who.Person)
		case "hang":
			hang <- struct{}{}
			<-ctx.Done()
			return true, ctx.Err()
		}
		return c.Channel == rules.ChannelApp && c.Who.Document != nil && c.Who.Document.Number == "E12345678", nil
	})
	c := start(t, cfg)
	app, ctx := c.channel(rules.ChannelApp), t.Context()
	yes := ByDocument(DocumentPassport, "E12345678")
	plain := upgradeOf("a", card(1), yes)
	plain.Identified = false // the verifier's word counts, not the channel's
	took(t, rules.ResultDone)(app.Upgrade(ctx, plain))
	no, unsure := ByDocument(DocumentPassport, "E12345679"), ByDocument(DocumentPassport, "e12345678") // the same person as yes
	refusedAs(t, rules.CodeIdentity)(app.Upgrade(ctx, upgradeOf("", card(2), no)))
	refusedAs(t, rules.CodeIdentity)(app.Help(ctx, HelpRequest{UpgradeRequest: upgradeOf("", card(2), no), Helper: yes}))
	refusedAs(t, rules.CodeIdentity)(app.Swap(ctx, SwapRequest{Old: card(1), New: card(2), Who: unsure, Identified: true, Consent: 1}))
	refusedAs(t, rules.CodeIdentity)(app.Unbind(ctx, UnbindRequest{Credential: card(1), Who: unsure, Identified: true}))
	refusedAs(t, rules.CodeIdentity)(app.AuthoriseRide(ctx, upgradeOf("", account(1), no)))
	refusedAs(t, "T202")(app.Issue(ctx, upgradeOf("", card(2), no)))
	refusedAs(t, rules.CodeIdentity)(c.channel(rules.ChannelMini).Upgrade(ctx, upgradeOf("", card(2), yes)))
	if r := refusedAs(t, CodeBusy)(app.Upgrade(ctx, upgradeOf("", card(2), ByID("down")))); strings.Contains(r.Error(), "connection") {
		t.Errorf("the verifier's error is shown: %v", r)
	}
	waiting := make(chan error, 1)
	go func() {
		_, err := app.Upgrade(ctx, upgradeOf("", card(2), ByID("hang")))
		waiting <- err
	}()
	<-hang
	took(t, rules.ResultDone)(app.Unbind(ctx, UnbindRequest{Credential: card(1), Who: yes})) // others go on
	c.cancel()
	<-c.ended
	c.ended <- nil
	if err := c.Central.Close(); err != nil {
		t.Error(err)
	}
	if err := <-waiting; err == nil {
		t.Error("a question that was open when the centre closed is answered yes")
	}
	leaks(t, "the log", []byte(log.String()), []string{"E12345678", "down"})
}

func TestRegistryLeaksNothing(t *testing.T) {
	log := &logtest.Buffer{}
	c := start(t, testConfig(t.TempDir(), log))
	feed := make(chan *nats.Msg, 1024)
	if _, err := c.Client.conn.ChanSubscribe("gateline.>", feed); err != nil {
		t.Fatal(err)
	}
	secrets := []string{"E98765432", "a-person-of-the-test", "11010119900307721X", "11010119900307721x", numberIn(card(7)), numberIn(card(8)), numberIn(elderly(7))}
	who := []Who{ByDocument(DocumentPassport, secrets[0]), ByID(secrets[1]), ByDocument(DocumentResident, secrets[3])}
	ctx := t.Context()
	app := c.channel(rules.ChannelApp)
	show := func(r RegistryReply, err error) {
		t.Helper()
		leaks(t, "an answer", fmt.Appendf(nil, "%+v %v", r, err), secrets)
	}
	show(app.Upgrade(ctx, upgradeOf("a", card(7), who[0])))
	show(app.Upgrade(ctx, upgradeOf("b", card(8), who[0])))
	show(app.Upgrade(ctx, upgradeOf("c", card(7), who[1])))
	show(app.Help(ctx, HelpRequest{UpgradeRequest: upgradeOf("d", card(8), who[1]), Helper: who[0]}))
	show(app.Own(ctx, who[0]))
	show(c.channel(rules.ChannelBackOffice).ListConcession(ctx, ListRequest{List: 1, Rows: []ListRow{{Credential: elderly(7), Who: who[2]}, {Credential: elderly(7), Who: who[0]}, {Credential: elderly(7) + "0", Who: who[0]}}}))
	show(c.channel(rules.ChannelHealthSource).ReportHealth(ctx, HealthRequest{Reports: []HealthReport{{Who: who[2], Class: "red"}, {Who: who[2], Class: secrets[2]}}}))
	for _, q := range []any{upgradeOf("a", card(7), who[0]), HelpRequest{UpgradeRequest: upgradeOf("d", card(8), who[1]), Helper: who[0]}, SwapRequest{Old: card(7), Who: who[0]}, UnbindRequest{Credential: card(7), Who: who[1]},
		RideWithdrawRequest{Credential: card(7)}, CardRequest{Credential: card(7)}, ReplaceRequest{Old: card(7), New: card(8)}, LookRequest{Credential: card(7)}, OwnRequest{who[0]},
		ListRow{Credential: card(7), Guardian: &who[1]}, ListRequest{Rows: []ListRow{{Credential: card(7)}}}, GuardianRequest{Credential: card(7), Guardian: who[1]}, ResolveRequest{Credential: card(7)},
		HealthReport{Who: who[1], Class: "red"}, HealthRequest{Reports: []HealthReport{{Who: who[1]}}}, PersonRequest{Who: who[1]}, MergeRequest{From: who[0], Into: who[1]},
		SplitRequest{From: who[0], Credentials: []string{card(7)}}, who[0], *who[0].Document, Claim{Who: who[0]}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			leaks(t, fmt.Sprintf("%T", q), fmt.Appendf(nil, verb, q), secrets)
		}
	}
	if err := c.Client.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for len(feed) > 0 {
		m := <-feed
		seen[m.Subject] = true
		if strings.HasPrefix(m.Subject, replication.SubjectFeed) || m.Subject == SubjectLedger || m.Subject == replication.SubjectLive {
			leaks(t, m.Subject, m.Data, secrets)
		}
	}
	if !seen[SubjectLedger] || !seen[replication.SubjectFeed] {
		t.Errorf("ledger and feed were not looked at: %v", seen)
	}
	leaks(t, "the log", []byte(log.String()), secrets)
}

// dial connects over TCP, as a channel does.
func dial(t testing.TB, c *running, name rules.Channel) *Channel {
	t.Helper()
	conn, err := nats.Connect("nats://" + c.ClientAddr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return NewChannel(conn, name)
}
