package replication

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"gateline/gateway"
)

func testReport(station string) *Report {
	records := 25_000_000
	return &Report{
		Station: station, At: time.Date(2022, 5, 30, 0, 0, 1, 5e6, time.UTC), UptimeS: 86400, Release: "gateline v1.2.3 go1.26",
		Position: NewReportPosition(gateway.Position{Epoch: 1 << 63, Number: 1 << 40, Watermark: 1653868800123456, Hash: gateway.Hash{1, 31: 2}}),
		Usable:   true, Records: &records, PolicyVersion: 7, Mode: "enforce", FreshLimitS: 900, Switch: "auto", Switched: 1,
		Clock: ReportClock{Trusted: true}, Lines: ReportLines{Up: 1, Total: 2}, Gates: ReportGates{Serving: 7, Starting: 1, Silent: 2, Refused: 3},
		Feed: ReportFeed{Gaps: 1, Refused: 2, ApplyErrors: 3},
	}
}

func TestReportComesBackAsItWas(t *testing.T) {
	for name, r := range map[string]*Report{"full": testReport("xizhimen"), "a new box": {Station: "a", Position: NewReportPosition(gateway.Position{})}} {
		data, err := r.Encode()
		if err != nil {
			t.Fatal(name, err)
		}
		got, err := DecodeReport(data)
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%s: %v\ngot  %+v\nwant %+v", name, err, got, r)
		}
		if len(data) > 900 {
			t.Errorf("%s: %d bytes", name, len(data))
		}
	}
}

// Newer boxes may say more; what is wrong, or meant for another version, or could
// upset a terminal is refused, without repeating it.
func TestDecodeReport(t *testing.T) {
	good, err := testReport("xizhimen").Encode()
	if err != nil {
		t.Fatal(err)
	}
	change := func(key string, value any) string {
		var fields map[string]any
		if err := json.Unmarshal(good, &fields); err != nil {
			t.Fatal(err)
		}
		fields[key] = value
		data, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for name, c := range map[string]struct {
		data string
		want error
	}{
		"good":             {string(good), nil},
		"a field more":     {change("shards", map[string]int{"loaded": 4096}), nil},
		"no JSON":          {"hello", ErrReport},
		"empty":            {"", ErrReport},
		"no version":       {change("v", 0), ErrReport},
		"version 2":        {change("v", 2), ErrReportVersion},
		"version 2, other": {`{"v":2,"station":5}`, ErrReportVersion},
		"no station":       {change("station", ""), ErrReport},
		"bad station":      {change("station", "Xi Zhi Men\x1b[2J"), ErrReport},
		"escape":           {change("release", "\x1b[2Jsecret"), ErrReport},
		"not ASCII":        {change("mode", "执行"), ErrReport},
		"long text":        {change("switch", strings.Repeat("a", maxReportText+1)), ErrReport},
		"too long":         {change("more", strings.Repeat("a", MaxReportSize)), ErrReport},
		"gates below 0":    {change("gates", map[string]int{"serving": -1}), ErrReport},
		"gates":            {change("gates", map[string]int{"silent": maxReportGates + 1}), ErrReport},
		"records":          {change("records", -1), ErrReport},
		"hash":             {change("position", map[string]any{"number": 4, "hash": "zz"}), ErrReport},
		"no hash":          {change("position", map[string]any{"number": 4}), ErrReport},
		"wrong type":       {change("usable", "yes"), ErrReport},
	} {
		_, err := DecodeReport([]byte(c.data))
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\x1b")) {
			t.Errorf("%s: the error repeats the document", name)
		}
	}
}

func TestHours(t *testing.T) {
	start := time.Date(2022, 5, 30, 0, 0, 0, 0, time.UTC)
	full := Hours{Station: strings.Repeat("x", 64)}
	for i := range MaxHours {
		h := Hour{Start: start.Add(time.Duration(i) * time.Hour), Answers: map[string]uint64{}, Observed: map[string]uint64{}}
		for _, r := range gateway.Reasons() {
			h.Answers[r.String()], h.Observed[r.String()] = 9_999_999_999, 9_999_999_999
		}
		full.Hours = append(full.Hours, h)
	}
	data, err := full.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeHours(data)
	if err != nil || !reflect.DeepEqual(got, &full) {
		t.Errorf("%v, or not as it was", err)
	}
	for name, change := range map[string]func(*Hours){
		"another order":  func(h *Hours) { h.Hours = []Hour{full.Hours[1], full.Hours[0]} },
		"an hour twice":  func(h *Hours) { h.Hours = []Hour{full.Hours[1], full.Hours[1]} },
		"no full hour":   func(h *Hours) { h.Hours = []Hour{{Start: start.Add(time.Minute)}} },
		"too many":       func(h *Hours) { h.Hours = append(h.Hours, Hour{Start: start.Add(MaxHours * time.Hour)}) },
		"no station":     func(h *Hours) { h.Station = "" },
		"a long reason":  func(h *Hours) { h.Hours = []Hour{{Start: start, Answers: map[string]uint64{"R000": 1}}} },
		"escaped reason": func(h *Hours) { h.Hours = []Hour{{Start: start, Observed: map[string]uint64{"R\x1b0": 1}}} },
	} {
		bad := full
		change(&bad)
		if _, err := bad.Encode(); !errors.Is(err, ErrReport) {
			t.Errorf("%s: encodes with %v", name, err)
		}
		raw, err := json.Marshal(bad)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeHours(raw); !errors.Is(err, ErrReport) {
			t.Errorf("%s: decodes with %v", name, err)
		}
	}
}

func TestReportText(t *testing.T) {
	for text, want := range map[string]string{"gateline v1": "gateline v1", "a\x1b[0m北b\n": "a[0mb", strings.Repeat("x", 200): strings.Repeat("x", maxReportText)} {
		if got := ReportText(text); got != want || !plainText(got) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// What is accepted encodes, and comes back the same.
func FuzzDecodeReport(f *testing.F) {
	for _, station := range []string{"xizhimen", "a"} {
		data, err := testReport(station).Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := DecodeReport(data)
		if err != nil {
			return
		}
		again, err := r.Encode()
		if errors.Is(err, ErrReport) && len(data) > MaxReportSize/2 {
			return // written out in full it may be longer
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeReport(again)
		if err != nil || got.Station != r.Station || got.Position.Hash != r.Position.Hash || !got.At.Equal(r.At) {
			t.Fatalf("%v: %s", err, again)
		}
	})
}
