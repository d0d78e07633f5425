package linkkey

import (
	"bytes"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func newFiles(t *testing.T) (a *Authority, centre, station []byte, public string) {
	t.Helper()
	a, err := NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	if centre, err = a.Centre(); err != nil {
		t.Fatal(err)
	}
	if station, public, err = a.Station("xidan"); err != nil {
		t.Fatal(err)
	}
	return a, centre, station, public
}

func TestLinkFiles(t *testing.T) {
	a, centre, station, public := newFiles(t)
	c, err := Parse(centre)
	if err != nil || c.Name != CentreName || c.Seed() != "" || c.Public() != "" {
		t.Errorf("the centre's file: %q %v", c.Name, err)
	}
	s, err := Parse(station)
	if err != nil || s.Name != "xidan" || s.Public() != public || !strings.HasPrefix(s.Seed(), "SU") {
		t.Errorf("a station's file: %q %v", s.Name, err)
	}
	if _, _, err := a.Station("Xi Dan"); err == nil {
		t.Error("a station of no name has a file")
	}
	// An authority read from its file signs for the same city.
	path := filepath.Join(t.TempDir(), "authority.pem")
	text, err := a.PEM()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := ReadAuthority(path)
	if err != nil || !again.certificate.Equal(a.certificate) {
		t.Errorf("read again: %v", err)
	}
	for _, bad := range [][]byte{nil, centre, text[:len(text)/2], []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadAuthority(path); err == nil || !strings.Contains(err.Error(), "backup") {
			t.Errorf("an authority of %d bytes: %v", len(bad), err)
		}
	}
}

// without returns a link file less its nth block of a type.
func without(file []byte, kind string, n int) []byte {
	var out bytes.Buffer
	for block, rest := pem.Decode(file); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == kind {
			if n--; n < 0 {
				n = 99
				continue
			}
		}
		_ = pem.Encode(&out, block)
	}
	return out.Bytes()
}

func TestBadLinkFiles(t *testing.T) {
	_, _, station, _ := newFiles(t)
	_, _, other, _ := newFiles(t)
	otherKey := other[bytes.Index(other, []byte("-----BEGIN PRIVATE")):bytes.Index(other, []byte("-----END PRIVATE"))]
	ownKey := station[bytes.Index(station, []byte("-----BEGIN PRIVATE")):bytes.Index(station, []byte("-----END PRIVATE"))]
	seed := pem.EncodeToMemory(&pem.Block{Type: blockSeed, Bytes: []byte("SUAAAA")})
	for name, file := range map[string][]byte{
		"empty": nil, "text": []byte("hello"),
		"no certificate": without(station, blockCertificate, 0), "no authority": without(station, blockCertificate, 1), "no key": without(station, blockKey, 0),
		"another's key": bytes.Replace(station, ownKey, otherKey, 1),
		"bad seed":      append(without(station, blockSeed, 0), seed...),
		"certificate":   []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
	} {
		_, err := Parse(file)
		if !errors.Is(err, ErrLink) || strings.Contains(err.Error(), "SUAAAA") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadLinkFile(t *testing.T) {
	_, _, station, _ := newFiles(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "link.pem")
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "gateline link-key") {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, station, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(path, 0o604); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "chmod 0600") {
		t.Errorf("open to everybody: %v", err)
	}
	if _, err := Read(dir); err == nil {
		t.Error("a folder is read")
	}
}

func TestStations(t *testing.T) {
	a, _, _, one := newFiles(t)
	_, two, err := a.Station("b")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "stations")
	list := func(want ...Station) {
		t.Helper()
		got, err := ReadStations(path)
		if err != nil || len(got) != len(want) {
			t.Fatalf("%v, %v", got, err)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("line %d: %v, not %v", i, got[i], want[i])
			}
		}
	}
	if _, err := ReadStations(path); err == nil {
		t.Error("no list is read")
	}
	if err := AddStation(path, Station{"xidan", one}, false); err != nil {
		t.Fatal(err)
	}
	list(Station{"xidan", one})
	if err := AddStation(path, Station{"xidan", two}, false); !errors.Is(err, ErrListed) {
		t.Errorf("twice: %v", err)
	}
	if err := AddStation(path, Station{"b", two}, true); !errors.Is(err, ErrNotListed) {
		t.Errorf("replaced and not there: %v", err)
	}
	// A remark of the operator's, and a last line without its end, stay.
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, "\n# line 2\n  # end"...), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := AddStation(path, Station{"b", two}, false); err != nil {
		t.Fatal(err)
	}
	list(Station{"xidan", one}, Station{"b", two})
	_, three, err := a.Station("c")
	if err != nil {
		t.Fatal(err)
	}
	if err := AddStation(path, Station{"xidan", three}, true); err != nil {
		t.Fatal(err)
	}
	list(Station{"xidan", three}, Station{"b", two})
	if err := RemoveStation(path, "xidan"); err != nil {
		t.Fatal(err)
	}
	list(Station{"b", two})
	if err := RemoveStation(path, "xidan"); !errors.Is(err, ErrNotListed) {
		t.Errorf("removed twice: %v", err)
	}
	if text, err = os.ReadFile(path); err != nil || !strings.HasPrefix(string(text), StationsHead) || !strings.Contains(string(text), "# line 2\n  # end\n") {
		t.Errorf("what stood beside is gone: %q", text)
	}
	if err := RemoveStation(path, "b"); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadStations(path); got == nil || len(got) != 0 || err != nil {
		t.Errorf("empty: %v %v", got, err)
	}
}

func TestBadStations(t *testing.T) {
	_, _, _, key := newFiles(t)
	_, err := parseStations("xidan " + key + "\nXi " + key + "\nb\nc SUAAAA\nxidan UAAA # twice\nd " + key + "\n")
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"line 2: ", "line 3: not a station and its key", "line 4: what stands after c", "line 5: what", "line 6: station d has the key of another"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing %q in %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "SUAAAA") {
		t.Error("a secret that was put there by mistake is shown")
	}
}
