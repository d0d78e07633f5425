package central

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"gateline/central/fleet"
	"gateline/gateway"
	"gateline/internal/logtest"
	"gateline/replication"
)

// reports lets a station that is well report, after change, until the centre
// shows it.
func reports(t *testing.T, c *running, station string, change func(*replication.Report)) fleet.Row {
	t.Helper()
	until(t, "there is an entry", func() bool { return c.writer.feed.Last().Number > 0 })
	last := c.writer.feed.Last()
	message, err := c.fleet.feed.GetMsg(t.Context(), last.Number)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := replication.DecodeEntry(message.Data)
	if err != nil {
		t.Fatal(err)
	}
	r := &replication.Report{
		Station: station, At: time.Now(), UptimeS: time.Now().UnixNano(), Usable: true, Mode: "enforce", FreshLimitS: 900, Switch: "auto",
		Clock: replication.ReportClock{Trusted: true},
		Position: replication.NewReportPosition(gateway.Position{
			Epoch: entry.Epoch, Number: entry.Number, Watermark: entry.Time, Hash: entry.Hash,
		}),
	}
	if change != nil {
		change(r)
	}
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	publishStatus(t, c, station, data)
	var row fleet.Row
	until(t, "the centre shows the report", func() bool {
		s, err := c.FleetStation(t.Context(), station)
		if err != nil || s.Row.Report.UptimeS != r.UptimeS {
			return false
		}
		if row = s.Row; row.State == fleet.Expected { // it came before the centre said that it listens
			publishStatus(t, c, station, data)
			return false
		}
		return true
	})
	return row
}

func publishStatus(t *testing.T, c *running, subject string, data []byte) {
	t.Helper()
	if err := c.Client.conn.Publish(replication.SubjectStatus+subject, data); err != nil {
		t.Fatal(err)
	}
	if err := c.Client.conn.Flush(); err != nil {
		t.Fatal(err)
	}
}

func TestFleetMatchesWithTheFeed(t *testing.T) {
	c := start(t, testConfig(t.TempDir(), &logtest.Buffer{}))
	for i, s := range []struct {
		change func(*replication.Report)
		want   fleet.State
	}{
		{nil, fleet.OK},
		{func(r *replication.Report) { r.Position.Hash = hex.EncodeToString(make([]byte, 32)) }, fleet.Disagrees},
		{func(r *replication.Report) { r.Position.Number += 1 << 32 }, fleet.Disagrees},
		{func(r *replication.Report) { r.Position.Epoch++ }, fleet.Disagrees},
		{func(r *replication.Report) { r.Usable, r.Position = false, replication.ReportPosition{} }, fleet.Loading},
		{nil, fleet.OK},
	} {
		if row := reports(t, c, "xizhimen", s.change); row.State != s.want {
			t.Errorf("%d: %v (%s), want %v", i, row.State, row.Why, s.want)
		}
	}
}

