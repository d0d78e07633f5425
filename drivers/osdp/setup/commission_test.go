package setup

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gateline/drivers/osdp"
)

// try is one Commission of a test.
type try struct {
	t     *testing.T
	wire  *wire
	c     CommissionConfig
	steps []string
	runs  uint64
}

var target = Place{Address: 5, Baud: 115200}

func newTry(t *testing.T, readers ...*reader) *try {
	t.Helper()
	y := &try{t: t, wire: newWire(t, readers...)}
	y.c = CommissionConfig{
		Target: target, Keys: KeyFile{filepath.Join(t.TempDir(), "N1.key")}, Within: 2 * time.Minute,
		Say: func(step string) { y.steps = append(y.steps, step) },
	}
	return y
}

// run is what the command does when it is called, each time in a new process.
func (y *try) run() (Commissioned, error) {
	y.t.Helper()
	y.runs++
	bus := y.wire.busOf(newSeeded(y.runs))
	done, err := Commission(y.t.Context(), bus, y.c)
	return done, errors.Join(err, bus.Close())
}

// wantDone checks that reader, files and steps are as they must be at the end.
func (y *try) wantDone(r *reader) {
	y.t.Helper()
	wantKept(y.t, y.c.Keys.Name(), r)
	if r.Address() != y.c.Target.Address || int(r.Baud()) != y.c.Target.Baud {
		y.t.Errorf("the reader is at address %d, %d baud", r.Address(), r.Baud())
	}
}

// wantKept checks that the file holds the reader's key, readable by its owner
// only, and that nothing else lies about.
func wantKept(t *testing.T, path string, r *reader) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	key, own := r.Installed()
	if want := hex.EncodeToString(key[:]) + "\n"; !own || string(text) != want {
		t.Error("the file does not hold the reader's key")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestCommission(t *testing.T) {
	for name, quirks := range allQuirks() {
		t.Run(name, func(t *testing.T) {
			r := newReader(0, 9600, nil, quirks)
			y := newTry(t, r)
			done, err := y.run()
			if err != nil {
				t.Fatal(err, y.steps)
			}
			y.wantDone(r)
			if done.From != (Place{0, 9600}) || done.To != target || done.ID.Serial != testID.Serial {
				t.Errorf("%+v", done)
			}
			steps := strings.Join(y.steps, "\n")
			for _, want := range []string{"serial 4711", "address 0 at 9600 baud", "in install mode", "N1.key.new", "has proved it",
				"address 0 at 9600 baud → address 5 at 115200 baud, proved there", "no longer opens it: verified"} {
				if !strings.Contains(steps, want) {
					t.Errorf("no %q in\n%s", want, steps)
				}
			}
			// Once more is harmless, and does not touch the key.
			before, _ := r.Installed()
			if _, err := y.run(); err != nil {
				t.Error(err)
			}
			if after, _ := r.Installed(); after != before {
				t.Error("the second run has given another key")
			}
			y.wantDone(r)
		})
	}
}

func TestCommissionMeetsBusyAndEcho(t *testing.T) {
	for _, own := range []bool{false, true} {
		r := newReader(0, 9600, nil, osdp.Quirks{BusyOwnSQN: own})
		y := newTry(t, r)
		y.wire.echo = true
		busy := 0
		y.wire.on = func(m moment, f osdp.Frame) bool {
			if m == beforeReader && busy < 40 && len(y.wire.sent)%2 == 0 {
				busy++
				r.Busy(1)
			}
			return false
		}
		if _, err := y.run(); err != nil {
			t.Fatal(err)
		}
		y.wantDone(r)
		if busy < 5 {
			t.Errorf("it was busy %d times", busy)
		}
	}
}

func TestReaderIsBusyForEver(t *testing.T) {
	r := newReader(0, 9600, nil, osdp.Quirks{})
	y := newTry(t, r)
	y.wire.on = func(moment, osdp.Frame) bool { r.Busy(1); return false }
	if _, err := y.run(); err == nil || !strings.Contains(err.Error(), "busy") {
		t.Fatal(err)
	}
}

func TestCommissionFindsTheReader(t *testing.T) {
	other := testKey(50)
	for name, c := range map[string]struct {
		readers []*reader
		change  func(*CommissionConfig)
	}{
		"at the target":            {[]*reader{newReader(5, 115200, nil, osdp.Quirks{})}, nil},
		"address by switches":      {[]*reader{newReader(5, 9600, nil, osdp.Quirks{})}, nil},
		"where told":               {[]*reader{newReader(9, 38400, nil, osdp.Quirks{})}, func(c *CommissionConfig) { c.From = &Place{9, 38400} }},
		"by the only reader's way": {[]*reader{newReader(77, 57600, nil, osdp.Quirks{})}, func(c *CommissionConfig) { c.OnlyReader = true }},
		"beside others": {[]*reader{newReader(0, 9600, nil, osdp.Quirks{}), newReader(4, 115200, other, osdp.Quirks{}), newReader(0, 115200, other, osdp.Quirks{})},
			func(c *CommissionConfig) { c.Taken = []Place{{4, 115200}, {0, 115200}} }},
		"told a place that is taken": {[]*reader{newReader(4, 115200, nil, osdp.Quirks{})},
			func(c *CommissionConfig) { c.From, c.Taken = &Place{4, 115200}, []Place{{4, 115200}} }},
		"on a line of one speed":                          {[]*reader{newReader(9, 115200, nil, osdp.Quirks{})}, func(c *CommissionConfig) { c.OnlyBaud, c.From = 115200, &Place{9, 115200} }},
		"a reader at the target's address, another speed": {[]*reader{newReader(0, 9600, nil, osdp.Quirks{}), newReader(5, 38400, other, osdp.Quirks{})}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			y := newTry(t, c.readers...)
			if c.change != nil {
				c.change(&y.c)
			}
			if _, err := y.run(); err != nil {
				t.Fatal(err)
			}
			y.wantDone(c.readers[0])
			for _, r := range c.readers[1:] {
				if key, _ := r.Installed(); key != *other || r.Address() == 5 && r.Baud() == 115200 {
					t.Error("another reader was touched")
				}
			}
		})
	}
}

