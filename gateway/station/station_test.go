package station

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"gateline/cache"
	"gateline/central"
	"gateline/gateway"
	"gateline/internal/logtest"
)

const (
	riderCard = "tunion:3104770012345678901"
	otherCard = "ride:1001000000000042"
	riderID   = "person-secret-7"
)

// The main job, end to end: a box that starts without the centre, learns from
// it, and goes on without it after a restart.
func TestBox(t *testing.T) {
	centre, client := startCentre(t)
	road, w, log := newRoad(t), newWire(t), new(logtest.Buffer)
	cfg := testConfig(t, road.url(), w)
	var applied, answered atomic.Int64
	o := Options{Log: log.Logger(), Version: "v1.2.3", OnApplied: func(gateway.Update) { applied.Add(1) },
		OnAnswered: func(handed, written time.Duration) { answered.Add(1) }}
	b := startBox(t, cfg, o)

	w.wants(t, riderCard, gateway.VerdictManual, gateway.R24)
	w.lane(t, gateway.LaneManual)
	if a := w.tap(t, gateway.PurposeExit, parse(t, riderCard)); a.Verdict != gateway.VerdictPass || a.Reason != gateway.R02 {
		t.Errorf("an exit without data: %v %v", a.Verdict, a.Reason)
	}
	checkHealth(t, b, 503, "[+] store ok", "[-] snapshot: ", "[-] policy: ", "[+] lines ok", "[+] clock ok")
	if status, page := b.get("/"); status != 200 || !strings.Contains(page, "not ready") || !strings.Contains(page, "无 none") {
		t.Errorf("the page without data: %d %s", status, page)
	}

	ctx := t.Context()
	number := done(t)(client.SetPolicy(ctx, gateway.DefaultPolicy(time.Now().Add(-time.Hour).Truncate(time.Second))))
	road.lead(centre.LeafAddr())
	b.reaches(number)
	until(t, "the box is complete", b.Usable)
	w.wants(t, riderCard, gateway.VerdictManual, gateway.R20)
	w.lane(t, gateway.LaneAuto)
	checkHealth(t, b, 200, "[+] snapshot ok", "[+] policy ok")

	today := gateway.DayOf(time.Now()).String()
	number = done(t)(client.Import(ctx, []central.Row{{Credential: riderCard, Person: riderID, Status: central.Status{Class: "normal", Anchor: today}}}))
	b.reaches(number)
	w.wants(t, riderCard, gateway.VerdictPass, gateway.R00)
	b.reaches(done(t)(client.Report(ctx, riderID, central.Status{Class: "red", Anchor: today})))
	w.wants(t, riderCard, gateway.VerdictRefuse, gateway.R13)
	checkObserve(t, b, client, w)
	checkPages(t, b)

	b.stop()
	road.lead("")
	at := b.Position().Number
	again := startBox(t, cfg, o)
	if got := again.Position().Number; !again.Usable() || got > at || got < number {
		t.Errorf("after the restart it stands at %d, before at %d", got, at)
	}
	w.wants(t, riderCard, gateway.VerdictRefuse, gateway.R13)
	w.wants(t, otherCard, gateway.VerdictManual, gateway.R20)
	if again.LinkUp() {
		t.Error("the link is up without a centre")
	}
	if applied.Load() == 0 || answered.Load() == 0 {
		t.Errorf("%d entries and %d answers were told", applied.Load(), answered.Load())
	}
	again.stop()
	noSecrets(t, "the log", log.String())
}

func checkHealth(t *testing.T, b *box, want int, parts ...string) {
	t.Helper()
	if status, body := b.get("/livez"); status != 200 || body != "[+] store ok\n" {
		t.Errorf("livez: %d %q", status, body)
	}
	status, body := b.get("/readyz")
	if status != want {
		t.Errorf("readyz: %d, want %d", status, want)
	}
	for _, part := range parts {
		if !strings.Contains(body, part) {
			t.Errorf("readyz: no %q in %q", part, body)
		}
	}
}

