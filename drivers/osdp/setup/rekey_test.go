package setup

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gateline/drivers/osdp"
)

// rekeying is one Rekey of a test.
type rekeying struct {
	*try
}

func newRekeying(t *testing.T, r *reader, key *osdp.Key) rekeying {
	y := rekeying{newTry(t, r)}
	if key != nil {
		y.keep(y.c.Keys.Name(), key)
	}
	return y
}

func (y rekeying) run() error {
	y.runs++
	bus := y.wire.busOf(newSeeded(y.runs + 40))
	_, err := Rekey(y.t.Context(), bus, RekeyConfig{Place: target, Keys: y.c.Keys, Say: y.c.Say})
	return errors.Join(err, bus.Close())
}

func TestRekey(t *testing.T) {
	for name, quirks := range allQuirks() {
		t.Run(name, func(t *testing.T) {
			old := testKey(1)
			r := newReader(5, 115200, old, quirks)
			y := newRekeying(t, r, old)
			if err := y.run(); err != nil {
				t.Fatal(err)
			}
			wantKept(t, y.c.Keys.Name(), r)
			if key, _ := r.Installed(); key == *old {
				t.Error("the key is the old one")
			}
			if challenge, _ := y.wire.underDefault(); challenge {
				t.Error("the default key was used")
			}
		})
	}
}

func TestRekeyRefuses(t *testing.T) {
	old := testKey(1)
	for name, c := range map[string]struct {
		reader *reader
		key    *osdp.Key
		want   string
	}{
		"no key":        {newReader(5, 115200, old, osdp.Quirks{}), nil, "commission the reader first"},
		"another key":   {newReader(5, 115200, testKey(2), osdp.Quirks{}), old, "does not have the key in"},
		"install mode":  {newReader(5, 115200, nil, osdp.Quirks{}), old, "is to be commissioned"},
		"nobody":        {newReader(6, 115200, old, osdp.Quirks{}), old, "reader 5 does not answer; check its power"},
		"another speed": {newReader(5, 9600, old, osdp.Quirks{}), old, "gateline osdp scan"},
	} {
		t.Run(name, func(t *testing.T) {
			y := newRekeying(t, c.reader, c.key)
			if err := y.run(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatal(err)
			}
			if challenge, _ := y.wire.underDefault(); challenge {
				t.Error("the default key was used")
			}
			if c.key == nil {
				return
			}
			if _, err := os.Stat(y.c.Keys.StagedName()); err == nil {
				t.Error("a key is left behind")
			}
		})
	}
}

// Box or reader may be cut off anywhere.
func TestRekeyResumes(t *testing.T) {
	for _, readers := range []bool{false, true} {
		for at := 0; ; at++ {
			old := testKey(1)
			r := newReader(5, 115200, old, osdp.Quirks{})
			y := newRekeying(t, r, old)
			cut := &cutter{at: at, Keys: y.c.Keys, wire: y.wire}
			if readers {
				y.wire.on = func(moment, osdp.Frame) bool {
					if cut.seen++; cut.seen == at+1 {
						r.PowerCycle(y.wire.now)
						r.after = y.wire.now.Add(2 * time.Second)
						return true
					}
					return false
				}
			} else {
				y.c.Keys, y.wire.on = cut, cut.on
			}
			err := y.run()
			if cut.seen <= at {
				if at < 12 || err != nil {
					t.Fatalf("only %d events, %v", at, err)
				}
				break
			}
			wantNoKeyLost(t, cut.Name(), r)
			y.c.Keys, y.wire.on = cut.Keys, nil
			if err != nil { // else it was finished in spite of the cut
				y.wire.now = y.wire.now.Add(3 * time.Second)
				if err := y.run(); err != nil {
					t.Fatalf("cut at event %d: %v", at, err)
				}
			}
			wantKept(t, cut.Name(), r)
			if key, _ := r.Installed(); key == *old {
				t.Fatalf("cut at event %d: the key is the old one", at)
			}
			if challenge, _ := y.wire.underDefault(); challenge {
				t.Fatalf("cut at event %d: the default key was used", at)
			}
		}
	}
}

func TestKeyFile(t *testing.T) {
	k := KeyFile{filepath.Join(t.TempDir(), "k")}
	first, second := testKey(1), testKey(2)
	if err := k.Ready(); err != nil {
		t.Fatal(err)
	}
	if current, staged, err := k.Load(); current != nil || staged != nil || err != nil {
		t.Fatal("there is something in an empty folder", err)
	}
	if err := k.Stage(*first); err != nil {
		t.Fatal(err)
	}
	if err := k.Stage(*second); !errors.Is(err, os.ErrExist) {
		t.Errorf("a staged key was replaced: %v", err)
	}
	if current, staged, err := k.Load(); current != nil || staged == nil || *staged != *first || err != nil {
		t.Error("not what was staged", err)
	}
	if err := k.Adopt(); err != nil {
		t.Fatal(err)
	}
	if current, staged, err := k.Load(); current == nil || *current != *first || staged != nil || err != nil {
		t.Error("not what was adopted", err)
	}
	if err := k.Adopt(); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if entries, err := os.ReadDir(filepath.Dir(k.Path)); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

// What root keeps in a folder of the box's user, that user can read.
func TestKeyBelongsToTheFoldersOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	const boxUser = 4711
	k := KeyFile{filepath.Join(t.TempDir(), "k")}
	if err := os.Chown(filepath.Dir(k.Path), boxUser, boxUser); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(k.Ready(), k.Stage(*testKey(1)), k.Adopt()); err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(k.Path, &st); err != nil || st.Uid != boxUser || st.Gid != boxUser || st.Mode&0o777 != 0o600 {
		t.Errorf("%d:%d mode %o, %v", st.Uid, st.Gid, st.Mode, err)
	}
}
