package station

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gateline/drivers"
	"gateline/gateway"
	"gateline/internal/httpserve"
)

// The lines of the largest box come over the socket whole.
func TestControlLargestLines(t *testing.T) {
	s := &Station{now: time.Now, started: time.Now()}
	s.cfg.Station = "xizhimen"
	for i := range MaxLines {
		lc := LineConfig{Name: fmt.Sprintf("line-%027d", i), Protocol: ProtocolOSDP, TCP: strings.Repeat("x", 255) + ":65535"}
		var gates []*drivers.Gate
		for k := range MaxGatesPerLine {
			g := &drivers.Gate{Name: fmt.Sprintf("gate-%013d-%013d", i, k), Address: uint8(k)}
			g.MarkHeard(time.Now(), drivers.GateStarting)
			g.SetTrouble(drivers.TroubleDuplicate|drivers.TroubleTamper|drivers.TroublePower|drivers.TroubleKey, true)
			g.NoteRoundTrip(time.Hour)
			for _, c := range []interface{ Add(uint64) uint64 }{
				&g.Counters.Taps, &g.Counters.Asked, &g.Counters.Missed, &g.Counters.Damaged, &g.Counters.Refusals, &g.Counters.Stale} {
				c.Add(1 << 63)
			}
			gates = append(gates, g)
		}
		table, err := drivers.NewGateTable(gates...)
		if err != nil {
			t.Fatal(err)
		}
		s.cfg.Lines = append(s.cfg.Lines, lc)
		s.lines = append(s.lines, drivers.NewLine(drivers.LineConfig{Name: lc.Name, Gates: table, Counters: new(drivers.Counters)}))
	}
	ctx, cancel := context.WithCancel(t.Context())
	path := filepath.Join(t.TempDir(), "control.sock")
	l, err := listenControl(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- httpserve.Serve(ctx, l, s.controlHandler()) }()
	status, err := NewControl(path).Lines(ctx)
	if err != nil || len(status.Lines) != MaxLines || len(status.Lines[MaxLines-1].Gates) != MaxGatesPerLine || len(status.Lines[0].Gates[0].Troubles) != 4 {
		t.Errorf("%d lines, %v", len(status.Lines), err)
	}
	cancel()
	<-ended
}

// What the answer looks like is what others build upon.
func TestLinesJSON(t *testing.T) {
	began := time.Date(2022, 5, 30, 8, 0, 0, 0, gateway.Zone)
	heard := began.Add(90 * time.Second)
	g := &drivers.Gate{Name: "W1", Address: 3}
	g.MarkHeard(heard, drivers.GateServing)
	g.SetTrouble(drivers.TroubleTamper|drivers.TroublePower, true)
	g.NoteRoundTrip(4200 * time.Microsecond)
	g.Counters.Taps.Add(1)
	g.Counters.Asked.Add(2)
	g.Counters.Missed.Add(3)
	g.Counters.Damaged.Add(4)
	g.Counters.Refusals.Add(5)
	g.Counters.Stale.Add(6)
	table, err := drivers.NewGateTable(g, &drivers.Gate{Name: "W2", Address: 4})
	if err != nil {
		t.Fatal(err)
	}
	counters := new(drivers.Counters)
	counters.BytesIn.Add(100)
	counters.BytesOut.Add(200)
	counters.Late.Add(7)
	s := &Station{started: began, now: func() time.Time { return began.Add(90*time.Second + 500*time.Millisecond) }}
	s.cfg = Config{Station: "xizhimen", Lines: []LineConfig{{Name: "west", TCP: "10.0.0.1:4001"}}}
	s.cfg.Lines[0].Serial.Baud = 9600
	s.lines = []*drivers.Line{drivers.NewLine(drivers.LineConfig{Name: "west", Gates: table, Counters: counters})}
	w := httptest.NewRecorder()
	s.controlHandler().ServeHTTP(w, httptest.NewRequest("GET", linesPath, nil))
	const want = `{"station":"xizhimen","at":"2022-05-30T00:01:30.5Z","started":"2022-05-30T00:00:00Z","uptime_us":90500000,` +
		`"lines":[{"name":"west","protocol":"direct","port":"10.0.0.1:4001","baud":9600,"up":false,"bytes_in":100,"bytes_out":200,` +
		`"errors":{"late":7,"malformed":0,"noise":0,"port":0,"replayed":0,"unknown_gate":0,"unproven":0},` +
		`"gates":[{"name":"W1","address":3,"state":"serving","troubles":["tamper","power"],"round_trip_us":4200,"heard":"2022-05-30T00:01:30Z",` +
		`"taps":1,"asked":2,"missed":3,"damaged":4,"refusals":5,"stale":6},` +
		`{"name":"W2","address":4,"state":"silent","troubles":[],"round_trip_us":0,"heard":null,` +
		`"taps":0,"asked":0,"missed":0,"damaged":0,"refusals":0,"stale":0}]}]}` + "\n"
	if got := w.Body.String(); w.Code != 200 || got != want {
		t.Errorf("%d\ngot  %s\nwant %s", w.Code, got, want)
	}
	var back LinesStatus
	if err := json.Unmarshal(w.Body.Bytes(), &back); err != nil || back.Lines[0].Gates[0].Heard == nil || !back.Lines[0].Gates[0].Heard.Equal(heard) || back.Lines[0].Gates[1].Heard != nil {
		t.Errorf("read back: %+v, %v", back, err)
	}
	w = httptest.NewRecorder()
	s.controlHandler().ServeHTTP(w, httptest.NewRequest("PUT", linesPath, strings.NewReader("{}")))
	if w.Code != 405 {
		t.Errorf("a PUT is answered %d", w.Code)
	}
}

// Each thing that is not well has its own step, and what is well none.
func TestAdvice(t *testing.T) {
	seen := map[string]bool{}
	for _, state := range gateStates() {
		g := GateStatus{State: state.String()}
		if got := g.Advice(); len(got) == 0 != (state == drivers.GateServing) {
			t.Errorf("%v: %q", state, got)
		}
	}
	for _, trouble := range drivers.TroubleNames() {
		g := GateStatus{State: drivers.GateServing.String(), Troubles: []string{trouble}}
		got := g.Advice()
		if len(got) != 1 || seen[got[0]] {
			t.Errorf("%s: %q", trouble, got)
			continue
		}
		seen[got[0]] = true
	}
}
