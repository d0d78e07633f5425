package station

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gateline/drivers/osdp"
	"gateline/gateway"
	"gateline/internal/logtest"
)

// readers is a line of OSDP readers on a pseudo-terminal, without the wire's
// time.
type readers struct {
	*wire
	mu    sync.Mutex // guards what follows
	pds   []*osdp.PD
	shown []osdp.Show
	deaf  bool // nobody answers
}

// newTestReaders returns readers of addresses 0, 1 …, one for each key, nil = in
// clear. They live until the test ends.
func newTestReaders(t *testing.T, keys ...*osdp.Key) *readers {
	t.Helper()
	r := &readers{wire: newWire(t)}
	capabilities := osdp.TypicalCapabilities()
	capabilities.Outputs = 2
	for i, key := range keys {
		r.pds = append(r.pds, osdp.NewPD(osdp.PDConfig{
			Address: byte(i), Baud: 115200, Key: key, RequireSecure: key != nil, Capabilities: capabilities}))
	}
	ended := make(chan error, 1)
	go func() { ended <- r.live() }()
	t.Cleanup(func() {
		_ = r.master.Close()
		if err := <-ended; !errors.Is(err, fs.ErrClosed) {
			t.Errorf("the readers end with %v", err)
		}
	})
	return r
}

func (r *readers) live() error {
	var buf [256]byte
	for {
		n, err := r.master.Read(buf[:])
		if err != nil {
			return err
		}
		if _, err := r.master.Write(r.step(buf[:n])); err != nil {
			return err
		}
	}
}

func (r *readers) step(in []byte) (reply []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, pd := range r.pds {
		reply = append(reply, pd.Step(time.Now(), in)...)
		r.shown = append(r.shown, pd.Shown()...)
	}
	if r.deaf {
		return nil
	}
	return reply
}

