package simulator

import (
	"testing"
	"time"

	"gateline/gateway"
)

// Readers on one line, in Secure Channel and in clear, through the production
// assembly: every rider gets the sign that the model allows.
func TestReaders(t *testing.T) {
	for name, secure := range map[string]bool{"secure": true, "clear": false} {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.Scenario, cfg.Protocol, cfg.Secure = "rush", "osdp", secure
			cfg.Gates, cfg.Cards, cfg.Taps, cfg.Seed = 4, 2000, 60, 5
			report, err := Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if !report.OK() || report.Answered != cfg.Taps || report.WireUS == 0 {
				t.Errorf("%+v", report)
			}
			if report.Verdicts["pass"] == 0 || report.Reasons["R00"] == 0 {
				t.Errorf("nobody passed: %v", report.Reasons)
			}
		})
	}
}

// What a reader reads comes back as the credential that was presented.
func TestReadOf(t *testing.T) {
	if r := readOf(noCredential); r.Bits != 7 {
		t.Errorf("an unreadable medium has %d bits", r.Bits)
	}
	for i := range 20 {
		r := readOf(i)
		if bytes := (r.Bits + 7) / 8; bytes != len(r.Data) {
			t.Errorf("credential %d: %d bits in %d bytes", i, r.Bits, len(r.Data))
		}
	}
}

// A wrong sign is found out though a reader shows no reason.
func TestWrongSignIsFound(t *testing.T) {
	m := newModel(newCity(100))
	m.setPolicy(1, policyFacts{effective: time.Now().Add(-time.Hour), window: 2, fresh: time.Hour, stale: 2 * time.Hour})
	m.load(0, status{anchor: gateway.DayOf(time.Now())})
	at := gateway.Position{Epoch: 1, Number: 5, Watermark: time.Now().UnixMicro()}
	tap := tapRecord{answered: true, blind: true, sent: time.Now(), received: time.Now(), before: at, after: at}
	for verdict, right := range map[gateway.Verdict]bool{gateway.VerdictPass: true, gateway.VerdictRefuse: false, gateway.VerdictManual: false} {
		tap.got = outcome{verdict: verdict, open: verdict == gateway.VerdictPass}
		if m.right(tap) != right {
			t.Errorf("%v is taken for right: %v", verdict, !right)
		}
	}
}