// checkObserve: in mode observe everybody passes and what would have been said
// is counted.
func checkObserve(t *testing.T, b *box, client *central.Client, w *wire) {
	t.Helper()
	b.reaches(done(t)(client.StationMode(t.Context(), b.cfg.Station, "observe", time.Time{})))
	w.wants(t, riderCard, gateway.VerdictPass, gateway.R02)
	w.wants(t, otherCard, gateway.VerdictPass, gateway.R02)
	for reason, name := range map[string]string{"R13": "refuse", "R20": "manual", "R00": "pass"} {
		want := "1"
		if reason == "R00" {
			want = "0"
		}
		metric := fmt.Sprintf(`gateline_observed_total{reason=%q,verdict=%q}`, reason, name)
		until(t, metric+" is "+want, func() bool { return b.metric(metric) == want })
	}
	if b.metric(`gateline_policy_mode{mode="observe"}`) != "1" {
		t.Error("the mode is not shown")
	}
	b.reaches(done(t)(client.StationMode(t.Context(), b.cfg.Station, central.ModeDefault, time.Time{})))
	w.wants(t, riderCard, gateway.VerdictRefuse, gateway.R13)
}

// checkPages: the metrics are well formed and named, the page shows the state,
// and neither knows a rider.
func checkPages(t *testing.T, b *box) {
	t.Helper()
	until(t, "the taps are counted", func() bool { return b.metric(`gateline_answers_total{reason="R13",verdict="refuse"}`) == "2" })
	_, text := b.get("/metrics")
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v %v", problems, err)
	}
	for name, want := range map[string]string{
		`gateline_answers_total{reason="R24",verdict="manual"}`: "1", `gateline_answers_total{reason="R00",verdict="pass"}`: "1",
		"gateline_store_usable": "1", "gateline_link_up": "1", "gateline_records": "1", "gateline_clock_trusted": "1",
		`gateline_line_up{line="line-1"}`: "1", `gateline_switch{gate=""}`: "0", `gateline_switch{gate="G1"}`: "0",
		`gateline_build_info{station="xizhimen",version="v1.2.3"}`: "1", "gateline_lookup_errors_total": "0",
	} {
		if got := b.metric(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	status, page := b.get("/")
	for _, part := range []string{"xizhimen", "就绪 ready", "enforce, 2 d (calendar_day)", "line-1", "G1", "已连接 up"} {
		if status != 200 || !strings.Contains(page, part) {
			t.Errorf("the page: %d, no %q", status, part)
		}
	}
	if status, _ := b.get("/switch"); status != 404 {
		t.Errorf("the switch is on the status address: %d", status)
	}
	noSecrets(t, "metrics", text)
	noSecrets(t, "the page", page)
}

// noSecrets looks for the riders of these tests in a text.
func noSecrets(t *testing.T, where, text string) {
	t.Helper()
	for _, credential := range []string{riderCard, otherCard} {
		_, number, _ := strings.Cut(credential, ":")
		token := tokenOf(t, credential)
		for _, secret := range []string{number, fmt.Sprintf("%x", uint64(token)), fmt.Sprint(uint64(token)), riderID} {
			if strings.Contains(strings.ToLower(text), secret) {
				t.Errorf("%s tells of a rider", where)
			}
		}
	}
}

// A box with some of its lines serves those, and the others once they come.
func TestMissingLine(t *testing.T) {
	w, log := newWire(t), new(logtest.Buffer)
	cfg := testConfig(t, newRoad(t).url(), w)
	name := filepath.Join(t.TempDir(), "gate-south")
	cfg.Lines = append(cfg.Lines, lineConfig(2, name))
	b := startBox(t, cfg, Options{Log: log.Logger()})
	w.wants(t, riderCard, gateway.VerdictManual, gateway.R24)
	if b.metric(`gateline_line_up{line="line-2"}`) != "0" || !strings.Contains(log.String(), "line missing at start") || !strings.Contains(log.String(), name) {
		t.Errorf("the missing line is not reported: %s", log)
	}
	if _, page := b.get("/"); !strings.Contains(page, "断线 down") {
		t.Error("the page does not show the missing line")
	}
	late := newWire(t)
	if err := os.Symlink(late.device, name); err != nil {
		t.Fatal(err)
	}
	late.wants(t, riderCard, gateway.VerdictManual, gateway.R24)
}

// What a box cannot do without is an error that names it; nothing is left
// behind, so that the next start succeeds.
func TestOpenErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	w := newWire(t)
	good := testConfig(t, newRoad(t).url(), w)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Config)
		want   []string
	}{
		"all lines missing": {func(c *Config) { c.Lines = []LineConfig{lineConfig(1, "/dev/none-1"), lineConfig(2, "/dev/none-2")} },
			[]string{"no line can be opened", `line "line-1"`, "/dev/none-1", `line "line-2"`, "/dev/none-2"}},
		"status address in use":    {func(c *Config) { c.StatusListen = taken.Addr().String() }, []string{"status page", taken.Addr().String(), "free the address"}},
		"no key":                   {func(c *Config) { c.TokenKeyFile = file + ".none" }, []string{"key file", file + ".none"}},
		"no gate key":              {func(c *Config) { c.Lines = []LineConfig{lineConfig(1, w.device)}; c.Lines[0].Gates[0].KeyFile = file }, []string{`gate "G1"`, "openssl rand -hex 16"}},
		"cache is a file":          {func(c *Config) { c.CacheDir = file }, []string{"cache directory", file}},
		"cache is foreign":         {func(c *Config) { c.CacheDir = filepath.Dir(file) }, []string{"not a gateline cache", filepath.Dir(file)}},
		"control socket is a file": {func(c *Config) { c.ControlSocket = file }, []string{"control socket", file, "no socket"}},
		"control socket's folder":  {func(c *Config) { c.ControlSocket = "/none/control.sock" }, []string{"control socket", "/none/control.sock", "set [control] socket"}},
		"centre's address":         {func(c *Config) { c.CentreURL = "http://centre" }, []string{"nats-leaf://host:port"}},
		"two gates, one address": {func(c *Config) {
			c.Lines = []LineConfig{lineConfig(1, w.device)}
			c.Lines[0].Gates = append(c.Lines[0].Gates, GateConfig{Name: "G2", Address: 1})
		}, []string{`line "line-1"`, "same address 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			c.change(&cfg)
			_, err := Open(t.Context(), cfg, Options{Log: new(logtest.Buffer).Logger()})
			if err == nil {
				t.Fatal("opened")
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("no %q in: %v", part, err)
				}
			}
		})
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "keep" {
		t.Errorf("a file that is not ours is gone or changed: %v", err)
	}
	b := startBox(t, good, Options{})
	_, err = Open(t.Context(), good, Options{Log: new(logtest.Buffer).Logger()})
	if !errors.Is(err, cache.ErrInUse) {
		t.Errorf("a second box on the same cache: %v", err)
	}
	w.wants(t, riderCard, gateway.VerdictManual, gateway.R24) // the first is not disturbed
	b.stop()
}

