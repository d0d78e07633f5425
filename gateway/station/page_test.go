package station

import (
	"html/template"
	"strings"
	"testing"
	"time"

	"gateline/drivers"
	"gateline/gateway"
)

// render returns the page of the lines.
func render(t *testing.T, p page) string {
	t.Helper()
	var out strings.Builder
	if err := pageTemplate.Execute(&out, p); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// Each state and trouble of a gate is told in both languages and in its colour.
func TestPageGates(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	heard := now.Add(-1400 * time.Millisecond)
	for _, c := range []struct {
		gate GateStatus
		to   gateway.Switch
		want []string
	}{
		{GateStatus{State: "serving", RoundTripUS: 4260, Taps: 17, Heard: &heard}, gateway.SwitchAuto,
			[]string{`<span class="ok">正常 serving</span></td>`, `>4.3 ms</td>`, `>17</td>`, `>1s</td>`}},
		{GateStatus{State: "starting", Heard: &heard}, gateway.SwitchAuto, []string{`<span class="soon">启动中 starting</span></td>`, `>–</td>`}},
		{GateStatus{State: "silent"}, gateway.SwitchAuto, []string{`<span class="bad">无应答 silent</span></td>`, `>–</td><td class="n">0</td><td class="n">–</td>`}},
		{GateStatus{State: "refused", Troubles: []string{"key"}}, gateway.SwitchAuto,
			[]string{`<span class="bad">拒绝 refused</span><span class="bad">密钥不符 key</span></td>`}},
		{GateStatus{State: "serving", Troubles: []string{"duplicate_address", "tamper", "power"}}, gateway.SwitchManual,
			[]string{`<span class="bad">地址重复? duplicate address</span><span class="bad">机壳打开 tamper</span><span class="bad">电源故障 power</span><span class="bad">开关 switch: manual</span></td>`}},
	} {
		c.gate.Name = "W1"
		l := LineStatus{Name: "west", Up: true, Gates: []GateStatus{c.gate}}
		text := render(t, page{Lines: []pageLine{pageLineOf(now, &l, SwitchState{Gates: map[string]gateway.Switch{"W1": c.to}})}})
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%+v: no %s in\n%s", c.gate, want, text)
			}
		}
		if strings.Contains(text, "errors since start") {
			t.Errorf("%+v: errors where there are none", c.gate)
		}
	}
}

// Everything that a gate or a line can say has its Chinese.
func TestPageKnowsEveryWord(t *testing.T) {
	words := drivers.TroubleNames()
	for _, state := range gateStates() {
		words = append(words[:len(words):len(words)], state.String())
	}
	new(drivers.Counters).Errors(func(kind string, _ uint64) { words = append(words, kind) })
	for _, word := range words {
		if inBoth(word) == word {
			t.Errorf("%q has no Chinese", word)
		}
	}
}

// Errors of a line stand there by kind once there are any.
func TestPageLineErrors(t *testing.T) {
	l := LineStatus{Name: "west", Port: "10.0.0.1:4001", Errors: map[string]uint64{"noise": 12, "late": 3, "port": 0, "unknown_gate": 1}}
	text := render(t, page{Lines: []pageLine{pageLineOf(time.Now(), &l, SwitchState{})}, Serving: 1, Gates: 2})
	for _, want := range []string{"迟到应答 late 3, 杂波字节 noise 12, 未知地址 unknown gate 1</small>", "断线 down", "<small>10.0.0.1:4001</small>", `<span class="bad">1 / 2 正常 serving</span>`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if text := render(t, page{Serving: 2, Gates: 2}); !strings.Contains(text, `<span class="ok">2 / 2 正常 serving</span>`) {
		t.Errorf("got %s", text)
	}
}

// Whatever a name holds, the page is not made of it.
func TestPageEscapes(t *testing.T) {
	const bad = `<script>alert("x")</script>`
	text := render(t, page{Station: bad, Now: bad, Age: bad, Checks: []pageCheck{{bad, bad}},
		Policy: &gateway.Policy{}, Next: &gateway.Policy{},
		Lines: []pageLine{{Name: bad, Port: bad, Errors: []pageError{{bad, 1}},
			Gates: []pageGate{{Name: bad, State: bad, Look: bad, Troubles: []string{bad}, RoundTrip: bad, Heard: bad}}}}})
	if strings.Contains(text, "<script") || strings.Count(text, template.HTMLEscapeString("<script>")) < 13 {
		t.Errorf("the page is %s", text)
	}
}
