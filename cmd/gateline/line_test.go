package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"gateline/drivers"
	"gateline/gateway"
	"gateline/gateway/station"
	"gateline/internal/logtest"
)

var boxStart = time.Date(2022, 5, 30, 8, 0, 0, 0, gateway.Zone)

// boxAt returns what a box says of itself after up: a line of readers and one
// that is down.
func boxAt(up time.Duration) station.LinesStatus {
	now := boxStart.Add(up)
	heard := func(ago time.Duration) *time.Time { t := now.Add(-ago); return &t }
	return station.LinesStatus{
		Station: "xizhimen", At: now, Started: boxStart, UptimeUS: up.Microseconds(),
		Lines: []station.LineStatus{
			{
				Name: "west", Protocol: station.ProtocolOSDP, Port: "/dev/gate-west", Baud: 115200, Up: true,
				BytesIn: 207_360, BytesOut: 207_360, Errors: map[string]uint64{"noise": 12, "late": 3, "port": 0},
				Gates: []station.GateStatus{
					{Name: "W1", Address: 0, State: "serving", RoundTripUS: 4260, Heard: heard(20 * time.Millisecond), Taps: 17, Asked: 4000, Missed: 4, Damaged: 400},
					{Name: "W2-beside-the-lift-on-the-left-01", Address: 126, State: "serving", Troubles: []string{"tamper", "power"}, RoundTripUS: 5210, Heard: heard(0), Taps: 1234567, Asked: 4000},
					{Name: "W3", Address: 3, State: "refused", Troubles: []string{"key"}, RoundTripUS: 12_500, Heard: heard(4 * time.Second), Asked: 20},
					{Name: "W4", Address: 4, State: "silent", Troubles: []string{"duplicate_address"}, Heard: heard(3*time.Hour + 9*time.Minute), Asked: 9, Missed: 9},
					{Name: "W5", Address: 5, State: "starting", RoundTripUS: 4000, Heard: heard(95 * time.Second)},
				},
			},
			{Name: "north", Protocol: station.ProtocolDirect, Port: "10.20.30.40:4001", Baud: 9600, Gates: []station.GateStatus{{Name: "N1", Address: 1, State: "silent"}}},
		},
	}
}

func plain(rows []row, width int) string {
	var b strings.Builder
	for _, r := range rows {
		b.WriteString(r.text(width, false) + "\n")
	}
	return b.String()
}

// What a technician sees in a window of 80 columns.
const wantTop80 = `xizhimen  up 1m40s  08:01:40  rates since the box's start

west  up  osdp 115200 baud  load 36%  in 2.1 kB/s  out 2.1 kB/s  /dev/gate-west
  errors: late 3, noise 12
  GATE              ADDR STATE    RTT ms  POLL/s    TAPS  MISSED DAMAGED   HEARD
  W1                   0 serving     4.3    40.0      17    0.1%   10.0%    0.0s
  W2-beside-the-li…  126 serving     5.2    40.0 1234567    0.0%    0.0%    0.0s
    ! tamper: close the reader's case and find out who opened it
    ! power: see to the reader's power supply
  W3                   3 refused    12.5     0.2       0    0.0%    0.0%    4.0s
    ! key: bring the key of its key_file into the reader
  W4                   4 silent        –     0.1       0  100.0%    0.0%   3h09m
    ! silent: see to its power, cable and address, and the speed of its line
    ! duplicate_address: give each reader an address of its own
  W5                   5 starting    4.0       –       0       –       –   1m35s
    ! starting: if it stays so, switch the reader off and on

north  down  direct 9600 baud  load 0%  in 0 B/s  out 0 B/s  10.20.30.40:4001
  GATE              ADDR STATE    RTT ms  POLL/s    TAPS  MISSED DAMAGED   HEARD
  N1                   1 silent        –       –       0       –       –   never
`