// What cannot be believed is passed over and counted, and the log names no value
// of it.
func TestFleetPassesOver(t *testing.T) {
	log := &logtest.Buffer{}
	cfg := testConfig(t.TempDir(), log)
	cfg.StatusListen = "127.0.0.1:0"
	c := start(t, cfg)
	reports(t, c, "xizhimen", nil)
	good, err := (&replication.Report{Station: "xizhimen"}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	publishStatus(t, c, "a", good)
	publishStatus(t, c, "b", []byte("secret-4711"))
	publishStatus(t, c, "c", []byte(`{"v":2,"secret-4711":1}`))
	publishStatus(t, c, "Dong\x1b[2J", good)
	publishStatus(t, c, "xizhimen.hours", []byte("secret-4711"))
	metric := func(name string) string { return metricOf(t, c, name) }
	for why, n := range map[string]string{"station": "2", "malformed": "1", "version": "1"} {
		until(t, why+" is counted", func() bool { return metric(`gateline_fleet_reports_ignored_total{why="`+why+`"}`) == n })
	}
	for name, want := range map[string]string{
		`gateline_fleet_stations{state="ok"}`: "1", `gateline_fleet_stations{state="silent"}`: "0",
		`gateline_fleet_station_state{state="ok",station="xizhimen"}`: "1", `gateline_fleet_station_gates{station="xizhimen"}`: "0",
	} {
		if got := metric(name); got != want {
			t.Errorf("%s is %q, want %s", name, got, want)
		}
	}
	if page, err := c.Fleet(t.Context()); err != nil || len(page.Stations) != 1 {
		t.Errorf("%v %+v", err, page)
	}
	if s, err := c.FleetStation(t.Context(), "xizhimen"); err != nil || len(s.Hours) != 0 {
		t.Errorf("hours that cannot be read: %v %+v", err, s)
	}
	if text := log.String(); strings.Contains(text, "4711") || strings.Contains(text, `\x1b`) || !strings.Contains(text, "a report is passed over") {
		t.Error(text)
	}
}

// metricOf returns the value of one of the centre's metrics.
func metricOf(t *testing.T, c *running, name string) string {
	t.Helper()
	r, err := http.Get("http://" + c.StatusAddr() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// A list longer than a page, the same after a restart, and without a station that
// was forgotten.
func TestFleetList(t *testing.T) {
	dir := t.TempDir()
	c := start(t, testConfig(dir, &logtest.Buffer{}))
	name := func(i int) string { return fmt.Sprintf("s-%04d", i) }
	const stations = 2*fleetPage + 1
	for i := range stations - 1 {
		data, err := (&replication.Report{Station: name(i)}).Encode()
		if err != nil {
			t.Fatal(err)
		}
		publishStatus(t, c, name(i), data)
	}
	reports(t, c, name(stations-1), nil)
	wantAll := func(c *running, want fleet.State) {
		t.Helper()
		var page FleetPage
		until(t, "all stations are listed", func() bool {
			var err error
			if page, err = c.Fleet(t.Context()); err != nil {
				t.Fatal(err)
			}
			return len(page.Stations) == stations
		})
		for i, r := range page.Stations {
			if r.Station != name(i) || r.Report.Station != name(i) {
				t.Fatalf("place %d is of %s", i, r.Station)
			}
		}
		if got := page.Stations[stations-1].State; got != want {
			t.Errorf("the last is %v, want %v", got, want)
		}
	}
	wantAll(c, fleet.OK)
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	c = start(t, testConfig(dir, &logtest.Buffer{}))
	wantAll(c, fleet.Expected)

	if _, err := c.ForgetStation(t.Context(), name(0)); err != nil {
		t.Fatal(err)
	}
	for _, ask := range []func(context.Context, string) error{
		func(ctx context.Context, s string) error { _, err := c.FleetStation(ctx, s); return err },
		func(ctx context.Context, s string) error { _, err := c.ForgetStation(ctx, s); return err },
	} {
		for station, want := range map[string]Code{name(0): CodeNoStation, "Xi Dan": CodeMalformed, "": CodeMalformed} {
			var refusal *Refusal
			if err := ask(t.Context(), station); !errors.As(err, &refusal) || refusal.Code != want {
				t.Errorf("%q: %v, want %s", station, err, want)
			}
		}
	}
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	c = start(t, testConfig(dir, &logtest.Buffer{}))
	reports(t, c, name(1), nil)
	if page, err := c.Fleet(t.Context()); err != nil || len(page.Stations) != stations-1 {
		t.Errorf("%v, %d stations after one was forgotten", err, len(page.Stations))
	}
}

// A page of the largest reports there can be is one message.
func TestFleetPageFits(t *testing.T) {
	row := fleet.Row{Station: strings.Repeat("s", 64), State: fleet.Disagrees, Why: strings.Repeat("w", 200), Report: &replication.Report{}}
	text, err := json.Marshal(row)
	if err != nil {
		t.Fatal(err)
	}
	if most := fleetPage * (len(text) + replication.MaxReportSize); most > 1<<20 {
		t.Errorf("%d bytes", most)
	}
}

// Where many change at once the log names few.
func TestTellChanges(t *testing.T) {
	var log logtest.Buffer
	var changes []fleet.Change
	for i := range 500 {
		to := fleet.Silent
		if i%10 == 0 {
			to = fleet.OK
		}
		changes = append(changes, fleet.Change{Station: fmt.Sprintf("s-%03d", i), To: to})
	}
	tellChanges(log.Logger(), changes)
	for _, want := range []string{"state=silent stations=450", "s-008 and 442 more", "state=ok stations=50"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %s in\n%s", want, log.String())
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 2 {
		t.Errorf("%d lines", n)
	}
}

// BenchmarkFleetReport measures a report from the connection until the centre
// has judged it, stream and comparison with the feed included; those of 5,000
// stations come in 1,000 a second.
func BenchmarkFleetReport(b *testing.B) {
	cfg := testConfig(b.TempDir(), &logtest.Buffer{})
	c, err := Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	defer func() {
		cancel()
		if err := errors.Join(<-ended, c.Close()); err != nil {
			b.Error(err)
		}
	}()
	conn, err := c.Connect()
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	const stations = 5000
	sent := 0
	for b.Loop() {
		r := replication.Report{Station: fmt.Sprintf("s-%04d", sent%stations), UptimeS: int64(sent/stations + 1), Usable: true}
		data, err := r.Encode()
		if err == nil {
			err = conn.Publish(replication.SubjectStatus+r.Station, data)
		}
		if err != nil {
			b.Fatal(err)
		}
		sent++
	}
	until(b, "all are judged", func() bool {
		c.fleet.mu.Lock()
		defer c.fleet.mu.Unlock()
		taken := 0
		rows, _ := c.fleet.fleet.Rows("", stations, time.Now())
		for _, r := range rows {
			taken += int(r.Report.UptimeS) // of each station that is how many it sent
		}
		return taken == sent
	})
}