// The reader may be plugged in while the command waits.
func TestCommissionWaits(t *testing.T) {
	r := newReader(0, 9600, nil, osdp.Quirks{})
	r.after = start.Add(70 * time.Second)
	y := newTry(t, r)
	if _, err := y.run(); err != nil {
		t.Fatal(err)
	}
	y.wantDone(r)
	if !strings.Contains(y.steps[0], "waiting up to 2m0s for a reader at address 5 at 115200 baud, ") {
		t.Error(y.steps)
	}
}

func TestCommissionRefuses(t *testing.T) {
	foreign := testKey(60)
	for name, c := range map[string]struct {
		readers []*reader
		change  func(*try)
		want    string
	}{
		"nobody":                  {nil, nil, "no reader answered within 2m0s at address 5 at 115200 baud, address 5 at 9600 baud, address 0 at 9600 baud; connect"},
		"only after the time":     {[]*reader{late(newReader(0, 9600, nil, osdp.Quirks{}), 3*time.Minute)}, nil, "no reader answered"},
		"two at once":             {[]*reader{newReader(0, 9600, nil, osdp.Quirks{}), twin(newReader(0, 9600, nil, osdp.Quirks{}), 0)}, nil, "two readers with this address"},
		"two one after the other": {[]*reader{newReader(0, 9600, nil, osdp.Quirks{}), twin(newReader(0, 9600, nil, osdp.Quirks{}), 30*time.Millisecond)}, nil, "two readers with this address"},
		"the target is taken":     {[]*reader{newReader(0, 9600, nil, osdp.Quirks{}), newReader(5, 115200, foreign, osdp.Quirks{})}, nil, "has a key of its own"},
		"told, the target is taken": {[]*reader{newReader(0, 9600, nil, osdp.Quirks{}), newReader(5, 115200, foreign, osdp.Quirks{})},
			func(y *try) { y.c.From = &Place{0, 9600} }, "already answered by another reader"},
		"told, somebody else is at the target": {[]*reader{newReader(5, 115200, nil, osdp.Quirks{})},
			func(y *try) { y.c.From = &Place{0, 9600} }, "already answered by another reader"},
		"a key of its own":              {[]*reader{newReader(0, 9600, foreign, osdp.Quirks{})}, nil, "reset it to install mode"},
		"another reader's":              {[]*reader{newReader(0, 9600, nil, osdp.Quirks{})}, func(y *try) { y.keep(y.c.Keys.Name(), testKey(61)) }, "say --force"},
		"key is no key":                 {[]*reader{newReader(0, 9600, nil, osdp.Quirks{})}, func(y *try) { y.write(y.c.Keys.Name(), "hello") }, "bad reader key"},
		"weak key":                      {[]*reader{newReader(0, 9600, nil, osdp.Quirks{})}, func(y *try) { y.write(y.c.Keys.Name(), strings.Repeat("11", 16)) }, "everybody tries"},
		"weak staged key":               {[]*reader{newReader(0, 9600, nil, osdp.Quirks{})}, func(y *try) { y.write(y.c.Keys.StagedName(), "303132333435363738393a3b3c3d3e3f") }, "everybody tries"},
		"no folder":                     {[]*reader{newReader(0, 9600, nil, osdp.Quirks{})}, func(y *try) { y.c.Keys = KeyFile{"/nonexistent/N1.key"} }, "make that folder"},
		"time out of bounds":            {nil, func(y *try) { y.c.Within = MaxWithin + 1 }, "give up to 10m0s"},
		"no time":                       {nil, func(y *try) { y.c.Within = 0 }, "give up to 10m0s"},
		"address 127":                   {nil, func(y *try) { y.c.Target.Address = 127 }, "give 0 to 126"},
		"speed":                         {nil, func(y *try) { y.c.Target.Baud = 1200 }, "give one of"},
		"told address 127":              {nil, func(y *try) { y.c.From = &Place{127, 9600} }, "give 0 to 126"},
		"a line of one speed":           {nil, func(y *try) { y.c.OnlyBaud = 9600 }, "this line has 9600 baud and no other speed"},
		"nobody on a line of one speed": {nil, func(y *try) { y.c.OnlyBaud = 115200 }, "no reader answered within 2m0s at address 5 at 115200 baud; connect"},
		"told another speed":            {nil, func(y *try) { y.c.From = &Place{1, 1} }, "give one of"},
		"no Secure Channel":             {[]*reader{deaf(newReader(0, 9600, nil, osdp.Quirks{}), osdp.ReplyCCRYPT)}, nil, "knows no Secure Channel"},
		"does not say who":              {[]*reader{deaf(newReader(0, 9600, nil, osdp.Quirks{}), osdp.ReplyPDID)}, nil, "refuses ID"},
	} {
		t.Run(name, func(t *testing.T) {
			y := newTry(t, c.readers...)
			if c.change != nil {
				c.change(y)
			}
			_, err := y.run()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v\n%v", err, y.steps)
			}
			if _, set := y.wire.underDefault(); set {
				t.Error("a reader was given a key")
			}
		})
	}
}