func TestTopTable(t *testing.T) {
	l := compare(nil, boxAt(100*time.Second))
	if got := plain(l.table(80), 80); got != wantTop80 {
		t.Errorf("got\n%s\nwant\n%s", got, wantTop80)
	}
	for _, width := range []int{1, 20, 40, 63, 66, 79, 80, 81, 120} {
		for line := range strings.Lines(plain(l.table(width), width)) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > width {
				t.Errorf("%d columns in a window of %d: %s", n, width, line)
			}
		}
	}
	if wide := plain(l.table(0), 0); !strings.Contains(wide, "  W2-beside-the-lift-on-the-left-01  126 serving ") || strings.Contains(wide, "…") {
		t.Errorf("without a width\n%s", wide)
	}
}

// Every advice fits a window of 80 columns.
func TestTopAdviceFits(t *testing.T) {
	for _, state := range []string{"silent", "starting", "serving", "refused"} {
		for _, troubles := range [][]string{nil, drivers.TroubleNames()} {
			g := station.GateStatus{State: state, Troubles: troubles}
			for _, step := range g.Advice() {
				if n := len("    ! " + step); n > 80 {
					t.Errorf("%d columns: %s", n, step)
				}
			}
		}
	}
}

func TestTopColours(t *testing.T) {
	r := row{{"abc", styleNone}, {"defg", styleBad}, {"hi", styleWell}}
	for _, c := range []struct {
		width   int
		colours bool
		want    string
	}{
		{0, false, "abcdefghi"}, {9, false, "abcdefghi"}, {8, false, "abcdefg…"}, {6, false, "abcde…"}, {3, false, "abc"}, {2, false, "a…"},
		{0, true, "abc\x1b[31mdefg\x1b[0m\x1b[32mhi\x1b[0m"}, {6, true, "abc\x1b[31mde…\x1b[0m"}, {3, true, "abc"},
	} {
		if got := r.text(c.width, c.colours); got != c.want {
			t.Errorf("width %d, colours %v: %q, want %q", c.width, c.colours, got, c.want)
		}
	}
}

// Rates are of what was counted between two looks.
func TestTopRates(t *testing.T) {
	before, now := boxAt(100*time.Second), boxAt(102*time.Second)
	west := &now.Lines[0]
	west.BytesIn += 2304
	west.BytesOut += 4608
	west.Errors["noise"] += 5
	west.Gates[0].Asked += 90
	west.Gates[0].Missed += 9
	west.Gates[0].Damaged++
	west.Gates[3].Missed++ // of the question before
	west.Gates[3].Asked++
	west.Gates[3].Missed++
	l := compare(&before, now)
	if l.sinceStart || l.span != 2*time.Second {
		t.Errorf("span %v, since the start %v", l.span, l.sinceStart)
	}
	r := l.lines[0]
	if r.in != 1152 || r.out != 2304 || r.load != 0.3 || len(r.errors) != 1 || r.errors[0] != (errorCount{"noise", 5}) {
		t.Errorf("got %+v", r)
	}
	if g := r.gates[0]; g.asked != 90 || g.polls != 45 || g.missed != 0.1 || g.damaged != 1.0/90 {
		t.Errorf("got %+v", g)
	}
	if g := r.gates[1]; g != (gateRates{}) {
		t.Errorf("a gate at which nothing happened: %+v", g)
	}
	if g := r.gates[3]; g.missed != 1 {
		t.Errorf("two answers missed of one question: %+v", g)
	}
	if text := plain(l.table(80), 80); !strings.Contains(text, "rates of the last 2.0 s\n") || !strings.Contains(text, "  errors: noise 5\n") {
		t.Errorf("got\n%s", text)
	}
}

