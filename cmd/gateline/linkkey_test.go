package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gateline/internal/linkkey"
)

// A city's authority, a station let in, another shut out, and a box exchanged,
// as an operator does it with a running centre. Nothing printed or logged shows a
// secret.
func TestLinkKeysFromFirstToExchange(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "link")
	var printed strings.Builder
	call := func(args ...string) result {
		r := gateline(t, environment{}, nil, args...)
		printed.WriteString(r.out + r.err)
		return r
	}
	call("link-key", "station", dir, "xidan").want(t, 1, "", "link-key init")
	call("link-key", "init", dir).want(t, 0, filepath.Join(dir, "centre.pem"), "/etc/gateline/link.pem")
	call("link-key", "init", dir).want(t, 1, "", "is there already")
	call("link-key", "station", dir, "Xi Dan").want(t, 1, "", "a station's name is made of")
	call("link-key", "station", dir, "xidan", "dongdan").want(t, 0, "xidan  "+filepath.Join(dir, "xidan.pem")+"\ndongdan  ", "systemctl reload gateline-central")
	call("link-key", "station", dir, "xidan").want(t, 1, "", "--replace")
	call("link-key", "station", "--replace", dir, "qianmen").want(t, 1, "", "not in the list")
	call("link-key", "show", filepath.Join(dir, "xidan.pem")).want(t, 0, "xidan  U", "")
	call("link-key", "show", filepath.Join(dir, "stations")).want(t, 1, "", "open to everybody")
	secrets := readSecrets(t, dir, "xidan.pem")

	config := replaceIn(t, centralConfig(t), "boxes.listen = ", fmt.Sprintf("boxes.link_file = %q\nboxes.stations_file = %q\nboxes.listen = ", filepath.Join(dir, "centre.pem"), filepath.Join(dir, "stations")))
	centre, _ := startCentral(t, config)
	leafs := centre.until(`leafs=(\S+)`)
	box := func(name, file string) *service {
		_, terminal := newPTY(t)
		config := replaceIn(t, stationConfig(t, terminal.Name(), tokenKey(t)), `station = "xidan"`,
			fmt.Sprintf("station = %q\ncentre.link_file = %q", name, filepath.Join(dir, file)))
		return start(t, environment{}, "station", "--config", replaceIn(t, config, "127.0.0.1:1", leafs))
	}
	// A file that was copied to the wrong box.
	wrong := box("qianmen", "xidan.pem")
	if code := <-wrong.code; code != 1 || !strings.Contains(wrong.log.String(), `was made for "xidan" and this is "qianmen"`) {
		t.Errorf("exit code %d, log:\n%s", code, wrong.log.String())
	}
	wrong.code <- 1
	first := box("xidan", "xidan.pem")
	first.until("the link to the centre is up")
	// Exchanged: the box with the new file gets in, the other stays out.
	call("link-key", "station", "--replace", dir, "xidan").want(t, 0, "xidan  ", "systemctl reload")
	secrets = append(secrets, readSecrets(t, dir, "xidan.pem")...)
	hangUp(t)
	centre.until(`list of stations read again" stations=2`)
	first.until("the link to the centre is down")
	second := box("xidan", "xidan.pem")
	second.until("the link to the centre is up")
	// A list that cannot be read changes nothing.
	broken := filepath.Join(dir, "stations")
	whole, err := os.ReadFile(broken)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(broken, []byte("xidan\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	hangUp(t)
	centre.until("reload failed.*line 1")
	if err := os.WriteFile(broken, whole, 0o644); err != nil {
		t.Fatal(err)
	}
	call("link-key", "remove", dir, "xidan").want(t, 0, "xidan  taken out", "systemctl reload")
	call("link-key", "remove", dir, "xidan").want(t, 1, "", "not in the list")
	hangUp(t)
	second.until("the link to the centre is down")
	for _, s := range []*service{first, second, centre} {
		s.stop()
		printed.WriteString(s.log.String())
	}
	for _, secret := range secrets {
		if strings.Contains(printed.String(), secret) {
			t.Error("a secret is printed or logged")
		}
	}
}

// readSecrets returns what of a station's link file nobody may see.
func readSecrets(t *testing.T, dir, name string) []string {
	t.Helper()
	path := filepath.Join(dir, name)
	l, err := linkkey.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, key, _ := strings.Cut(string(text), "-----BEGIN PRIVATE KEY-----\n")
	key, _, _ = strings.Cut(key, "\n")
	return []string{l.Seed(), key}
}

func hangUp(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}
