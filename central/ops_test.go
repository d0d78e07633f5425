package central

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"gateline/gateway"
	"gateline/internal/logtest"
	"gateline/replication"
)

// ask sends a raw body and returns the reply.
func ask(t *testing.T, conn *nats.Conn, subject, body string) (reply, *nats.Msg) {
	t.Helper()
	m, err := conn.Request(subject, []byte(body), 10*time.Second)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	var r reply
	if err := json.Unmarshal(m.Data, &r); err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	return r, m
}

// badNumber is the number that no reply may repeat.
const badNumber = "3104770012345678901"

type badInput struct {
	name, subject, body string
	code                Code
}

func badBinds() []badInput {
	const number = badNumber
	bind := func(credential string) string { return `{"credential":"` + credential + `","person":"ann"}` }
	long := strings.Repeat("7", 1000_000)
	return []badInput{
		{"0 digits", SubjectCardBind, bind(""), CodeBadNumber},
		{"18 digits", SubjectCardBind, bind(number[:18]), CodeBadNumber},
		{"20 without a leading zero", SubjectCardBind, bind("tunion:1" + number), CodeBadNumber},
		{"20 as printed", SubjectCardBind, bind("0" + number), CodeBadNumber},
		{"64 digits", SubjectCardBind, bind(strings.Repeat("31047700", 8)), CodeBadNumber},
		{"letters", SubjectCardBind, bind("310477001234567890A"), CodeBadNumber},
		{"full-width digits", SubjectCardBind, bind("３１０４７７００１２３４５６７８９０１"), CodeBadNumber},
		{"19 bytes of full-width digits", SubjectCardBind, bind("３１０４７７0"), CodeBadNumber},
		{"a chip number that is not hexadecimal", SubjectCardBind, bind("chip:04A1B2C3D4E5F60G"), CodeBadNumber},
		{"a ride code without an account", SubjectCardBind, bind("ride:1001"), CodeBadNumber},
		{"an unknown scheme", SubjectCardBind, bind("unionpay:" + number), CodeUnsupported},
		{"a number as scheme", SubjectCardBind, bind(number + ":1"), CodeUnsupported},
		{"a number as a JSON number", SubjectCardBind, `{"credential":` + number + `,"person":"ann"}`, CodeMalformed},
		{"a number as a key", SubjectCardBind, `{"` + number + `":1}`, CodeMalformed},
		{"an unknown field", SubjectCardBind, `{"credential":"` + number + `","person":"ann","phone":"1"}`, CodeMalformed},
		{"cut off", SubjectCardBind, `{"credential":"` + number, CodeMalformed},
		{"no JSON", SubjectCardBind, number + " ann", CodeMalformed},
		{"a JSON array", SubjectCardBind, `["` + number + `"]`, CodeMalformed},
		{"empty", SubjectCardBind, ``, CodeMalformed},
		{"text after it", SubjectCardBind, bind(number) + number, CodeMalformed},
		{"two documents", SubjectCardBind, bind(number) + bind(number), CodeMalformed},
		{"no person", SubjectCardBind, `{"credential":"` + number + `"}`, CodeMalformed},
		{"a person with blanks", SubjectCardBind, `{"credential":"` + number + `","person":"张 三"}`, CodeMalformed},
		{"a person of 65 bytes", SubjectCardBind, `{"credential":"` + number + `","person":"` + strings.Repeat("a", 65) + `"}`, CodeMalformed},
		{"a string of 1 MB", SubjectCardBind, bind(long), CodeMalformed},
		{"a person of 1 MB in an import", SubjectImport, `{"rows":[{"person":"` + long + `"}]}`, CodeMalformed},
	}
}

