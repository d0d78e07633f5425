package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"gateline/gateway"
)

const cardNumber = "3104770012345678901"

// step is one call of ops and what it must print.
type step struct {
	args []string
	in   string
	code int
	out  string
	err  string
}

func words(text string) []string { return strings.Fields(text) }

// walk calls ops step by step. Nothing printed may ever hold a number.
func walk(t *testing.T, env environment, steps []step) {
	t.Helper()
	for _, s := range steps {
		r := gateline(t, env, strings.NewReader(s.in), append([]string{"ops"}, s.args...)...)
		r.want(t, s.code, s.out, s.err)
		for number := range strings.FieldsSeq(strings.Join(s.args, " ") + " " + s.in) {
			if _, after, found := strings.Cut(number, ":"); found {
				number = after
			}
			if len(number) >= 16 && strings.ContainsAny(number, "0123456789０") && (strings.Contains(r.out, number) || strings.Contains(r.err, number)) {
				t.Errorf("what was given is printed")
			}
		}
		if t.Failed() {
			t.Fatal("at:", s.args)
		}
	}
}

func TestOps(t *testing.T) {
	_, env := startCentral(t, centralConfig(t))
	policy := writeFile(t, "policy.json", `{"effective":"2022-05-28T00:00:00+08:00","mode":"enforce"}`)
	off := writeFile(t, "off.json", `{"effective":"2099-05-28T00:00:00+08:00","mode":"off"}`)
	ended := writeFile(t, "ended.json", `{"effective":"2022-05-28T00:00:00+08:00","mode":"enforce","sunset":"2022-12-31T00:00:00+08:00"}`)
	walk(t, env, []step{
		{args: words("stats"), out: "policy       none: boxes send every rider to the manual lane (R24)"},
		{args: words("policy show"), code: 1, err: "gateline: E120 尚未设置策略 (no policy has been set yet): "},
		{args: words("station mode xidan enforce --yes"), code: 1, err: "E120"},
		{args: words("policy set " + policy), code: 2, err: "riders are refused: mode enforce; say --yes"},
		{args: words("policy set --yes " + policy), out: "set: enforce from 2022-05-28 00:00:00 +08:00 (feed number "},
		{args: words("policy set " + policy), out: "nothing to do: the schedule has this document already"},
		{args: words("policy set " + off), code: 2, err: "mode off; say --yes"},
		{args: words("policy set --yes -"), in: `{"effective":"2099-05-28T00:00:00+08:00","mode":"off"}`, out: "set: off from 2099-05-28"},
		{args: words("policy show"), out: "version 2, 2 documents\n\nfrom 2022-05-28 00:00:00 +08:00 (in force)\n  mode          enforce\n  window        2 days, unit calendar_day\n  data          fresh for 15m, good for a pass for 24h\n"},
		{args: words("policy set " + ended), out: "set: ", err: "note: the sunset of this document has passed: gates answer everybody with pass"},
		{args: words("policy show"), out: "(in force, past its sunset)"},
		{args: words("policy set " + policy), out: "set: "},

		{args: words("station mode xidan observe --yes"), out: "set: station xidan is on observe from now (feed number ", err: "no document has named station xidan before"},
		{args: words("station mode xidan observe --yes"), out: "nothing to do: station xidan is on observe already"},
		{args: words("station mode xidan default --yes"), out: "set: station xidan is on default from now"},
		{args: []string{"station", "mode", "xidan", "enforce", "--yes", "--from", "2099-06-06 04:00"}, out: "from 2099-06-06 04:00:00 +08:00", err: "spelled as in the box's configuration"},
		{args: []string{"station", "mode", "Xi Dan", "enforce", "--yes"}, code: 1, err: "E100 请求格式有误 (malformed request): station: a station's name is made of"},

		{args: words("card bind --person p1 --credential " + cardNumber), out: "bound (feed number "},
		{args: words("card bind --person p1 --credential tunion:" + cardNumber), out: "nothing to do: it is bound to this person already"},
		{args: words("card bind --person p1 --credential -"), in: "3104770 0123456 78901\r\nignored\n", out: "nothing to do: it is bound"},
		{args: words("card bind --person p2 --credential " + cardNumber), code: 1, err: "gateline: E104 该卡已由其他用户绑定 (the card is bound by another person, who has to unbind it first)"},
		{args: words("card bind --person p2 --credential ride:1001000000000042"), out: "bound"},
		{args: words("card bind --person p2 --credential -"), code: 1, err: "read the credential from standard input"},
		{args: []string{"card", "bind", "--person", "张 三", "--credential", cardNumber}, code: 1, err: "E100"},

		{args: words("person report --person p1 --class normal --anchor 2022-05-28 --minute 570 --hold-through 2022-06-01"), out: "reported (feed number "},
		{args: words("person report --person p1 --class normal --anchor 2022-05-28 --minute 570 --hold-through 2022-06-01"), out: "nothing to do: the status is the same"},
		{args: words("person report --person p1 --class popup"), out: "reported"},
		{args: words("person report --person p1 --class green"), code: 1, err: "class: not one of normal, popup, yellow, red"},
		{args: words("person report --person p1 --class normal --anchor 2022-02-30"), code: 1, err: "anchor: not a day"},
		{args: words("person report --person p1 --class normal --minute 5"), code: 1, err: "minute: not 0"},

		{args: words("stats"), out: "credentials  2 bound\npersons      2 with a credential\npolicy       version "},
		{args: words("card unbind --person p2 --credential " + cardNumber), code: 1, err: "E112 未找到可解绑的绑定关系"},
		{args: words("card unbind --credential -"), in: cardNumber, out: "unbound (feed number "},
		{args: words("card unbind --credential " + cardNumber), code: 1, err: "E112"},
		{args: words("stats"), out: "credentials  1 bound\npersons      1 with a credential\n"},
	})
}

