package station

import (
	_ "embed"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"gateline/drivers"
	"gateline/gateway"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// page is what the status page shows: states and counts of the box.
type page struct {
	Station, Now string
	Ready        bool
	Checks       []pageCheck
	LinkUp       bool
	FeedNumber   uint64
	Age          string
	Fresh        bool
	// Copy says how far the data is proven; CopyWell that nothing is wrong.
	Copy          string
	CopyWell      bool
	Policy        *gateway.Policy
	PolicyVersion uint64
	Next          *gateway.Policy
	Switch        gateway.Switch
	// Serving of Gates are in service.
	Serving, Gates int
	Lines          []pageLine
}

type pageCheck struct {
	Name, Why string
}

type pageLine struct {
	Name, Port string
	Up         bool
	// Errors are those kinds that there were since the box started.
	Errors []pageError
	Gates  []pageGate
}

type pageError struct {
	Kind  string
	Count uint64
}

type pageGate struct {
	Name    string
	Address uint8
	Switch  gateway.Switch
	// State is in both languages; Look is the style it is shown in.
	State, Look string
	Troubles    []string
	RoundTrip   string
	Taps        uint64
	Heard       string
}

func (s *Station) page(now time.Time) page {
	position, schedule, switches := s.cache.Position(), s.schedule.Load(), s.switches.State()
	p := page{
		Station: s.cfg.Station, Now: now.In(gateway.Zone).Format(time.DateTime), Ready: true,
		LinkUp: s.feed.Connected(), FeedNumber: position.Number, Age: "–",
		Policy: schedule.At(now), Switch: switches.Station,
	}
	p.Copy, p.CopyWell = copyText(s.feed.Stats(), now)
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
	for _, l := range s.linesStatus(now).Lines {
		line := pageLineOf(now, &l, switches)
		for _, g := range l.Gates {
			p.Gates++
			if g.State == drivers.GateServing.String() {
				p.Serving++
			}
		}
		p.Lines = append(p.Lines, line)
	}
	return p
}

func pageLineOf(now time.Time, l *LineStatus, switches SwitchState) pageLine {
	line := pageLine{Name: l.Name, Port: l.Port, Up: l.Up}
	for _, kind := range slices.Sorted(maps.Keys(l.Errors)) {
		if n := l.Errors[kind]; n > 0 {
			line.Errors = append(line.Errors, pageError{inBoth(kind), n})
		}
	}
	for i := range l.Gates {
		line.Gates = append(line.Gates, pageGateOf(now, &l.Gates[i], switches))
	}
	return line
}

// pageGateOf shows a gate in service in green, one on its way in amber, and one
// that needs somebody in red.
func pageGateOf(now time.Time, g *GateStatus, switches SwitchState) pageGate {
	gate := pageGate{
		Name: g.Name, Address: g.Address, Switch: switches.Gates[g.Name], State: inBoth(g.State), Look: "bad",
		RoundTrip: "–", Taps: g.Taps, Heard: "–",
	}
	switch g.State {
	case drivers.GateServing.String():
		gate.Look = "ok"
	case drivers.GateStarting.String():
		gate.Look = "soon"
	}
	for _, trouble := range g.Troubles {
		gate.Troubles = append(gate.Troubles, inBoth(trouble))
	}
	if g.RoundTripUS > 0 {
		gate.RoundTrip = fmt.Sprintf("%.1f ms", float64(g.RoundTripUS)/1000)
	}
	if g.Heard != nil {
		gate.Heard = max(now.Sub(*g.Heard), 0).Round(time.Second).String()
	}
	return gate
}

// inBoth puts the Chinese before what checks, gates and lines say in English; the
// page is for station staff, the rest for machines too.
func inBoth(english string) string {
	chinese := map[string]string{
		"store": "存储", "snapshot": "数据快照", "policy": "政策", "lines": "线路", "clock": "时钟", "updates": "更新",
		whyLookup: "查询失败", whySnapshot: "尚不完整,乘客走人工通道", whyPolicy: "没有生效的政策,乘客走人工通道", whyLines: "没有打开的串口", whyFailed: "磁盘故障,不再应用更新:修复后重启站端",
		"silent": "无应答", "starting": "启动中", "serving": "正常", "refused": "拒绝",
		"duplicate_address": "地址重复?", "tamper": "机壳打开", "power": "电源故障", "key": "密钥不符",
		"noise": "杂波字节", "malformed": "内容错误", "unknown_gate": "未知地址", "unproven": "未通过验证", "replayed": "重放", "late": "迟到应答", "port": "串口故障",
		whyBuilt: "早于本程序的构建时间", whyBehind: "比中心最近的消息慢一小时以上", whyUnsynced: "未同步,或同步后发生跳变", whyLongAgo: "上次同步已超过 24 小时",
	}[english]
	if chinese == "" {
		return english
	}
	return chinese + " " + strings.ReplaceAll(english, "_", " ")
}

func (s *Station) servePage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_ = pageTemplate.Execute(w, s.page(s.now())) // the client is gone where this fails
}
