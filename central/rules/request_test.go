package rules

import (
	"reflect"
	"strings"
	"testing"

	"gateline/gateway"
)

// send sends a request with an id through the app.
func send(w *world, id string, c Command) (int, Answer, *Refusal) {
	w.t.Helper()
	events, answer, refusal := w.decide(Request{ID: id, Channel: ChannelApp, Command: c})
	return len(events), answer, refusal
}

func TestSameRequestAgain(t *testing.T) {
	w := newWorld(t)
	if n, a, refusal := send(w, "r1", upgrade(physical(1), ann)); n != 2 || a.Result != ResultDone || refusal != nil {
		t.Fatalf("%d events, %+v, %v", n, a, refusal)
	}
	w.does(ChannelApp, unbind(physical(1), ann))
	// One effect, and the answer of then, though the card is not bound now.
	if n, a, refusal := send(w, "r1", upgrade(physical(1), ann)); n != 0 || a.Result != ResultDone || refusal != nil {
		t.Errorf("again: %d events, %+v, %v", n, a, refusal)
	}
	w.unbound(physical(1))
	// A refusal is an answer too.
	w.does(ChannelApp, upgrade(physical(2), bob))
	_, _, first := send(w, "r2", upgrade(physical(2), ann))
	w.does(ChannelApp, unbind(physical(2), bob))
	n, _, second := send(w, "r2", upgrade(physical(2), ann))
	if n != 0 || first == nil || second == nil || *first != *second || first.Code != CodeOtherOwner {
		t.Errorf("first %v, then %v", first, second)
	}
	// Under another id, or from another channel, it is another request.
	if _, a, refusal := send(w, "r3", upgrade(physical(2), ann)); a.Result != ResultDone || refusal != nil {
		t.Errorf("another id: %+v, %v", a, refusal)
	}
	if events, _, _ := w.decide(Request{ID: "r1", Channel: ChannelMini, Command: upgrade(physical(9), cat)}); len(events) != 2 {
		t.Errorf("another channel: %d events", len(events))
	}
	// The id of another command is refused, and the first stays settled.
	if n, _, refusal := send(w, "r1", upgrade(physical(3), ann)); n != 0 || refusal == nil || refusal.Code != CodeMalformed {
		t.Errorf("another command: %d events, %v", n, refusal)
	}
	// What only reads is not kept; what is malformed neither.
	if n, _, _ := send(w, "r9", Own{ann}); n != 0 {
		t.Errorf("a look left %d events", n)
	}
	if n, _, refusal := send(w, "r10", upgrade(physical(3), Person{})); n != 0 || refusal.Code != CodeMalformed {
		t.Errorf("a malformed request left %d events, %v", n, refusal)
	}
	if n, _, refusal := send(w, "r11", Expire{}); n != 0 || refusal.Code != CodeChannel {
		t.Errorf("a channel that is not entitled left %d events, %v", n, refusal)
	}
}

func TestKeptRequestsAreBounded(t *testing.T) {
	w := newWorld(t)
	w.state.keep = 3
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		send(w, id, upgrade(physical(1), ann))
	}
	if len(w.state.settled) != 3 || len(w.state.order) != 3 {
		t.Errorf("%d kept", len(w.state.settled))
	}
	for id, kept := range map[string]bool{"a": false, "b": false, "c": true, "d": true, "e": true} {
		if _, ok := w.state.Settled(Request{ID: id, Channel: ChannelApp}.key()); ok != kept {
			t.Errorf("%s is kept: %v", id, ok)
		}
	}
}

func TestRequestForm(t *testing.T) {
	for _, q := range []Request{
		{ID: strings.Repeat("x", MaxRequestID+1), Command: Expire{}}, {ID: "a b", Command: Expire{}}, {ID: "é", Command: Expire{}}, {ID: "a\n", Command: Expire{}}, {},
	} {
		q.Channel = ChannelBackOffice
		if _, _, refusal := Decide(NewMemory(), DefaultRules(), q, at(t, "2022-06-10 12:00:00")); refusal == nil || refusal.Code != CodeMalformed || !strings.Contains(refusal.Detail, ";") {
			t.Errorf("%v", refusal)
		}
	}
}

// TestFingerprint changes every field of every command and expects another
// fingerprint; no command holds a kind of field that it cannot read.
func TestFingerprint(t *testing.T) {
	prints := map[[8]byte]bool{}
	for _, c := range commands() {
		before := fingerprint(c)
		if prints[before] || before != fingerprint(c) {
			t.Errorf("%T has the fingerprint of another, or another each time", c)
		}
		prints[before] = true
		of := reflect.ValueOf(c)
		for i := range of.NumField() {
			other := reflect.New(of.Type()).Elem()
			other.Set(of)
			other.Field(i).Set(reflect.Zero(of.Field(i).Type()))
			if !of.Field(i).IsZero() && fingerprint(other.Interface().(Command)) == before {
				t.Errorf("%T.%s is not in the fingerprint", c, of.Type().Field(i).Name)
			}
		}
	}
	a := Split{Tokens: []gateway.Token{1, 2}}
	if fingerprint(a) == fingerprint(Split{Tokens: []gateway.Token{1}}) {
		t.Error("a part of a list has the fingerprint of the whole")
	}
}

func TestRefusalTexts(t *testing.T) {
	seen := map[Code]bool{}
	for _, text := range texts() {
		if seen[text.code] || text.zh == "" || text.en == "" {
			t.Errorf("%s is there twice or lacks a text", text.code)
		}
		seen[text.code] = true
	}
	for _, code := range []Code{"E101", "E102", "E103", "E104", "E105", "E106", "E107", "E108", "E109", "E110", "E111", "E112", "E113", "E114", "T201", "T202", "L301"} {
		if !seen[code] {
			t.Errorf("%s has no text", code)
		}
	}
	if got := refuse(CodePhysicalFull).Error(); got != "E101 您名下已绑定一张实体卡,请先解绑后再绑定 (a physical card is bound already, unbind it first)" {
		t.Error(got)
	}
}