func TestOpsRefusesBadCredentials(t *testing.T) {
	_, env := startCentral(t, centralConfig(t))
	const e105 = "gateline: E105 卡号有误,请核对卡面19位数字 (wrong number, please check the 19 digits on the card): "
	var steps []step
	for name, c := range map[string]struct{ credential, err string }{
		"0 digits":          {"", e105},
		"18 digits":         {cardNumber[:18], e105 + "bad credential: a printed number has 19 digits, this one has 18 bytes"},
		"20 digits":         {cardNumber + "7", e105},
		"64 digits":         {strings.Repeat("31047700", 8), e105},
		"letters":           {"310477001234567890A", e105 + "bad credential: character 19"},
		"full-width digits": {"３１０４７７００１２３４５６７８９０１", e105},
		"unknown scheme":    {"unionpay:" + cardNumber, "gateline: E106 该卡种暂不支持升级"},
	} {
		t.Log(name)
		for _, verb := range [][]string{{"card", "bind", "--person", "p1"}, {"card", "unbind"}} {
			steps = append(steps, step{args: append(verb, "--credential", c.credential), code: 1, err: c.err})
			if c.credential != "" {
				steps = append(steps, step{args: append(verb, "--credential", "-"), in: c.credential + "\n", code: 1, err: c.err})
			}
		}
	}
	steps = append(steps, step{args: words("stats"), out: "credentials  0 bound"})
	walk(t, env, steps)
}

func TestOpsRefusesBadPolicy(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":         {" \n", "there is nothing in it; write it as"},
		"cut off":       {"{\n\"effective\":\"2022-05-28T00:00:00+08:00\",\n", "policy.json:3: no JSON: "},
		"not JSON":      {"mode = \"enforce\"\n", "policy.json:1: no JSON: invalid character"},
		"an array":      {"[]", "no JSON object"},
		"wrong type":    {"{\n\"effective\":\"2022-05-28T00:00:00+08:00\",\n\"window\":" + cardNumber + "}", "policy.json:3: window: a value of the wrong type"},
		"unknown key":   {`{"effective":"2022-05-28T00:00:00+08:00","windows":2}`, `unknown field "windows"`},
		"unknown mode":  {`{"effective":"2022-05-28T00:00:00+08:00","mode":"shut"}`, `mode "shut" is not one of`},
		"several":       {`{"window":99,"verdict_ttl":"1ms"}`, "effective: missing"},
		"two documents": {`{"effective":"2022-05-28T00:00:00+08:00"}{}`, "there is text after the document"},
		"too large":     {`{"effective":"` + strings.Repeat("x", gateway.MaxScheduleSize) + `"}`, "bytes, at most"},
	} {
		r := gateline(t, environment{server: "nats://127.0.0.1:1"}, nil, "ops", "policy", "set", writeFile(t, "policy.json", c.text))
		if r.code != 1 || r.out != "" || !strings.Contains(r.err, c.want) || strings.Contains(r.err, cardNumber) {
			t.Errorf("%s: exit code %d\n%.300s", name, r.code, r.err)
		}
	}
	gateline(t, environment{}, nil, "ops", "policy", "set", "/nonexistent.json").want(t, 1, "", "give the path of a policy document")
}

// The example that ships can be set.
func TestOpsSetsExamplePolicy(t *testing.T) {
	_, env := startCentral(t, centralConfig(t))
	r := gateline(t, env, nil, "ops", "policy", "set", "--yes", "../../docs/examples/policy.json")
	if r.code != 0 || !strings.Contains(r.out, "set: enforce from ") {
		t.Errorf("%+v", r)
	}
}