func badOthers() []badInput {
	const number = badNumber
	report := func(rest string) string { return `{"person":"ann",` + rest + `}` }
	return []badInput{
		{"unbind of a bad number", SubjectCardUnbind, `{"credential":"` + number[:5] + `"}`, CodeBadNumber},
		{"unbind for a bad person", SubjectCardUnbind, `{"credential":"` + number + `","person":""}`, CodeMalformed},
		{"unbind of nothing", SubjectCardUnbind, `{"credential":"` + number + `"}`, CodeNotBound},
		{"1900", SubjectPersonReport, report(`"class":"normal","anchor":"1900-01-01"`), CodeMalformed},
		{"9999", SubjectPersonReport, report(`"class":"normal","anchor":"9999-12-31"`), CodeMalformed},
		{"hold through 9999", SubjectPersonReport, report(`"class":"normal","hold_through":"9999-12-31"`), CodeMalformed},
		{"30 February", SubjectPersonReport, report(`"class":"normal","anchor":"2022-02-30"`), CodeMalformed},
		{"a time as a day", SubjectPersonReport, report(`"class":"normal","anchor":"2022-05-28T00:00:00Z"`), CodeMalformed},
		{"no class", SubjectPersonReport, report(`"anchor":"2022-05-28"`), CodeMalformed},
		{"an unknown class", SubjectPersonReport, report(`"class":"green"`), CodeMalformed},
		{"a class by number", SubjectPersonReport, report(`"class":3`), CodeMalformed},
		{"minute 1440", SubjectPersonReport, report(`"class":"normal","anchor":"2022-05-28","minute":1440`), CodeMalformed},
		{"a minute of no day", SubjectPersonReport, report(`"class":"normal","minute":5`), CodeMalformed},
		{"a number as minute", SubjectPersonReport, report(`"class":"normal","anchor":"2022-05-28","minute":` + number + `0`), CodeMalformed},
		{"a card in a report", SubjectPersonReport, report(`"class":"normal","credential":"` + number + `"`), CodeMalformed},
		{"no rows", SubjectImport, `{"rows":[]}`, CodeMalformed},
		{"too many rows", SubjectImport, `{"rows":[` + strings.Repeat(`{"person":"a","class":"red"},`, gateway.MaxChanges) + `{"person":"a"}]}`, CodeMalformed},
		{"a row of nothing", SubjectImport, `{"rows":[{"person":"ann"}]}`, CodeMalformed},
		{"a bad second row", SubjectImport, `{"rows":[{"person":"ann","credential":"` + number + `"},{"person":"bob","credential":"` + number + `"}]}`, CodeOtherOwner},
		{"no policy yet", SubjectPolicyGet, ``, CodeNoPolicy},
		{"no policy to edit", SubjectStationMode, `{"station":"xidan","mode":"off"}`, CodeNoPolicy},
		{"a policy without an instant", SubjectPolicySet, `{}`, CodeBadPolicy},
		{"a policy with a number in it", SubjectPolicySet, `{"effective":"2022-05-28T00:00:00+08:00","window":` + number + `}`, CodeBadPolicy},
		{"a policy with an unknown field", SubjectPolicySet, `{"` + number + `":1}`, CodeBadPolicy},
		{"a bad station", SubjectStationMode, `{"station":"Xi Dan","mode":"off"}`, CodeMalformed},
		{"a bad mode", SubjectStationMode, `{"station":"xidan","mode":"shut"}`, CodeMalformed},
		{"no mode", SubjectStationMode, `{"station":"xidan"}`, CodeMalformed},
		{"a bad instant", SubjectStationMode, `{"station":"xidan","mode":"off","from":"tomorrow"}`, CodeMalformed},
		{"stats with fields", SubjectStats, `{"all":true}`, CodeMalformed},
	}
}

func TestOpsRefusesBadInput(t *testing.T) {
	const number = badNumber
	log := &logtest.Buffer{}
	c := start(t, testConfig(t.TempDir(), log))
	for _, tt := range append(badBinds(), badOthers()...) {
		t.Run(tt.name, func(t *testing.T) {
			r, m := ask(t, c.Client.conn, tt.subject, tt.body)
			if r.OK || r.Code != tt.code || r.ZH == "" || r.EN == "" || tt.code == CodeMalformed && r.Detail == "" {
				t.Fatalf("got %s, want %s", m.Data, tt.code)
			}
			if m.Header.Get(micro.ErrorCodeHeader) != string(tt.code) {
				t.Errorf("header %v", m.Header)
			}
			leaks(t, "the reply", m.Data, []string{number, number[:18], number[:8], "７７"})
		})
	}
	s, _, err := c.Stats(t.Context())
	if err != nil || s.Credentials != 0 || s.Persons != 0 || s.Ledger != 0 {
		t.Errorf("something took effect: %+v, %v", s, err)
	}
	leaks(t, "the log", []byte(log.String()), []string{number, number[:18]})
}

func TestOpsAnswers(t *testing.T) {
	c := start(t, testConfig(t.TempDir(), &logtest.Buffer{}))
	ctx := t.Context()
	done := func(d Done, err error) Done {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if d.Number == 0 || d.Number > c.FeedNumber() {
			t.Fatalf("number %d, the feed is at %d", d.Number, c.FeedNumber())
		}
		return d
	}
	done(c.SetPolicy(ctx, gateway.DefaultPolicy(at("2022-05-28"))))
	done(c.Report(ctx, "ann", Status{Class: "normal", Anchor: "2022-05-28", Minute: 570, HoldThrough: "2022-06-01"}))
	first := done(c.Bind(ctx, card(1), "ann"))
	if again := done(c.Bind(ctx, card(1), "ann")); again.Changed != 0 || again.Number < first.Number {
		t.Errorf("bound again: %+v after %+v", again, first)
	}
	done(c.Bind(ctx, account(1), "ann"))
	want := gateway.Record{Anchor: 19140, AnchorMinute: 570, HoldThrough: 19144}
	if got := c.held(); len(got) != 2 || got[tokenOf(t, card(1))] != want || got[tokenOf(t, account(1))] != want {
		t.Error("records are not as reported")
	}
	done(c.StationMode(ctx, "xidan", "observe", time.Time{}))
	s, err := c.Policy(ctx)
	if err != nil || s.Version != 2 || s.Policies[0].Stations["xidan"] != gateway.ModeObserve {
		t.Errorf("schedule %+v, %v", s, err)
	}
	var refusal *Refusal
	if _, err := c.Bind(ctx, card(1), "bob"); !errors.As(err, &refusal) || refusal.Code != CodeOtherOwner {
		t.Errorf("another's card: %v", err)
	}
	if _, err := c.Unbind(ctx, card(1), "bob"); !errors.As(err, &refusal) || refusal.Code != CodeNotBound {
		t.Errorf("another's card: %v", err)
	}
	done(c.Unbind(ctx, card(1), "ann"))
	done(c.Unbind(ctx, account(1), ""))
	stats, number, err := c.Stats(ctx)
	if err != nil || number == 0 || stats.Credentials != 0 || stats.Persons != 0 || stats.ScheduleVersion != 2 || stats.Ledger != 7 || stats.Epoch == 0 {
		t.Errorf("stats %+v, %v", stats, err)
	}
	// Without a reply subject a command takes effect all the same.
	if err := c.Client.conn.Publish(SubjectCardBind, []byte(`{"credential":"`+card(5)+`","person":"ann"}`)); err != nil {
		t.Fatal(err)
	}
	until(t, "the published command took effect", func() bool { return len(c.held()) == 1 })
}