// A box that was started anew between two looks has counted from 0: its rates
// are those since its start, and nothing is negative.
func TestTopAcrossRestart(t *testing.T) {
	before, now := boxAt(100*time.Second), boxAt(4*time.Second)
	now.Started = boxStart.Add(99 * time.Second)
	west := &now.Lines[0]
	west.BytesIn, west.BytesOut, west.Errors = 400, 800, map[string]uint64{"noise": 1}
	west.Gates[0].Asked, west.Gates[0].Missed, west.Gates[0].Damaged = 100, 5, 0
	check := func(l lookedAt) {
		t.Helper()
		r := l.lines[0]
		if !l.sinceStart || l.span != 4*time.Second || r.in != 100 || r.out != 200 || len(r.errors) != 1 || r.errors[0].n != 1 {
			t.Errorf("got %+v", l)
		}
		if g := r.gates[0]; g.polls != 25 || g.missed != 0.05 || g.damaged != 0 {
			t.Errorf("got %+v", g)
		}
	}
	check(compare(&before, now))
	// It counts already more than the box before it, and has fewer lines.
	before.UptimeUS, before.Lines = 1, before.Lines[:1]
	before.Lines[0].BytesIn = 1
	check(compare(&before, now))
	// The clock was set, or an answer was asked for twice at once: no time passed.
	same := compare(&now, now)
	if r := same.lines[0]; r.in != 100 || r.gates[0].polls != 25 {
		t.Errorf("the same look twice: %+v", r)
	}
	lower := now
	lower.UptimeUS += 1e6
	lower.Lines = []station.LineStatus{{Name: "west", Baud: 9600, Gates: []station.GateStatus{{Name: "W1"}}}}
	if r := compare(&now, lower).lines[0]; r.in != 0 || r.out != 0 || r.gates[0] != (gateRates{}) {
		t.Errorf("counts that fell: %+v", r)
	}
}

// fakeBox answers looks, one second after another.
type fakeBox struct {
	looks  int
	silent func(look int) bool // nil = always answers
}

func (b *fakeBox) ask(context.Context) (station.LinesStatus, error) {
	b.looks++
	if b.silent != nil && b.silent(b.looks) {
		return station.LinesStatus{}, errors.New("nobody there")
	}
	return boxAt(time.Duration(b.looks) * time.Second), nil
}

func TestTopOnce(t *testing.T) {
	var out strings.Builder
	run := func(o top) error {
		out.Reset()
		o.ask, o.out = new(fakeBox).ask, &out
		return o.run(t.Context())
	}
	if err := run(top{}); err != nil || strings.Contains(out.String(), "\x1b") || strings.Count(out.String(), "\nnorth  down") != 1 {
		t.Errorf("into a file: %v\n%s", err, out.String())
	}
	if err := run(top{line: "north"}); err != nil || strings.Contains(out.String(), "west") || !strings.Contains(out.String(), "N1") {
		t.Errorf("one line: %v\n%s", err, out.String())
	}
	var status station.LinesStatus
	if err := run(top{json: true, line: "west"}); err != nil || json.Unmarshal([]byte(out.String()), &status) != nil || len(status.Lines) != 1 || status.Lines[0].Gates[1].Taps != 1234567 {
		t.Errorf("JSON: %v\n%s", err, out.String())
	}
	o := top{out: io.Discard, ask: (&fakeBox{silent: func(int) bool { return true }}).ask}
	if err := o.run(t.Context()); err == nil || err.Error() != "nobody there" {
		t.Errorf("without a box: %v", err)
	}
}