func TestOpsJSON(t *testing.T) {
	_, env := startCentral(t, centralConfig(t))
	policy := writeFile(t, "policy.json", `{"effective":"2022-05-28T00:00:00+08:00","mode":"enforce"}`)
	rows := writeFile(t, "rows.csv", "credential,person\n"+cardNumber+",p9\n")
	cards := writeFile(t, "cards.csv", "credential,person\n3104775000000000001,p9\n")
	for _, c := range []struct {
		args string
		code int
		keys string // of the object, in order
	}{
		{"policy set --yes " + policy, 0, "ok number changed change"},
		{"policy set " + policy, 0, "ok number"},
		{"policy show", 0, "ok schedule"},
		{"policy show " + policy, 0, "ok change"},
		{"card lookup --credential " + cardNumber, 0, "ok number result kind"},
		{"card lookup --credential 9", 1, "ok code zh en detail"},
		{"person forget --person p7 --yes p7", 0, "ok number result"},
		{"list expire", 0, "ok number result"},
		{"list concession --list 1 --dry-run " + cards, 0, "ok list"},
		{"list concession --list 1 " + cards, 0, "ok number list"},
		{"list concession --list 1 /nonexistent.csv", 1, "ok error"},
		{"station mode xidan default --yes", 0, "ok number"},
		{"card bind --person p1 --credential " + cardNumber, 0, "ok number changed"},
		{"card bind --person p2 --credential " + cardNumber, 1, "ok code zh en"},
		{"person report --person p1 --class red", 0, "ok number changed"},
		{"import " + rows, 1, "ok import"},
		{"import --dry-run " + rows, 0, "ok import"},
		{"import /nonexistent.csv", 1, "ok error"},
		{"card unbind --credential " + cardNumber, 0, "ok number changed"},
		{"stats", 0, "ok number stats"},
		{"stats --server nats://127.0.0.1:1", 1, "ok error"},
	} {
		r := gateline(t, env, nil, append(words("ops --json"), words(c.args)...)...)
		keys, ok := keysOf(t, r.out)
		if r.code != c.code || keys != c.keys || ok != (c.code == 0) || c.code != 0 && r.err == "" {
			t.Errorf("%s: exit code %d, keys %q\n%s%s", c.args, r.code, keys, r.out, r.err)
		}
	}
}

// keysOf reads exactly one JSON object and returns its keys in order, and ok.
func keysOf(t *testing.T, text string) (keys string, ok bool) {
	t.Helper()
	var fields struct{ OK bool }
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	d := json.NewDecoder(strings.NewReader(text))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	var all []string
	for d.More() {
		key, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, key.(string))
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
	}
	return strings.Join(all, " "), fields.OK
}

// A centre that is not there is said within seconds, with the next step.
func TestOpsWithoutCentre(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	rows := writeFile(t, "rows.csv", "credential,person\n"+cardNumber+",p9\n")
	for _, c := range []struct {
		address net.Addr
		verb    string
	}{{silent.Addr(), "stats"}, {gone.Addr(), "stats"}, {gone.Addr(), "import " + rows}} {
		r := gateline(t, environment{server: "u:secret@" + c.address.String()}, nil, append([]string{"ops"}, words(c.verb)...)...)
		r.want(t, 1, "", "start it with 'gateline central'")
		if strings.Contains(r.err, "secret") {
			t.Errorf("the password is shown:\n%s", r.err)
		}
	}
	s, env := startCentral(t, centralConfig(t))
	gateline(t, environment{server: "nats://127.0.0.1:1"}, nil, "ops", "stats", "--server", env.server).want(t, 0, "credentials", "")
	leaf := s.until(`leafs=(\S+)`)
	gateline(t, environment{server: leaf}, nil, "ops", "stats").want(t, 1, "", "the address of its [ops] listener")
}

