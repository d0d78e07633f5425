package setup

import (
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"gateline/drivers/osdp"
)

// cutter cuts the box's power at one of the events of a run: each command and
// each reply on the line, each change on the disk, before and after it.
type cutter struct {
	at, seen int
	Keys
	wire *wire
}

func (c *cutter) cut() bool {
	c.seen++
	return c.seen > c.at && c.at >= 0 // from then on nothing works
}

func (c *cutter) on(moment, osdp.Frame) bool {
	if c.cut() {
		c.wire.open.cut = true
		return true
	}
	return false
}

func (c *cutter) disk(change func() error) error {
	if c.cut() {
		return errCut
	}
	if err := change(); err != nil {
		return err
	}
	if c.cut() {
		return errCut
	}
	return nil
}

func (c *cutter) Stage(key osdp.Key) error {
	return c.disk(func() error { return c.Keys.Stage(key) })
}
func (c *cutter) Adopt() error { return c.disk(c.Keys.Adopt) }

// A box that is cut off anywhere finishes with the same command again.
func TestCommissionResumesAfterTheBoxIsCut(t *testing.T) {
	for name, c := range resumable() {
		t.Run(name, func(t *testing.T) {
			for at := 0; ; at++ {
				r := newReader(c.at.Address, uint32(c.at.Baud), nil, c.quirks)
				y := newTry(t, r)
				y.c.From = c.from
				cut := &cutter{at: at, Keys: y.c.Keys, wire: y.wire}
				y.c.Keys, y.wire.on = cut, cut.on
				_, err := y.run()
				if cut.seen <= at {
					if at < 15 || err != nil {
						t.Fatalf("only %d events, %v", at, err)
					}
					return
				}
				if !errors.Is(err, errCut) {
					t.Fatalf("cut at event %d, and the run says %v", at, err)
				}
				wantNoKeyLost(t, cut.Name(), r)
				y.c.Keys, y.wire.on = cut.Keys, nil
				if _, err := y.run(); err != nil {
					t.Fatalf("cut at event %d: %v\n%s", at, err, strings.Join(y.steps, "\n"))
				}
				y.wantDone(r)
			}
		})
	}
}

func resumable() map[string]struct {
	at     Place
	from   *Place
	quirks osdp.Quirks
} {
	type run = struct {
		at     Place
		from   *Place
		quirks osdp.Quirks
	}
	return map[string]run{
		"from the factory":  {at: Place{0, 9600}},
		"told where":        {at: Place{9, 38400}, from: &Place{9, 38400}},
		"at the target":     {at: target},
		"libosdp":           {at: Place{0, 9600}, quirks: osdp.LibOSDP()},
		"keeps its session": {at: Place{0, 9600}, quirks: osdp.Quirks{KeepOnKeySet: true, KeySetClearACK: true}},
	}
}

// wantNoKeyLost checks that a reader's key is on the disk.
func wantNoKeyLost(t *testing.T, path string, r *reader) {
	t.Helper()
	key, own := r.Installed()
	if !own {
		return
	}
	for _, name := range []string{path, path + ".new"} {
		if text, err := os.ReadFile(name); err == nil && strings.TrimSpace(string(text)) == hex.EncodeToString(key[:]) {
			return
		}
	}
	t.Fatal("the reader's key is nowhere")
}

// The same for a reader whose power goes, and comes back after two seconds, at
// any command or reply.
func TestCommissionResumesAfterTheReaderIsCut(t *testing.T) {
	for name, c := range resumable() {
		t.Run(name, func(t *testing.T) {
			for at := 0; ; at++ {
				r := newReader(c.at.Address, uint32(c.at.Baud), nil, c.quirks)
				y := newTry(t, r)
				y.c.From = c.from
				seen := 0
				y.wire.on = func(moment, osdp.Frame) bool {
					if seen++; seen == at+1 {
						r.PowerCycle(y.wire.now)
						r.after = y.wire.now.Add(2 * time.Second)
						return true
					}
					return false
				}
				_, err := y.run()
				if seen <= at {
					if at < 15 || err != nil {
						t.Fatalf("only %d events, %v", at, err)
					}
					return
				}
				wantNoKeyLost(t, y.c.Keys.Name(), r)
				if _, again := y.run(); again != nil {
					t.Fatalf("cut at event %d (%v): %v\n%s", at, err, again, strings.Join(y.steps, "\n"))
				}
				y.wantDone(r)
			}
		})
	}
}

// Each command and each reply may be lost or damaged once; one run is enough.
func TestCommissionOnABadLine(t *testing.T) {
	for name, damage := range map[string]func(*reader, []byte) []byte{
		"lost":    func(*reader, []byte) []byte { return nil },
		"damaged": func(_ *reader, b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"cut off": func(_ *reader, b []byte) []byte { return b[:len(b)/2] },
	} {
		t.Run(name, func(t *testing.T) {
			for at := 0; ; at++ {
				r := newReader(0, 9600, nil, osdp.Quirks{})
				seen := 0
				r.mangle = func(b []byte) []byte {
					if seen++; seen == at+1 {
						return damage(r, b)
					}
					return b
				}
				y := newTry(t, r)
				_, err := y.run()
				if err != nil {
					t.Fatalf("reply %d: %v\n%s", at, err, strings.Join(y.steps, "\n"))
				}
				y.wantDone(r)
				if seen <= at {
					if at < 12 {
						t.Fatalf("only %d replies", at)
					}
					return
				}
			}
		})
	}
}