func (y *try) write(path, text string) {
	y.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		y.t.Fatal(err)
	}
}

func (y *try) keep(path string, key *osdp.Key) { y.write(path, hex.EncodeToString(key[:])+"\n") }

// A reader that says it moves and does not keeps its key, and the run fails.
func TestReaderWillNotBeMoved(t *testing.T) {
	r := newReader(0, 9600, nil, osdp.Quirks{})
	y := newTry(t, r)
	y.wire.on = func(m moment, f osdp.Frame) bool { return m == beforeReader && f.Code == osdp.CmdCOMSET }
	if _, err := y.run(); err == nil || !strings.Contains(err.Error(), "stays at address 0 at 9600 baud") {
		t.Fatal(err)
	}
	wantKept(t, y.c.Keys.Name(), r)
	y.wire.on = nil
	if _, err := y.run(); err != nil {
		t.Fatal(err)
	}
	y.wantDone(r)
}

// Ctrl-C is one more way to be cut off.
func TestCommissionInterrupted(t *testing.T) {
	y := newTry(t)
	ctx, cancel := context.WithCancel(t.Context())
	y.wire.on = func(moment, osdp.Frame) bool {
		if len(y.wire.sent) == 40 {
			cancel()
		}
		return false
	}
	if _, err := Commission(ctx, y.wire.bus(), y.c); !errors.Is(err, context.Canceled) || len(y.wire.sent) != 40 {
		t.Fatalf("%v after %d commands", err, len(y.wire.sent))
	}
}

func late(r *reader, by time.Duration) *reader { r.after = start.Add(by); return r }

func twin(r *reader, by time.Duration) *reader { r.turn += by; return r }

// deaf answers NAK 03 in place of one reply.
func deaf(r *reader, code byte) *reader {
	r.mangle = func(b []byte) []byte {
		f, err := osdp.ParseFrame(bytes.TrimLeft(b, "\xff"))
		if err != nil || f.Code != code {
			return b
		}
		return osdp.AppendFrame(nil, &osdp.Frame{Address: f.Address, Reply: true, SQN: f.SQN, CRC: true, Code: osdp.ReplyNAK, Data: []byte{byte(osdp.NAKUnknown)}})
	}
	return r
}