func TestOneOfFiftyWins(t *testing.T) {
	cfg := testConfig(t.TempDir(), &logtest.Buffer{})
	cfg.ClientListen = "127.0.0.1:0"
	c := start(t, cfg)
	conn, err := nats.Connect("nats://" + c.ClientAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	clients := []*Client{c.Client, NewClient(conn)}
	const persons = 50
	errs := make([]error, persons)
	var all sync.WaitGroup
	for i := range persons {
		all.Go(func() {
			_, errs[i] = clients[i%2].Bind(t.Context(), card(1), "p"+string(rune('A'+i%26))+string(rune('a'+i/26)))
		})
	}
	all.Wait()
	won := 0
	for _, err := range errs {
		var refusal *Refusal
		switch {
		case err == nil:
			won++
		case !errors.As(err, &refusal) || refusal.Code != CodeOtherOwner:
			t.Errorf("a loser got %v", err)
		}
	}
	if s, _, err := c.Stats(t.Context()); err != nil || won != 1 || s.Credentials != 1 || s.Ledger != 1 {
		t.Errorf("%d won; %+v, %v", won, s, err)
	}
}

func TestNoCentreIsAClearError(t *testing.T) {
	hub, err := replication.OpenHub(replication.HubConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer hub.Close()
	conn, err := hub.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = NewClient(conn).Bind(t.Context(), card(1), "ann")
	if !errors.Is(err, nats.ErrNoResponders) || !strings.Contains(err.Error(), "gateline central") {
		t.Errorf("got %v", err)
	}
	var refusal *Refusal
	if errors.As(err, &refusal) {
		t.Error("a missing centre looks like a refusal")
	}
}

func TestFullQueueAndDeadline(t *testing.T) {
	cfg := testConfig(t.TempDir(), &logtest.Buffer{})
	cfg.QueueSize = 1
	c, err := Open(cfg) // not running: nothing leaves the queue
	if err != nil {
		t.Fatal(err)
	}
	conn, err := c.Connect()
	if err != nil {
		t.Fatal(err)
	}
	client := NewClient(conn)
	waiting := make(chan error, 1)
	go func() {
		_, err := client.Bind(t.Context(), card(1), "ann")
		waiting <- err
	}()
	until(t, "the queue is full", func() bool { return len(c.queue.items) == 1 })
	var refusal *Refusal
	if _, err := client.Bind(t.Context(), card(2), "ann"); !errors.As(err, &refusal) || refusal.Code != CodeBusy {
		t.Errorf("beyond the queue: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-waiting; !errors.As(err, &refusal) || refusal.Code != CodeBusy {
		t.Errorf("waiting when the centre closed: %v", err)
	}
	conn.Close()
	if err := c.Records(func(gateway.Token, gateway.Record) error { return nil }); !errors.Is(err, errNoRecords) {
		t.Errorf("records of a centre that never ran: %v", err)
	}
	if err := c.Run(t.Context()); !errors.Is(err, errRunTwice) {
		t.Errorf("run after close: %v", err)
	}
}

func TestClientDeadline(t *testing.T) {
	c, err := Open(testConfig(t.TempDir(), &logtest.Buffer{}))
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, c)
	r.cancel()
	until(t, "Run has ended", func() bool {
		select {
		case <-c.done:
			return true
		default:
			return false
		}
	})
	var refusal *Refusal
	if _, err := r.Bind(t.Context(), card(1), "ann"); !errors.As(err, &refusal) || refusal.Code != CodeBusy {
		t.Errorf("after Run has ended: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if _, err := r.Bind(ctx, card(1), "ann"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a deadline that is over: %v", err)
	}
}
