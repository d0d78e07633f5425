package main

import (
	"strings"
	"testing"
	"time"

	"gateline/gateway"
	"gateline/simulator"
)

// The story fits a terminal's columns whatever is told in it, says what differs
// and leaves no text out.
func TestNoticeShown(t *testing.T) {
	long := strings.Repeat("a rider who does much ", 12)
	r := simulator.Report{Scenario: simulator.ScenarioNotice, Taps: 1, Equal: true, Unmet: []string{"Q3"}, Notice: &simulator.Notice{Steps: []simulator.NoticeStep{{
		Step: "Q3", At: time.Date(2022, 5, 31, 10, 0, 0, 0, gateway.Zone), ZH: "帮助他人升级", EN: long, Rules: []string{"UPG-05", "UPG-06"},
		Acts: []simulator.NoticeAct{
			{Did: "A sixth card", By: "app help", Want: "E103", Got: "E103", ZH: "您代办的实体卡已达5张上限", EN: "you have reached the limit of five cards upgraded for others", OK: true},
			{Did: long, By: "gate entry", Want: "pass R00", Got: "manual R20", ZH: "未查询到健康码信息", EN: "No health code information found"},
			{Did: "A remark", OK: true},
		},
	}}}}
	var out strings.Builder
	printReport(&out, &r)
	printStory(&out, &r)
	text := out.String()
	for _, want := range []string{
		"Q3  帮助他人升级 a rider", "    2022-05-31 10:00 UPG-05 UPG-06\n", "      app help → E103  您代办的实体卡已达5张上限\n        you have reached",
		"manual R20, EXPECTED pass R00  未查询到健康码信息", "  A remark\n\n", "1 steps: 1 questions to channels and 1 taps", "1 from the rules",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	for line := range strings.Lines(text) {
		if n := width(strings.TrimSuffix(line, "\n")); n > noticeColumns {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if width("健康码,a。") != 10 {
		t.Errorf("wide signs take %d columns", width("健康码,a。"))
	}
}