// The end of the context, whichever, is no error; a part that fails is one.
func TestRunEnds(t *testing.T) {
	cfg := testConfig(t, newRoad(t).url(), newWire(t))
	open := func() *Station {
		s, err := Open(t.Context(), cfg, Options{Log: new(logtest.Buffer).Logger()})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := s.Run(ctx); err != nil {
		t.Errorf("at a deadline Run returns %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	s = open()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	until(t, "it serves", func() bool {
		conn, err := net.Dial("unix", cfg.ControlSocket)
		if err == nil {
			err = conn.Close()
		}
		return err == nil
	})
	if err := s.status.Close(); err != nil { // pull a part out from under it
		t.Error(err)
	}
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "serve") {
			t.Errorf("a part failed and Run returns %v", err)
		}
	case <-time.After(patience):
		t.Error("a part failed and Run goes on")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A clock that is not trusted sends riders to the manual lane; it does not
// stop the lines, whose deadlines are by the machine's clock.
func TestClockNotTrusted(t *testing.T) {
	centre, client := startCentre(t)
	road, w := newRoad(t), newWire(t)
	road.lead(centre.LeafAddr())
	var back atomic.Bool
	now := func() time.Time {
		if back.Load() {
			return time.Now().Add(-3 * time.Hour)
		}
		return time.Now()
	}
	b := startBox(t, testConfig(t, road.url(), w), Options{Now: now})
	ctx := t.Context()
	done(t)(client.SetPolicy(ctx, gateway.DefaultPolicy(time.Now().Add(-24*time.Hour).Truncate(time.Second))))
	b.reaches(done(t)(client.Import(ctx, []central.Row{{Credential: riderCard, Person: riderID,
		Status: central.Status{Class: "normal", Anchor: (gateway.DayOf(time.Now()) - 1).String()}}})))
	until(t, "the box is complete", b.Usable)
	w.wants(t, riderCard, gateway.VerdictPass, gateway.R00)
	back.Store(true)
	until(t, "the clock is not trusted", func() bool { return b.metric("gateline_clock_trusted") == "0" })
	w.wants(t, riderCard, gateway.VerdictManual, gateway.R23)
	w.lane(t, gateway.LaneManual)
	if status, body := b.get("/readyz"); status != 503 || !strings.Contains(body, "[-] clock: it is more than an hour behind") {
		t.Errorf("readyz: %d %s", status, body)
	}
	back.Store(false)
	until(t, "the clock is trusted again", func() bool { return b.metric("gateline_clock_trusted") == "1" })
	w.wants(t, riderCard, gateway.VerdictPass, gateway.R00)
}
