package simulator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"gateline/central/rules"
)

func noticeConfig() Config {
	cfg := DefaultConfig(ScenarioNotice)
	cfg.Seed = 1
	return quiet(cfg)
}

// The whole story goes as the rules have it, and shows every answer of the
// notice and every code that its rules name.
func TestNotice(t *testing.T) {
	t.Parallel()
	r, err := Run(t.Context(), noticeConfig())
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() || r.Taps == 0 || r.Answered != r.Taps {
		t.Errorf("%d taps, %d answered, %d wrong, equal %v:\n%s", r.Taps, r.Answered, r.Wrong, r.Equal, strings.Join(r.Unmet, "\n"))
	}
	var steps, got []string
	taps := 0
	for i, s := range r.Notice.Steps {
		steps = append(steps, s.Step)
		if i > 0 && s.At.Before(r.Notice.Steps[i-1].At) {
			t.Errorf("%s is told at %v, before the step in front of it", s.Step, s.At)
		}
		if len(s.Acts) == 0 || len(s.Rules) == 0 || s.ZH == "" || s.EN == "" {
			t.Errorf("%s (%s) lacks acts, rules or a heading", s.Step, s.EN)
		}
		for _, a := range s.Acts {
			got = append(got, a.Got)
			if strings.HasPrefix(a.By, "gate ") || strings.HasPrefix(a.By, "top-up machine ") {
				taps++
			}
		}
	}
	for i := range 15 {
		if q := fmt.Sprintf("Q%d", i+1); !slices.Contains(steps, q) {
			t.Errorf("no step %s", q)
		}
	}
	for _, want := range []string{"E101", "E102", "E103", "E104", "E105", "E106", "E107", "E108", "E109", "E110", "E111", "E112", "E113", "E116", "T201", "T202", "L301",
		"already", "pending", "pass R00", "pass R00 lamp", "pass R01", "pass R02", "refuse R10", "refuse R11", "refuse R13", "manual R20", "manual R21", "manual R22", "manual R25"} {
		if !slices.Contains(got, want) {
			t.Errorf("nothing came to %s", want)
		}
	}
	if !slices.Contains(steps, "S0") || !slices.Contains(steps, "S4") || taps != r.Taps {
		t.Errorf("steps %v, %d taps told of %d", steps, taps, r.Taps)
	}
}

// A centre whose rules are others than the notice's is found out, with the step,
// what was expected and what came.
func TestNoticeOtherRules(t *testing.T) {
	t.Parallel()
	other := rules.DefaultRules()
	for i := range other.Quotas {
		other.Quotas[i].Value.Helper = 6
	}
	other.TopUpFrom = other.TopUpFrom.Add(24 * time.Hour)
	for _, term := range other.Kinds {
		for i := range term.Value {
			term.Value[i].Lamp = false
		}
	}
	r, err := playNotice(t.Context(), noticeConfig(), other)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(r.Unmet, "\n")
	for _, want := range []string{
		"Q3: The sixth is one too many (app help): expected E103, came done",
		"Q10: Mr Sun has done nothing and taps (gate entry): expected pass R00 lamp, came pass R00",
		"S4: A card that is not upgraded (app topup.check): expected T201, came done",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in:\n%s", want, all)
		}
	}
	if r.OK() || r.Wrong == 0 || !r.Equal || len(r.Unmet) > 20 {
		t.Errorf("%d wrong, equal %v, %d differences:\n%s", r.Wrong, r.Equal, len(r.Unmet), all)
	}
}

// What riders read is compared too.
func TestNoticeTexts(t *testing.T) {
	for _, c := range []struct {
		act   NoticeAct
		shown string
		ok    bool
	}{
		{NoticeAct{Want: "E103", Got: "E103", ZH: "您代办的实体卡已达5张上限"}, "E103", true},
		{NoticeAct{Want: "E103", Got: "E103", ZH: "您代办的实体卡已达上限"}, "E103", false},
		{NoticeAct{Want: "refuse R10", Got: "refuse R10", ZH: "健康码异常"}, "refuse", true},
		{NoticeAct{Want: "pass R00", Got: "pass R00", ZH: "健康码异常"}, "pass", false},
		{NoticeAct{Want: "pass R00", Got: "refuse R10", ZH: "健康码异常"}, "refuse", false},
		{NoticeAct{Want: "done", Got: "done, 1 bound"}, "done, 1 bound", false},
	} {
		n := &teller{report: newReport(ScenarioNotice, 1)}
		n.report.Notice = &Notice{}
		n.clock = &storyClock{}
		n.step("Q1", "", "")
		if n.judge(c.act, c.shown); (len(n.report.Unmet) == 0) != c.ok {
			t.Errorf("%+v: %v", c.act, n.report.Unmet)
		}
	}
}

// The end of its context ends the story wherever it is, and nothing is left.
func TestNoticeCancelled(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cfg := noticeConfig()
	cfg.Progress = func(_ string, done, _ int) {
		if done == 4 {
			cancel()
		}
	}
	if _, err := Run(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("%d things are left, %v", len(left), err)
	}
}
