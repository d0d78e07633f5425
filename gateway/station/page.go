package station

import (
	_ "embed"
	"html/template"
	"net/http"
	"time"

	"gateline/gateway"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// page is what the status page shows: states and counts of the box.
type page struct {
	Station, Now  string
	Ready         bool
	Checks        []pageCheck
	LinkUp        bool
	FeedNumber    uint64
	Age           string
	Fresh         bool
	Policy        *gateway.Policy
	PolicyVersion uint64
	Next          *gateway.Policy
	Switch        gateway.Switch
	Lines         []pageLine
}

type pageCheck struct {
	Name, Why string
}

type pageLine struct {
	Name  string
	Up    bool
	Gates []pageGate
}

type pageGate struct {
	Name    string
	Address uint8
	Switch  gateway.Switch
	Heard   string
	Silent  bool
}

// gateSilentAfter is when a gate counts as silent: it beats every second.
const gateSilentAfter = 3 * time.Second

func (s *Station) page(now time.Time) page {
	position, schedule, switches := s.cache.Position(), s.schedule.Load(), s.switches.State()
	p := page{
		Station: s.cfg.Station, Now: now.In(gateway.Zone).Format(time.DateTime), Ready: true,
		LinkUp: s.feed.Connected(), FeedNumber: position.Number, Age: "–",
		Policy: schedule.At(now), Switch: switches.Station,
	}
	for _, c := range s.readyChecks() {
		p.Checks = append(p.Checks, pageCheck{inBoth(c.name), inBoth(c.why)})
		p.Ready = p.Ready && c.why == ""
	}
	if position.Watermark != 0 {
		since := age(now, position)
		p.Age = since.Round(time.Second).String()
		p.Fresh = p.Policy != nil && since <= time.Duration(p.Policy.FreshLimit)
	}
	if schedule != nil {
		p.PolicyVersion = schedule.Version
		for i := range schedule.Policies {
			if next := &schedule.Policies[i]; next.Effective.After(now) {
				p.Next = next
				break
			}
		}
	}
	for _, l := range s.lines {
		line := pageLine{Name: l.Name(), Up: l.Up()}
		for _, g := range l.Gates().All() {
			gate := pageGate{Name: g.Name, Address: g.Address, Switch: switches.Gates[g.Name], Heard: "–", Silent: true}
			if heard := g.Heard(); !heard.IsZero() {
				since := now.Sub(heard)
				gate.Heard, gate.Silent = since.Round(time.Second).String(), since > gateSilentAfter
			}
			line.Gates = append(line.Gates, gate)
		}
		p.Lines = append(p.Lines, line)
	}
	return p
}

// inBoth puts the Chinese before what the checks say in English; the page is
// for station staff, the checks for machines too.
func inBoth(english string) string {
	chinese := map[string]string{
		"store": "存储", "snapshot": "数据快照", "policy": "政策", "lines": "线路", "clock": "时钟", "updates": "更新",
		whyLookup: "查询失败", whySnapshot: "尚不完整,乘客走人工通道", whyPolicy: "没有生效的政策,乘客走人工通道", whyLines: "没有打开的串口", whyFailed: "磁盘故障,不再应用更新:修复后重启站端",
		whyBuilt: "早于本程序的构建时间", whyBehind: "比中心最近的消息慢一小时以上", whyUnsynced: "未同步,或同步后发生跳变", whyLongAgo: "上次同步已超过 24 小时",
	}[english]
	if chinese == "" {
		return english
	}
	return chinese + " " + english
}

func (s *Station) servePage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_ = pageTemplate.Execute(w, s.page(s.now())) // the client is gone where this fails
}
