package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gateline/gateway"
)

var testKey = strings.Repeat("0123456789abcdef", 4)

// centralConfig writes the configuration of a centre on ports of the system's
// choice, and its key.
func centralConfig(t *testing.T) (path string) {
	t.Helper()
	return writeFile(t, "central.toml", fmt.Sprintf(
		"dir = %q\ntoken.key_file = %q\nfeed.key_file = %q\nops.listen = \"127.0.0.1:0\"\nboxes.listen = \"127.0.0.1:0\"\nstatus.listen = \"\"\n",
		filepath.Join(t.TempDir(), "central"), writeFile(t, "token.key", testKey), feedKeyFile(t)))
}

// testFeedSecret signs the feed of a test's centre.
var testFeedSecret = gateway.FeedSecret{7}

func feedKeyFile(t *testing.T) string { return writeFile(t, "feed.key", testFeedSecret.Reveal()) }

// startCentral runs a centre and returns the environment in which ops find it.
func startCentral(t *testing.T, config string) (*service, environment) {
	t.Helper()
	s := start(t, environment{}, "central", "--config", config)
	s.until(`msg="centre is up"`)
	return s, environment{server: "nats://" + s.until(`clients=(\S+)`)}
}

func TestCentralStartsAndStops(t *testing.T) {
	config := centralConfig(t)
	s, env := startCentral(t, config)
	gateline(t, env, nil, "ops", "card", "bind", "--credential", "3104770012345678901", "--person", "p1").want(t, 0, "bound", "")
	// Two centres on one directory are refused.
	second := gateline(t, environment{}, nil, "central", "--config", config)
	second.want(t, 1, "", "in use by another process")
	if code := s.stop(); code != 0 || !strings.Contains(s.log.String(), `msg="centre stopped"`) {
		t.Errorf("exit code %d, log:\n%s", code, s.log.String())
	}
	_, env = startCentral(t, config)
	gateline(t, env, nil, "ops", "stats").want(t, 0, "credentials  1 bound", "")
	if strings.Contains(s.log.String(), "3104770012345678901") || strings.Contains(s.log.String(), testKey) {
		t.Error("the log shows a secret")
	}
}

func TestCentralRefusesToStart(t *testing.T) {
	dir := t.TempDir()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	key := writeFile(t, "token.key", testKey)
	feed := fmt.Sprintf("feed.key_file = %q\n", feedKeyFile(t))
	for name, c := range map[string]struct{ config, want string }{
		"no feed key": {fmt.Sprintf("dir = %q\ntoken.key_file = %q\nfeed.key_file = \"/nonexistent/feed\"", dir, key), "feed-key new"},
		"no key file": {feed + fmt.Sprintf("dir = %q\ntoken.key_file = \"/nonexistent/key\"", dir), "put the key there"},
		"bad key":     {feed + fmt.Sprintf("dir = %q\ntoken.key_file = %q", dir, writeFile(t, "bad.key", "secret")), "openssl rand -hex 32"},
		"port taken":  {feed + fmt.Sprintf("dir = %q\ntoken.key_file = %q\nops.listen = %q", dir, key, taken.Addr()), "stop what uses the address"},
		"dir a file":  {feed + fmt.Sprintf("dir = %q\ntoken.key_file = %q\nops.listen = \"127.0.0.1:0\"\nboxes.listen = \"\"", key, key), "make the directory of the streams"},
	} {
		r := gateline(t, environment{}, nil, "central", "--config", writeFile(t, "central.toml", c.config))
		if r.code != 1 || !strings.Contains(r.err, c.want) || strings.Contains(r.err, "secret") {
			t.Errorf("%s: exit code %d\n%s", name, r.code, r.err)
		}
	}
	gateline(t, environment{}, nil, "central", "--config", filepath.Join(dir, "none.toml")).want(t, 1, "", "give its path with --config")
	r := gateline(t, environment{}, nil, "central", "--config", writeFile(t, "central.toml", "dirr = 1\nops.listen = 4\nboxes.listen = \"x\"\n"))
	for _, want := range []string{"central.toml:1: dirr: unknown key", "central.toml:2: ops.listen", "central.toml:3: boxes.listen"} {
		r.want(t, 1, "", want)
	}
}

// With systemd the key comes from its credentials, and systemd hears that the
// centre is ready, alive and stopping.
func TestCentralUnderSystemd(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	heard, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer heard.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "30000")
	credentials := filepath.Dir(writeFile(t, "token-key", testKey))
	if err := os.WriteFile(filepath.Join(credentials, "feed-key"), []byte(testFeedSecret.Reveal()), 0o400); err != nil {
		t.Fatal(err)
	}
	config := writeFile(t, "central.toml", fmt.Sprintf("dir = %q\nops.listen = \"127.0.0.1:0\"\nboxes.listen = \"\"\nstatus.listen = \"127.0.0.1:0\"\n", filepath.Join(t.TempDir(), "central")))
	s := start(t, environment{credentials: credentials}, "central", "--config", config)
	next := func() string {
		t.Helper()
		buffer := make([]byte, 256)
		if err := heard.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		n, err := heard.Read(buffer)
		if err != nil {
			t.Fatalf("%v; log:\n%s", err, s.log.String())
		}
		return string(buffer[:n])
	}
	for _, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := next(); got != want {
			t.Fatalf("heard %s, not %s", got, want)
		}
	}
	if code := s.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for got := next(); got != "STOPPING=1"; got = next() {
		if got != "WATCHDOG=1" {
			t.Fatalf("heard %s", got)
		}
	}
	// Without the credentials the keys are missed where they were expected.
	for _, name := range []string{"feed-key", "token-key"} {
		if err := os.Remove(filepath.Join(credentials, name)); err != nil {
			t.Fatal(err)
		}
		gateline(t, environment{credentials: credentials}, nil, "central", "--config", config).want(t, 1, "", filepath.Join(credentials, name))
	}
}
