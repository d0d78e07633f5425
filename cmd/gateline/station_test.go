package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// stationConfig writes the configuration of a box on a device.
func stationConfig(t *testing.T, device, more string) (path string) {
	t.Helper()
	dir := t.TempDir()
	return writeFile(t, "station.toml", fmt.Sprintf(`station = "xidan"
centre.url = "nats-leaf://127.0.0.1:1"
feed.keys = [%q]
cache.dir = %q
status.listen = "127.0.0.1:0"
control.socket = %q
clock.require_sync = false
%s
[[line]]
name = "north"
device = %q
[[line.gate]]
name = "N1"
address = 1
`, testFeedSecret.Public(), filepath.Join(dir, "cache"), filepath.Join(dir, "control.sock"), more, device))
}

func tokenKey(t *testing.T) string {
	return fmt.Sprintf("token.key_file = %q", writeFile(t, "token.key", testKey))
}

const fiveFaults = `station = "Xi Dan"
feed.keys = ["feedkey-d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"]
[centre]
url = "http://centre"
[cache]
dirr = "/var/lib/gateline"
[[line]]
name = "north"
device = "/dev/ttyUSB0"
baud = 115201
[[line.gate]]
name = "N1"
address = 1
[[line.gate]]
name = "N2"
address = 1
`

// Both commands show all five faults at once, each with line and key.
func TestConfigWithFiveFaults(t *testing.T) {
	config := writeFile(t, "station.toml", fiveFaults)
	faults := []string{
		"station.toml:1: station: ", "station.toml:4: centre.url: ", "station.toml:6: cache.dirr: unknown key",
		"station.toml:10: line[1].baud: ", "station.toml:16: line[1].gate[2].address: ",
	}
	run := gateline(t, environment{}, nil, "station", "--config", config)
	check := gateline(t, environment{}, nil, "check", "--config", config)
	for _, want := range faults {
		run.want(t, 1, "", want)
		check.want(t, 1, "fault  configuration  "+want, "")
	}
	if !strings.HasSuffix(check.out, "\n5 faults, 0 notes\n") {
		t.Errorf("got\n%s", check.out)
	}
}

func TestStationWithBadParts(t *testing.T) {
	_, terminal := newPTY(t)
	foreign := filepath.Dir(writeFile(t, "photo.jpg", ""))
	for name, c := range map[string]struct{ config, want string }{
		"missing device": {stationConfig(t, "/dev/gate-none", tokenKey(t)), "open serial port /dev/gate-none: no such serial port"},
		"not serial":     {stationConfig(t, "/dev/null", tokenKey(t)), "not a serial port"},
		"missing key":    {stationConfig(t, terminal.Name(), `token.key_file = "/nonexistent/key"`), "put the key there"},
		"foreign cache":  {replaceIn(t, stationConfig(t, terminal.Name(), tokenKey(t)), "cache.dir = ", fmt.Sprintf("cache.dir = %q #", foreign)), "not a gateline cache"},
	} {
		if r := gateline(t, environment{}, nil, "station", "--config", c.config); r.code != 1 || !strings.Contains(r.err, c.want) {
			t.Errorf("%s: station: exit code %d\n%s", name, r.code, r.err)
		}
		r := gateline(t, environment{}, nil, "check", "--config", c.config)
		if r.code != 1 || !strings.Contains(r.out, c.want) || !strings.Contains(r.out, "\n1 fault, ") {
			t.Errorf("%s: check: exit code %d\n%s%s", name, r.code, r.out, r.err)
		}
	}
	if entries, err := os.ReadDir(foreign); err != nil || len(entries) != 1 {
		t.Errorf("the foreign directory was changed: %v, %v", entries, err)
	}
	gateline(t, environment{}, nil, "check", "--config", "/nonexistent.toml").want(t, 1, "give its path with --config", "")
}

func replaceIn(t *testing.T, path, old, new string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, filepath.Base(path), strings.Replace(string(text), old, new, 1))
}

// A box starts without a centre, is checked beside, and stops when told.
func TestStationRunsAndIsChecked(t *testing.T) {
	_, terminal := newPTY(t)
	config := stationConfig(t, terminal.Name(), tokenKey(t))
	before := gateline(t, environment{}, nil, "check", "--config", config)
	before.want(t, 0, "ok     configuration   "+config+"\n", "")
	before.want(t, 0, "\n0 faults, ", "")
	s := start(t, environment{}, "station", "--config", config)
	status := s.until(`msg="box is up".* status=(\S+)`)
	beside := gateline(t, environment{}, nil, "check", "--config", config)
	for _, want := range []string{"in use by a running box", "as it must be while the box runs", "\n0 faults, "} {
		beside.want(t, 0, want, "")
	}
	gateline(t, environment{}, nil, "switch", "--config", config, "manual").want(t, 0, "manual", "")
	gateline(t, environment{}, nil, "switch", "--config", config, "open").want(t, 0, "open", "") // an emergency is asked nothing
	response, err := http.Get("http://" + status + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if response.StatusCode != http.StatusOK {
		t.Errorf("/livez: %s", response.Status)
	}
	if code := s.stop(); code != 0 || !strings.Contains(s.log.String(), "box stopped") {
		t.Errorf("exit code %d, log:\n%s", code, s.log.String())
	}
	gateline(t, environment{}, nil, "switch", "--config", config).want(t, 1, "", "is it running")
}

// The key that systemd hands over is used where the configuration names none.
func TestStationKeyFromSystemd(t *testing.T) {
	_, terminal := newPTY(t)
	credentials := filepath.Dir(writeFile(t, "token-key", testKey))
	named := stationConfig(t, terminal.Name(), tokenKey(t))
	for name, c := range map[string]struct {
		env            environment
		config, expect string
	}{
		"credential":        {environment{credentials: credentials}, stationConfig(t, terminal.Name(), ""), "ok     token key       " + credentials + "/token-key\n"},
		"named":             {environment{credentials: credentials}, named, "/token.key\n"},
		"empty table":       {environment{credentials: credentials}, stationConfig(t, terminal.Name(), "token = {}"), credentials + "/token-key\n"},
		"credential missed": {environment{credentials: "/nonexistent"}, stationConfig(t, terminal.Name(), ""), "fault  token key       key file: stat /nonexistent/token-key"},
	} {
		if r := gateline(t, c.env, nil, "check", "--config", c.config); !strings.Contains(r.out, c.expect) {
			t.Errorf("%s:\n%s%s", name, r.out, r.err)
		}
	}
}
