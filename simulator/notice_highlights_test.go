package simulator

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"gateline/central/rules"
)

// What the demo shows of the notice goes as the rules have it, and under other rules
// it is found out.
func TestNoticeHighlights(t *testing.T) {
	t.Parallel()
	lines, surprises, err := noticeHighlights(t.Context(), 1, slog.New(slog.DiscardHandler), rules.DefaultRules())
	if err != nil {
		t.Fatal(err)
	}
	var told strings.Builder
	for _, h := range lines {
		told.WriteString(h.Step + " " + strings.TrimSpace(h.Got+" "+h.ZH) + "\n")
	}
	const want = "Q3 E103 您代办的实体卡已达5张上限\nQ8 manual R20 未查询到健康码信息\nQ10 pass R00 lamp\nS4 manual R20 该卡尚未升级,请先完成一卡通升级再充值\nQ2 pass R00\n"
	if told.String() != want || len(surprises) != 0 {
		t.Errorf("told:\n%s\nsurprises: %v", told.String(), surprises)
	}

	other := rules.DefaultRules()
	for i := range other.Quotas {
		other.Quotas[i].Value.Helper = 6
	}
	other.TopUpFrom = other.TopUpFrom.Add(24 * time.Hour)
	show := &shown{}
	d := &demo{cfg: DemoConfig{Seed: 1, Log: slog.New(slog.DiscardHandler), Show: show}, report: &DemoReport{Report: *newReport("demo", 1)}}
	if d.report.Equal = true; !d.report.OK() {
		t.Fatal("the demo is not well before")
	}
	if err := d.notice(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	all := strings.Join(d.report.Surprises, "\n")
	if d.report.OK() || !strings.Contains(all, "Q3: The sixth (app help): expected E103, came done") ||
		!strings.Contains(all, "S4: The registry (machine topup.check): expected T201, came done") {
		t.Errorf("well: %v, surprises:\n%s", d.report.OK(), all)
	}
	if len(show.said) != 6 || show.said[1] != "  Q3  Ms Zhou upgrades cards for five neighbours; the sixth is one too many → done" {
		t.Errorf("told: %q", show.said)
	}
}

// shown keeps what the demo says.
type shown struct{ said []string }

func (s *shown) Progress(int, int) {}
func (s *shown) Say(line string)   { s.said = append(s.said, line) }
func (s *shown) Live(Snapshot)     {}
