package station

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gateline/gateway"
	"gateline/internal/httpserve"
	"gateline/internal/logtest"
)

// The local switch is worked over the socket, at once and past a restart.
func TestControl(t *testing.T) {
	w, log := newWire(t), new(logtest.Buffer)
	cfg := testConfig(t, newRoad(t).url(), w)
	b := startBox(t, cfg, Options{Log: log.Logger()})
	c := NewControl(cfg.ControlSocket)
	ctx := t.Context()
	set := func(gate string, to gateway.Switch) {
		t.Helper()
		if err := c.Set(ctx, gate, to); err != nil {
			t.Fatal(err)
		}
	}
	w.wants(t, riderCard, gateway.VerdictManual, gateway.R24)
	set("", gateway.SwitchManual)
	w.wants(t, riderCard, gateway.VerdictManual, gateway.R26)
	w.lane(t, gateway.LaneManual)
	set("G1", gateway.SwitchOpen)
	w.wants(t, riderCard, gateway.VerdictPass, gateway.R02)
	w.lane(t, gateway.LaneOpen)
	if err := c.Set(ctx, "G9", gateway.SwitchOpen); err == nil || !strings.Contains(err.Error(), `no gate "G9"`) || !strings.Contains(err.Error(), "G1") {
		t.Errorf("an unknown gate: %v", err)
	}
	if b.metric(`gateline_switch{gate="G1"}`) != "2" || b.metric(`gateline_switch{gate=""}`) != "1" {
		t.Error("the metrics do not show the switches")
	}
	if info, err := os.Stat(cfg.ControlSocket); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket's mode: %v %v", info.Mode(), err)
	}
	b.stop()
	if _, err := c.State(ctx); err == nil || !strings.Contains(err.Error(), "is it running") {
		t.Errorf("without a box: %v", err)
	}
	again := startBox(t, cfg, Options{Log: log.Logger()})
	state, err := c.State(ctx)
	if err != nil || state.Station != gateway.SwitchManual || len(state.Gates) != 1 || state.Gates["G1"] != gateway.SwitchOpen {
		t.Errorf("after a restart: %+v %v", state, err)
	}
	w.wants(t, riderCard, gateway.VerdictPass, gateway.R02)
	if !strings.Contains(log.String(), "not all on auto") {
		t.Error("the restart does not say that switches are worked")
	}
	set("G1", gateway.SwitchAuto)
	w.wants(t, riderCard, gateway.VerdictManual, gateway.R26)
	set("", gateway.SwitchAuto)
	if got := again.Switches().State(); got.Station != gateway.SwitchAuto || got.Gates != nil {
		t.Errorf("all on auto: %+v", got)
	}
}

// A request that makes no sense changes nothing.
func TestControlRefuses(t *testing.T) {
	d := newTestDesk(t, &fakeDirectory{})
	s := &Station{switches: d.shared.switches}
	if err := s.switches.Set("", gateway.SwitchManual); err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]int{
		`{}`:                                 400,
		`{"gate":"G1"}`:                      400,
		`{"switch":"ajar"}`:                  400,
		`{"switch":"open","station":"x"}`:    400,
		`not json`:                           400,
		`{"gate":"G2","switch":"open"}`:      409,
		strings.Repeat(" ", maxControlBytes): 400,
	} {
		w := httptest.NewRecorder()
		s.controlHandler().ServeHTTP(w, httptest.NewRequest(http.MethodPut, switchPath, strings.NewReader(body)))
		if w.Code != want {
			t.Errorf("%.40q: %d, want %d", body, w.Code, want)
		}
	}
	if got := s.switches.State(); got.Station != gateway.SwitchManual || got.Gates != nil {
		t.Errorf("changed to %+v", got)
	}
}

// The state of the largest box comes over the socket whole.
func TestControlLargestState(t *testing.T) {
	var gates []string
	for i := range MaxLines * MaxGatesPerLine {
		gates = append(gates, fmt.Sprintf("gate-%027d", i)) // 32 characters
	}
	s, err := openSwitches(&fakeStore{saved: map[string][]byte{}}, gates, new(logtest.Buffer).Logger())
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range gates {
		s.gates[g].Store(uint32(gateway.SwitchManual))
	}
	ctx, cancel := context.WithCancel(t.Context())
	path := filepath.Join(t.TempDir(), "control.sock")
	l, err := listenControl(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- httpserve.Serve(ctx, l, (&Station{switches: s}).controlHandler()) }()
	state, err := NewControl(path).State(ctx)
	if err != nil || len(state.Gates) != len(gates) {
		t.Errorf("%d gates, %v", len(state.Gates), err)
	}
	cancel()
	<-ended
}

// A socket left by a killed box is replaced; a living one, a file, and one
// that cannot be tried are not touched.
func TestControlSocket(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	stale := filepath.Join(dir, "stale")
	l, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as after a kill
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	living, err := listenControl(ctx, stale)
	if err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	if _, err := listenControl(ctx, stale); err == nil || !strings.Contains(err.Error(), "in use by a running box") {
		t.Errorf("a living socket: %v", err)
	}
	if conn, err := net.DialTimeout("unix", stale, time.Second); err != nil {
		t.Errorf("the living socket is gone: %v", err)
	} else {
		_ = conn.Close()
	}
	if err := living.Close(); err != nil {
		t.Error(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenControl(ctx, file); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a file: %v", err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "keep" {
		t.Errorf("the file: %q %v", text, err)
	}
	// Another kind of socket lives there: it cannot be tried as ours is.
	other := filepath.Join(dir, "datagram")
	d, err := net.ListenPacket("unixgram", other)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := listenControl(ctx, other); err == nil || !strings.Contains(err.Error(), "cannot be tried") {
		t.Errorf("a living datagram socket: %v", err)
	}
	if _, err := os.Lstat(other); err != nil {
		t.Errorf("it is gone: %v", err)
	}
}
