package station

import (
	"log/slog"
	"strings"
	"testing"
	"time"
)

// watched plays looks at a line of one gate and returns the log.
type watched struct {
	watch gateWatch
	now   time.Time
	log   strings.Builder
}

// look lets seconds pass in which the gate is so, with a look each second.
func (w *watched) look(seconds int, up bool, state string, troubles ...string) {
	text := slog.NewTextHandler(&w.log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		switch a.Key {
		case slog.TimeKey, slog.MessageKey, "line", "gate":
			return slog.Attr{}
		}
		return a
	}})
	for range seconds {
		w.now = w.now.Add(watchEvery)
		lines := []LineStatus{{Name: "west", Up: up, Gates: []GateStatus{{Name: "W1", State: state, Troubles: troubles}}}}
		for _, c := range w.watch.look(w.now, lines) {
			c.tell(slog.New(text))
		}
	}
}

func TestGateWatch(t *testing.T) {
	for name, c := range map[string]struct {
		play func(*watched)
		want string
	}{
		"a start": {func(w *watched) { w.look(1, true, "silent"); w.look(2, true, "starting"); w.look(60, true, "serving") },
			"level=INFO state=serving\n"},
		"a gate that is not there": {func(w *watched) { w.look(60, true, "silent") },
			`level=WARN state=silent next="silent: see to its power, cable and address, and the speed of its line"` + "\n"},
		"not before the line has settled": {func(w *watched) { w.look(5, true, "silent") }, ""},
		"a start that does not end": {func(w *watched) { w.look(60, true, "starting") },
			`level=WARN state=starting next="starting: if it stays so, switch the reader off and on"` + "\n"},
		"a short restart": {func(w *watched) {
			w.look(60, true, "serving")
			w.look(4, true, "starting")
			w.look(60, true, "serving")
		},
			"level=INFO state=serving\n"},
		"refused": {func(w *watched) { w.look(2, true, "starting"); w.look(60, true, "refused", "key") },
			`level=WARN state=refused troubles=key next="key: bring the key of its key_file into the reader"` + "\n"},
		"troubles come and go": {func(w *watched) {
			w.look(30, true, "serving")
			w.look(30, true, "serving", "tamper", "power")
			w.look(30, true, "serving")
		}, "level=INFO state=serving\n" +
			`level=WARN state=serving troubles=tamper,power next="tamper: close the reader's case and find out who opened it; power: see to the reader's power supply"` + "\n" +
			"level=INFO state=serving\n"},
		"two readers with one address": {func(w *watched) { w.look(30, true, "serving"); w.look(30, true, "silent", "duplicate_address", "key") },
			"level=INFO state=serving\n" +
				`level=WARN state=silent was=serving troubles=duplicate_address,key next="silent: see to its power, cable and address, and the speed of its line; ` +
				`duplicate_address: give each reader an address of its own; key: bring the key of its key_file into the reader"` + "\n"},
		"the line goes down and its gates with it": {func(w *watched) {
			w.look(30, true, "serving")
			w.look(30, false, "silent")
			w.look(4, true, "silent") // until they are heard again
			w.look(30, true, "serving")
		}, "level=INFO state=serving\n"},
		"a gate that does not come back with its line": {func(w *watched) { w.look(30, true, "serving"); w.look(30, false, "silent"); w.look(30, true, "silent") },
			"level=INFO state=serving\n" +
				`level=WARN state=silent was=serving next="silent: see to its power, cable and address, and the speed of its line"` + "\n"},
		"it goes and comes again": {func(w *watched) { w.look(30, true, "serving"); w.look(30, true, "silent"); w.look(30, true, "serving") },
			"level=INFO state=serving\n" +
				`level=WARN state=silent was=serving next="silent: see to its power, cable and address, and the speed of its line"` + "\n" +
				"level=INFO state=serving was=silent\n"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &watched{now: time.Unix(1_000_000, 0)}
			c.play(w)
			if got := w.log.String(); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}

// A reader with a loose contact gets one line in tellEvery, and the last one
// says how it is at the end.
func TestGateWatchFlapping(t *testing.T) {
	w := &watched{now: time.Unix(1_000_000, 0)}
	w.look(10, true, "serving")
	const seconds = 200
	for i := range seconds {
		w.look(1, true, []string{"silent", "serving", "refused"}[i%3])
	}
	w.look(11, true, "silent")
	lines := strings.Split(strings.TrimSpace(w.log.String()), "\n")
	if most := (10+seconds+11)/int(tellEvery/time.Second) + 1; len(lines) > most || len(lines) < most/2 {
		t.Errorf("%d lines, at most %d", len(lines), most)
	}
	if last := lines[len(lines)-1]; !strings.Contains(last, "state=silent") {
		t.Errorf("the last line is %s", last)
	}
}
