package setup

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"gateline/drivers/osdp"
)

func scanOf(t *testing.T, w *wire, change func(*ScanConfig)) []Found {
	t.Helper()
	c := ScanConfig{To: osdp.MaxAddress, Bauds: []int{115200}, Wait: DefaultScanWait, Key: func(byte) *osdp.Key { return nil }}
	if change != nil {
		change(&c)
	}
	found, err := Scan(t.Context(), w.bus(), c)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestScan(t *testing.T) {
	known, foreign := testKey(1), testKey(2)
	plain := &reader{turn: time.Millisecond, PD: osdp.NewPD(osdp.PDConfig{Address: 90, Baud: 115200, ID: testID, Capabilities: osdp.Capabilities{Outputs: 2}})}
	w := newWire(t,
		newReader(0, 115200, nil, osdp.Quirks{}),
		newReader(1, 115200, known, osdp.Quirks{}),
		newReader(2, 115200, foreign, osdp.LibOSDP()),
		newReader(3, 115200, foreign, osdp.Quirks{}),
		deaf(plain, osdp.ReplyCCRYPT),
		newReader(126, 9600, nil, osdp.Quirks{}),
	)
	w.echo = true
	steps := 0
	found := scanOf(t, w, func(c *ScanConfig) {
		c.Bauds = []int{115200, 9600}
		c.Key = func(address byte) *osdp.Key {
			if address == 3 {
				return nil
			}
			return known
		}
		c.Progress = func(_, done, total int) {
			if steps++; total != 127 || done < 1 || done > total {
				t.Errorf("%d of %d", done, total)
			}
		}
	})
	want := []struct {
		address  byte
		baud     int
		security Security
	}{
		{0, 115200, SecurityDefaultKey}, {1, 115200, SecurityOwnKey}, {2, 115200, SecurityOtherKey},
		{3, 115200, SecurityOtherKey}, {90, 115200, SecurityNone}, {126, 9600, SecurityDefaultKey},
	}
	if len(found) != len(want) || steps != 2*127 {
		t.Fatalf("%d steps, %+v", steps, found)
	}
	for i, f := range found {
		if f.Address != want[i].address || f.Baud != want[i].baud || f.Security != want[i].security || f.Damaged || !f.Identified || !f.Described {
			t.Errorf("%+v, want %+v", f, want[i])
		}
		if has := HasText(&f.Capabilities); f.Address == 90 && has != "2 outputs" || f.Address != 90 && has != "1 output (timed), 1 LED (timed), buzzer, text" {
			t.Error(has)
		}
	}
	if found[0].ID != testID {
		t.Error(IDText(found[0].ID))
	}
	if slices.Contains(w.commands(), osdp.CmdKEYSET) || slices.Contains(w.commands(), osdp.CmdCOMSET) {
		t.Error("the scan has changed a reader")
	}
	// An empty line at the default wait takes some seconds, not minutes.
	if took := w.now.Sub(start); took > 30*time.Second || took < 10*time.Second {
		t.Error(took)
	}
}

func TestScanSeesDamage(t *testing.T) {
	key := testKey(1)
	for name, c := range map[string]struct {
		readers []*reader
		damaged bool
		silent  bool
	}{
		"two at once":      {[]*reader{newReader(7, 115200, key, osdp.Quirks{}), newReader(7, 115200, nil, osdp.Quirks{})}, true, false},
		"two in a row":     {[]*reader{newReader(7, 115200, key, osdp.Quirks{}), twin(newReader(7, 115200, key, osdp.Quirks{}), 10*time.Millisecond)}, true, false},
		"noise":            {[]*reader{mangled(7, func([]byte) []byte { return []byte("\x00\x53\x12\x99\x00") })}, true, false},
		"line turns round": {[]*reader{mangled(7, func([]byte) []byte { return []byte{0xff, 0x00} })}, false, true},
		"a stray byte before": {[]*reader{mangled(7, func(b []byte) []byte {
			return append([]byte{0x00, 0xff}, b...)
		})}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			found := scanOf(t, newWire(t, c.readers...), nil)
			if c.silent {
				if len(found) != 0 {
					t.Errorf("%+v", found)
				}
				return
			}
			if len(found) != 1 || found[0].Address != 7 || found[0].Damaged != c.damaged || found[0].Identified == c.damaged {
				t.Errorf("%+v", found)
			}
		})
	}
}

func mangled(address byte, f func([]byte) []byte) *reader {
	r := newReader(address, 115200, nil, osdp.Quirks{})
	r.mangle = f
	return r
}

// A reader that takes longer than the scan waits is found all the same, by the
// answer that comes while the next address is asked.
func TestScanFindsASlowReader(t *testing.T) {
	slow := newReader(20, 115200, nil, osdp.Quirks{})
	slow.turn = 150 * time.Millisecond
	found := scanOf(t, newWire(t, slow, newReader(21, 115200, nil, osdp.Quirks{})), nil)
	if len(found) != 2 || found[0].Address != 20 || !found[0].Identified || found[0].Security != SecurityDefaultKey || found[1].Address != 21 {
		t.Errorf("%+v", found)
	}
}

// Some readers answer with a checksum, whatever the question has.
func TestScanTakesChecksums(t *testing.T) {
	r := mangled(3, func(b []byte) []byte {
		f, err := osdp.ParseFrame(bytes.TrimLeft(b, "\xff"))
		if err != nil {
			t.Fatal(err)
		}
		f.CRC = false
		return osdp.AppendFrame(nil, &f)
	})
	if found := scanOf(t, newWire(t, r), nil); len(found) != 1 || !found[0].Identified || found[0].Security != SecurityDefaultKey {
		t.Errorf("%+v", found)
	}
}

func TestScanOfAnEmptyPart(t *testing.T) {
	w := newWire(t, newReader(3, 115200, nil, osdp.Quirks{}))
	if found := scanOf(t, w, func(c *ScanConfig) { c.From = 4; c.To = 9 }); len(found) != 0 || len(w.sent) != 2*6 {
		t.Errorf("%d commands, %+v", len(w.sent), found)
	}
}

func TestScanRefuses(t *testing.T) {
	for want, change := range map[string]func(*ScanConfig){
		"rising order": func(c *ScanConfig) { c.From, c.To = 9, 3 },
		"0 to 126":     func(c *ScanConfig) { c.To = 127 },
		"5ms to 200ms": func(c *ScanConfig) { c.Wait = time.Second },
	} {
		c := ScanConfig{To: 5, Wait: DefaultScanWait}
		change(&c)
		if _, err := Scan(t.Context(), newWire(t).bus(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Error(err)
		}
	}
}

func TestScanEndsWithThePort(t *testing.T) {
	w := newWire(t, newReader(3, 115200, nil, osdp.Quirks{}))
	w.on = func(_ moment, f osdp.Frame) bool { w.open.cut = f.Address == 9; return false }
	found, err := Scan(t.Context(), w.bus(), ScanConfig{To: 126, Bauds: []int{115200}, Wait: DefaultScanWait, Key: func(byte) *osdp.Key { return nil }})
	if err == nil || !strings.Contains(err.Error(), "hear the line: cut") || len(found) != 1 {
		t.Error(err, found)
	}
}