// With --force a replaced reader takes the place of the one before.
func TestCommissionReplaces(t *testing.T) {
	r := newReader(5, 115200, nil, osdp.Quirks{})
	y := newTry(t, r)
	y.keep(y.c.Keys.Name(), testKey(61))
	y.c.Force = true
	if _, err := y.run(); err != nil {
		t.Fatal(err)
	}
	y.wantDone(r)
}

// The file keeps the mode by which the box's group can read it.
func TestReplacedKeyKeepsItsMode(t *testing.T) {
	r := newReader(5, 115200, testKey(61), osdp.Quirks{})
	y := newTry(t, r)
	y.keep(y.c.Keys.Name(), testKey(61))
	if err := os.Chmod(y.c.Keys.Name(), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Rekey(t.Context(), y.wire.bus(), RekeyConfig{Place: target, Keys: y.c.Keys, Say: y.c.Say}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(y.c.Keys.Name()); err != nil || info.Mode().Perm() != 0o640 {
		t.Fatal(info, err)
	}
}

// A reader that opens under the default key after all is not fit for service.
func TestDefaultKeyStillOpens(t *testing.T) {
	backdoor := newReader(5, 115200, nil, osdp.Quirks{})
	r := newReader(5, 115200, nil, osdp.Quirks{})
	y := newTry(t, r)
	keyed := false
	y.wire.on = func(m moment, f osdp.Frame) bool {
		keyed = keyed || f.Code == osdp.CmdKEYSET
		if m == beforeReader && keyed && f.Code == osdp.CmdCHLNG && osdp.DefaultAsked(&f) {
			y.wire.readers[0] = backdoor
		}
		return false
	}
	if _, err := y.run(); !errors.Is(err, ErrDefaultOpens) || !strings.Contains(err.Error(), "STILL OPENS") {
		t.Fatal(err)
	}
	wantKept(t, y.c.Keys.Name(), r)
}

// The new key goes over the line only encrypted, and under the default key
// only from Commission.
func TestKeyIsNeverOnTheWire(t *testing.T) {
	r := newReader(0, 9600, nil, osdp.Quirks{})
	y := newTry(t, r)
	if _, err := y.run(); err != nil {
		t.Fatal(err)
	}
	key, _ := r.Installed()
	digits := hex.EncodeToString(key[:])
	for name, form := range map[string][]byte{"bytes": key[:], "half": key[:8], "other half": key[8:], "digits": []byte(digits)} {
		if bytes.Contains(y.wire.heard, form) {
			t.Errorf("the key went over the line: %s", name)
		}
	}
	if strings.Contains(strings.Join(y.steps, "\n"), digits[:8]) {
		t.Error("the key was printed")
	}
	if challenge, set := y.wire.underDefault(); !challenge || !set || len(y.wire.heard) < 500 {
		t.Error("the recorder has missed the commission")
	}
}

func TestComAnswers(t *testing.T) {
	j := &commission{bench: &bench{place: Place{0, 9600}}, c: &CommissionConfig{Target: target}}
	want := osdp.Com{Address: 5, Baud: 115200}
	for _, c := range []struct {
		code byte
		com  osdp.Com
		says string
	}{
		{osdp.ReplyCOM, want, ""},
		{osdp.ReplyCOM, osdp.Com{Address: 0, Baud: 9600}, "refuses another address or speed"},
		{osdp.ReplyCOM, osdp.Com{Address: 5, Baud: 38400}, "--from-address 5 --from-baud 38400"},
		{osdp.ReplyACK, want, "answers ACK"},
	} {
		err := j.judgeCom(reply{code: c.code, data: osdp.AppendCom(nil, c.com)}, want)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestFreshKeyIsNotWeak(t *testing.T) {
	weak := bytes.Repeat([]byte{7}, 16)
	good := testKey(3)
	key, err := freshKey(bytes.NewReader(append(bytes.Clone(weak), good[:]...)))
	if err != nil || key != *good {
		t.Error(err)
	}
	if _, err := freshKey(bytes.NewReader(bytes.Repeat(weak, 20))); err == nil || !strings.Contains(err.Error(), "weak") {
		t.Error(err)
	}
	if _, err := freshKey(bytes.NewReader(nil)); err == nil {
		t.Error("a key came from nothing")
	}
	if text := fmt.Sprintf("%v %+v %x", key, &key, key); strings.Contains(text, hex.EncodeToString(key[:2])) {
		t.Error("the key shows itself")
	}
}