// On a terminal the frames are drawn over each other, a box that is restarted is
// waited for, and at the end the terminal is as it was.
func TestTopLive(t *testing.T) {
	person, terminal := newPTY(t)
	if err := pty.Setsize(terminal, &pty.Winsize{Cols: 80, Rows: 12}); err != nil {
		t.Fatal(err)
	}
	var seen logtest.Buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&seen, person) // ends with the pseudo-terminal
	}()
	ctx, cancel := context.WithCancel(t.Context())
	box := &fakeBox{silent: func(look int) bool { return look == 3 }}
	o := top{ask: box.ask, out: terminal, interval: leastInterval}
	ended := make(chan error, 1)
	go func() { ended <- o.run(ctx) }()
	sees := func(part string) {
		t.Helper()
		poll(t, func() bool { return strings.Contains(seen.String(), part) }, func() string { return "no " + part + " in\n" + seen.String() })
	}
	sees("\x1b[?1049h\x1b[?25l\x1b[H\x1b[1mxizhimen\x1b[0m  up 1.0s  08:00:01\x1b[2m  rates since the box's start\x1b[0m\x1b[K\r\n")
	sees("\x1b[32mserving \x1b[0m")
	sees("… 10 more rows: make the window higher or give --line\x1b[0m\x1b[K\r\n\x1b[J\x1b[H")
	sees("  up 2.0s  08:00:02\x1b[2m  rates of the last 1.0 s\x1b[0m\x1b[31m  and no answer since\x1b[0m")
	sees("  up 4.0s  08:00:04\x1b[2m  rates of the last 2.0 s\x1b[0m\x1b[K")
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	sees("\x1b[J\x1b[?25h\x1b[?1049l")
	if err := terminal.Close(); err != nil {
		t.Error(err)
	}
	<-read
	if text := seen.String(); !strings.HasSuffix(text, "\x1b[?25h\x1b[?1049l") {
		t.Errorf("it ends with %q", text[max(len(text)-40, 0):])
	}
}

func TestTopFrame(t *testing.T) {
	o := top{plain: true, shown: compare(nil, boxAt(100*time.Second))}
	whole := o.frame(80, 21, true)
	if strings.Contains(whole, "more rows") || strings.Count(whole, rowEnd) != 20 {
		t.Errorf("20 rows in a window of 21:\n%s", whole)
	}
	part := o.frame(80, 20, true)
	if strings.Count(part, rowEnd) != 19 || !strings.Contains(part, "… 2 more rows: ") {
		t.Errorf("20 rows in a window of 20:\n%s", part)
	}
	if tiny := o.frame(10, 2, true); strings.Count(tiny, rowEnd) != 2 {
		t.Errorf("a tiny window:\n%s", tiny)
	}
	colours := strings.NewReplacer(screenHome, "", rowEnd, "\n", screenRest, "").Replace(whole)
	if strings.Contains(colours, "\x1b") || colours != wantTop80 {
		t.Errorf("without colours:\n%s", colours)
	}
}

// The command against a real box.
func TestLineTop(t *testing.T) {
	_, terminal := newPTY(t)
	config := stationConfig(t, terminal.Name(), tokenKey(t))
	gateline(t, environment{}, nil, "line", "top", "--config", config).want(t, 1, "", "reach the box over its control socket")
	s := start(t, environment{}, "station", "--config", config)
	s.until(`msg="box is up"`)
	poll(t, func() bool { return gateline(t, environment{}, nil, "line", "top", "--config", config).code == 0 }, s.log.String)
	gateline(t, environment{}, nil, "line", "top", "--config", config, "--once").want(t, 0, "\nnorth  up  direct 115200 baud  load 0%  in 0 B/s  out ", "")
	r := gateline(t, environment{}, nil, "line", "top", "--config", config, "--json", "--line", "north")
	r.want(t, 0, `"protocol": "direct"`, "")
	r.want(t, 0, `"port": "`+terminal.Name()+`"`, "")
	gateline(t, environment{}, nil, "line", "top", "--config", config, "--line", "nrth").want(t, 2, "", `there is no line "nrth": the configuration has north`)
	for _, interval := range []string{"99ms", "1m1s", "fast"} {
		gateline(t, environment{}, nil, "line", "top", "--config", config, "--interval", interval).want(t, 2, "", interval)
	}
	gateline(t, environment{}, nil, "line", "frob").want(t, 2, "", "unknown command")
	gateline(t, environment{}, nil, "line").want(t, 0, "Available Commands", "")
}