// do lets f work on the readers.
func (r *readers) do(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// readersConfig is a box with one line of readers R0, R1 …, each with the key in
// keys.
func readersConfig(t *testing.T, r *readers, keys ...string) Config {
	t.Helper()
	cfg := testConfig(t, newRoad(t).url())
	line := LineConfig{Name: "west", Protocol: ProtocolOSDP, Secure: true, Reads: osdp.DefaultReadMap()}
	line.Serial.Device, line.Serial.Baud = r.device, 115200
	for i, key := range keys {
		g := GateConfig{Name: "R" + string(rune('0'+i)), Address: uint8(i), Purpose: gateway.PurposeEntry}
		if key == "" {
			line.Secure = false
		} else {
			g.KeyFile = filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(g.KeyFile, []byte(key), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		line.Gates = append(line.Gates, g)
	}
	cfg.Lines = []LineConfig{line}
	return cfg
}

const (
	readerKey = "00112233445566778899aabbccddee00"
	otherKey  = "f0112233445566778899aabbccddee00"
)

func parseReaderKey(t *testing.T, text string) *osdp.Key {
	t.Helper()
	key, err := osdp.ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return &key
}

// A box with readers: what they show is what the configuration says, and page,
// metrics, control socket and log tell how they are.
func TestReaders(t *testing.T) {
	r, log := newTestReaders(t, parseReaderKey(t, readerKey), parseReaderKey(t, otherKey), nil), new(logtest.Buffer)
	cfg := readersConfig(t, r, readerKey, readerKey, "")
	signals := osdp.DefaultSignals()
	signals.Output, signals.Pass.Beeps, signals.Open.Text, signals.ManualLane.Text = 1, 7, "Walk on", "Go left"
	cfg.Lines[0].Signals = &signals
	r.do(func() { r.pds[2].Tamper(time.Now(), true) })
	b := startBox(t, cfg, Options{Log: log.Logger()})
	c := NewControl(cfg.ControlSocket)
	gates := func() []GateStatus {
		status, err := c.Lines(t.Context())
		if err != nil || len(status.Lines) != 1 || len(status.Lines[0].Gates) != 3 {
			t.Fatalf("%+v, %v", status, err)
		}
		return status.Lines[0].Gates
	}
	until(t, "the readers are as they will be", func() bool {
		g := gates()
		return g[0].State == "serving" && g[1].State == "refused" && g[2].State == "serving" && len(g[1].Troubles)+len(g[2].Troubles) == 2
	})
	checkReadersStatus(t, c, cfg)
	checkReadersMetrics(t, b)
	_, page := b.get("/")
	for _, part := range []string{"2 / 3 正常 serving", "正常 serving", "拒绝 refused", "密钥不符 key", "机壳打开 tamper", cfg.Lines[0].Serial.Device, " ms</td>"} {
		if !strings.Contains(page, part) {
			t.Errorf("the page: no %q", part)
		}
	}
	for _, line := range []string{
		`level=INFO msg="gate is well" line=west gate=R0 state=serving` + "\n",
		`level=WARN msg="gate is not well" line=west gate=R1 state=refused troubles=key next="key: bring the key of its key_file into the reader"` + "\n",
		`level=WARN msg="gate is not well" line=west gate=R2 state=serving troubles=tamper next="tamper: close the reader's case`,
	} {
		until(t, "the log has "+line, func() bool { return strings.Contains(log.String(), line) })
	}

	if err := b.Switches().Set("R0", gateway.SwitchOpen); err != nil {
		t.Fatal(err)
	}
	sees := func(what string, seen func(osdp.Show) bool) {
		t.Helper()
		until(t, what, func() (found bool) {
			r.do(func() {
				for _, s := range r.shown {
					found = found || seen(s)
				}
			})
			return found
		})
	}
	sees("the second output stands open", func(s osdp.Show) bool {
		return s.Code == osdp.CmdOUT && s.Out.Number == 1 && s.Out.Control == osdp.OutOn
	})
	sees("the open gate's text", func(s osdp.Show) bool { return s.Code == osdp.CmdTEXT && s.Text.Characters == "Walk on" })
	sees("the manual lane's text", func(s osdp.Show) bool { return s.Code == osdp.CmdTEXT && s.Text.Characters == "Go left" })
	r.do(func() {
		r.pds[0].Present(time.Now(), osdp.Read{Bits: 80, Data: []byte{0x03, 0x10, 0x47, 0x70, 0x01, 0x23, 0x45, 0x67, 0x89, 0x01}})
	})
	sees("a pass's sound", func(s osdp.Show) bool { return s.Code == osdp.CmdBUZ && s.Buz.Count == 7 })
	until(t, "the tap is counted", func() bool { return gates()[0].Taps == 1 })
	r.do(func() { r.deaf = true })
	until(t, "they are silent", func() bool { g := gates(); return g[0].State == "silent" && g[2].State == "silent" })
	if status, body := b.get("/readyz"); strings.Contains(body, "gate") {
		t.Errorf("whether the box is ready depends on gates: %d %s", status, body)
	}
	b.stop()
	for _, secret := range []string{readerKey, otherKey, "3104770012345678901"} {
		if strings.Contains(strings.ToLower(log.String()), secret) {
			t.Error("the log tells a secret")
		}
	}
}

func checkReadersStatus(t *testing.T, c *Control, cfg Config) {
	t.Helper()
	status, err := c.Lines(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if status.Station != cfg.Station || status.UptimeUS <= 0 || status.At.Sub(status.Started).Microseconds() < status.UptimeUS/2 {
		t.Errorf("got %+v", status)
	}
	l := status.Lines[0]
	if l.Name != "west" || l.Protocol != ProtocolOSDP || l.Port != cfg.Lines[0].Serial.Device || l.Baud != 115200 || !l.Up || l.BytesIn == 0 || l.BytesOut == 0 {
		t.Errorf("got %+v", l)
	}
	if _, known := l.Errors["late"]; !known || len(l.Errors) < 7 {
		t.Errorf("errors %v", l.Errors)
	}
	g := l.Gates[0]
	if g.Name != "R0" || g.Address != 0 || g.Heard == nil || time.Since(*g.Heard) > patience || g.RoundTripUS == 0 || g.Asked == 0 || len(g.Troubles) != 0 || g.Troubles == nil || len(g.Advice()) != 0 {
		t.Errorf("got %+v", g)
	}
	if g := l.Gates[2]; g.Address != 2 || len(g.Troubles) != 1 || g.Troubles[0] != "tamper" || len(g.Advice()) != 1 {
		t.Errorf("got %+v", g)
	}
}

func checkReadersMetrics(t *testing.T, b *box) {
	t.Helper()
	for name, want := range map[string]string{
		`gateline_gate_state{gate="R0",line="west",state="serving"}`:               "1",
		`gateline_gate_state{gate="R0",line="west",state="silent"}`:                "0",
		`gateline_gate_state{gate="R0",line="west",state="starting"}`:              "0",
		`gateline_gate_state{gate="R1",line="west",state="refused"}`:               "1",
		`gateline_gate_state{gate="R1",line="west",state="serving"}`:               "0",
		`gateline_gate_trouble{gate="R0",line="west",trouble="key"}`:               "0",
		`gateline_gate_trouble{gate="R1",line="west",trouble="key"}`:               "1",
		`gateline_gate_trouble{gate="R2",line="west",trouble="tamper"}`:            "1",
		`gateline_gate_trouble{gate="R2",line="west",trouble="power"}`:             "0",
		`gateline_gate_trouble{gate="R2",line="west",trouble="duplicate_address"}`: "0",
		`gateline_gate_taps_total{gate="R0",line="west"}`:                          "0",
		`gateline_gate_refusals_total{gate="R0",line="west"}`:                      "0",
		`gateline_gate_stale_reads_total{gate="R0",line="west"}`:                   "0",
		`gateline_line_errors_total{kind="unknown_gate",line="west"}`:              "0",
	} {
		if got := b.metric(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{
		`gateline_gate_round_trip_seconds{gate="R0",line="west"}`, `gateline_gate_asked_total{gate="R0",line="west"}`,
	} {
		if got := b.metric(name); got == "" || got == "0" {
			t.Errorf("%s is %q", name, got)
		}
	}
	for _, name := range []string{
		`gateline_gate_missed_total{gate="R0",line="west"}`, `gateline_gate_damaged_total{gate="R0",line="west"}`, `gateline_line_errors_total{kind="late",line="west"}`,
	} {
		if b.metric(name) == "" {
			t.Errorf("there is no %s", name)
		}
	}
}