// A person at a terminal is asked before something grave, and for a
// credential; what he types is not printed.
func TestOpsAsksPerson(t *testing.T) {
	_, env := startCentral(t, centralConfig(t))
	policy := writeFile(t, "policy.json", `{"effective":"2022-05-28T00:00:00+08:00","mode":"enforce"}`)
	gateline(t, env, nil, "ops", "policy", "set", "--yes", policy).want(t, 0, "set", "")
	off := writeFile(t, "off.json", `{"effective":"2099-05-28T00:00:00+08:00","mode":"off"}`)
	later := writeFile(t, "later.json", `{"effective":"2099-05-29T00:00:00+08:00"}`)
	for _, c := range []struct {
		args, typed string
		code        int
		out, err    string
	}{
		{"station mode xidan off", "xidna\n", 1, "", "nothing has changed"},
		{"station mode xidan off", "\n", 1, "", "From now everybody passes at station \"xidan\": mode off.\nType xidan to go on: "},
		{"station mode xidan off", "\x04", 1, "", "nothing has changed"},
		{"station mode xidan off", "xidan\n", 0, "set: station xidan is on off", "Type xidan"},
		{"station mode xidan enforce", "enforce\n", 1, "", "From now station \"xidan\" refuses riders: mode enforce.\nType xidan to go on: "},
		{"station mode xidan enforce", "xidan\n", 0, "set: station xidan is on enforce", "Type xidan"},
		{"station mode xidan default", "xidan\n", 0, "set: station xidan is on default", "no mode of its own any more, but that of the policy.\nType xidan"},
		{"policy set " + off, "no\n", 1, "", "nothing has changed"},
		{"policy set " + off, "off\n", 1, "", "nothing has changed"},
		{"policy set " + off, "off 2099-05-28\n", 0, "set: off from 2099", "  mode                     enforce → off\n"},
		{"policy set " + off, "", 0, "nothing to do", ""}, // is not asked
		{"policy set " + later, "enforce 2099-05-29\n", 0, "set: enforce from 2099-05-29", "Type enforce 2099-05-29 to go on: "},
		{"policy sunset 2098-12-31", "2098-12-13\n", 1, "", "From 2098-12-31 00:00:00 +08:00 gates answer everybody with pass.\nType 2098-12-31 to go on: "},
		{"policy sunset 2098-12-31", "2098-12-31\n", 0, "set: enforce from 2022-05-28", "  sunset                   never → 2098-12-31 00:00:00 +08:00\n"},
		{"person forget --person p1", "p2\n", 1, "", "nothing has changed"},
		{"person forget --person p1", "p1\n", 0, "forgotten, 0 bindings ended", "Everything of this person is erased for good.\nType the id of --person again to go on: "},
		{"person forget --document passport", "E12345678\nE1234567\n", 1, "", "nothing has changed"},
		{"person forget --document passport", "E12345678\nE12345678\n", 0, "forgotten", "Document number: "},
		{"card bind --person p1 --credential -", cardNumber + "\n", 0, "bound", "Credential: "},
		{"policy purge", "erase\n", 1, "", "every record of every box, is erased for good: 1 credential.\nType erase 1 to go on: "},
		{"policy purge", "erase 1\n", 1, "", "E124"},
		{"person merge --from p1 --into p2", "p2\n", 1, "", "The first person is forgotten for good, and the second has every card.\nType the id of --from again to go on: "},
		{"person merge --from p1 --into p2", "p1\n", 0, "merged", "Type the id"},
		{"person split --from p2 --into-document passport --credential -", "E12345678\n" + cardNumber + "\np1\n", 1, "", "The first person loses 1 card to the second.\nType the id"},
		{"person split --from p2 --into-document passport --credential -", "E12345678\n" + cardNumber + "\np2\n", 0, "split: the second person has 1 card", "Credential: "},
		{"person merge --from-document passport --into p3", "E12345678\nE12345670\n", 1, "", "give the number of --from-document again"},
		{"person merge --from-document passport --into p3", "E12345678\nE12345678\n", 0, "merged", "Document number: "},
		{"person died --person p3", "p2\n", 1, "", "nothing has changed"},
		{"person died --person p3", "p3\n", 0, "1 binding ended (feed number ", "Every binding of this person ends.\nType the id"},
	} {
		person, terminal := newPTY(t)
		if _, err := person.WriteString(c.typed + "\x04"); err != nil { // whoever asks for more gets the end
			t.Fatal(err)
		}
		r := gateline(t, env, terminal, append([]string{"ops"}, words(c.args)...)...)
		r.want(t, c.code, c.out, c.err)
		if strings.Contains(r.out+r.err, cardNumber) || strings.Contains(r.out+r.err, "E1234567") {
			t.Error("the credential or a document's number is printed")
		}
		if t.Failed() {
			t.Fatal("at:", c.args)
		}
	}
}

// Ctrl-C ends a wait for input.
func TestOpsStopsWaitingForInput(t *testing.T) {
	_, terminal := newPTY(t)
	pipe, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	defer pipe.Close()
	for name, c := range map[string]struct {
		in   *os.File
		args string
	}{
		"a credential from a terminal": {terminal, "ops card bind --person p1 --credential -"},
		"a credential from a pipe":     {pipe, "ops card bind --person p1 --credential -"},
		"a policy":                     {pipe, "ops policy set -"},
		"rows":                         {pipe, "ops import -"},
		"a confirmation":               {terminal, "ops station mode xidan off"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		var out, errOut bytes.Buffer
		ended := make(chan int, 1)
		go func() { ended <- runWith(ctx, environment{}, words(c.args), c.in, &out, &errOut) }()
		cancel()
		select {
		case code := <-ended:
			if code != 1 || !strings.Contains(errOut.String(), "interrupted") {
				t.Errorf("%s: exit code %d: %s", name, code, errOut.String())
			}
		case <-time.After(patience):
			t.Fatalf("%s: still waiting", name)
		}
	}
}
