package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"gateline/central"
	"gateline/central/rules"
	"gateline/internal/linkkey"
)

// A centre on one machine that asks its clients who they are, from the first key to
// a channel's first upgrade and to the channel's end. Nothing shows a secret.
func TestClientsOfOneMachine(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "link")
	var printed strings.Builder
	call := func(args ...string) result {
		r := gateline(t, environment{}, nil, args...)
		printed.WriteString(r.out + r.err)
		return r
	}
	call("link-key", "init", dir).want(t, 0, "centre.pem", "Next:")
	call("link-key", "client", dir, "ops", "app").want(t, 0, "app  "+filepath.Join(dir, "client-app.pem"), "clients_file")
	centre, env := startCentral(t, linkedConfig(t, dir))
	address := strings.TrimPrefix(env.server, "nats://")
	ask := func(link string) result {
		args := []string{"ops", "stats", "--server", "tls://" + address}
		if link != "" {
			args = append(args, "--link", filepath.Join(dir, link))
		}
		return call(args...)
	}
	ask("client-ops.pem").want(t, 0, "credentials", "")
	ask("").want(t, 1, "", "no centre answers")
	ask("client-app.pem").want(t, 1, "", "gives no commands")

	app := central.NewChannel(connect(t, address, filepath.Join(dir, "client-app.pem")), rules.ChannelApp)
	q := central.UpgradeRequest{ID: "1", Credential: "3104770012345678901", Who: central.ByID("p1"), Identified: true, Consent: 1}
	if _, err := app.Upgrade(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	var refusal *central.Refusal
	if _, err := app.Statistics(t.Context()); !errors.As(err, &refusal) || refusal.Code != rules.CodeChannel {
		t.Errorf("what the app is not entitled to: %v", err)
	}
	ask("client-ops.pem").want(t, 0, "credentials  1 bound", "")
	if r := gateline(t, env, nil, "ops", "stats"); r.code == 0 {
		t.Error("who has no key gives commands")
	}

	list := filepath.Join(dir, "clients")
	whole, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	without := string(whole[:strings.LastIndex(string(whole), "app ")])
	for _, step := range []struct{ text, line string }{{"app\n", "reload failed; the clients of before.*line 1"}, {without, `list of clients read again" clients=1`}} {
		if err := os.WriteFile(list, []byte(step.text), 0o644); err != nil {
			t.Fatal(err)
		}
		hangUp(t)
		centre.until(step.line)
	}
	if conn, err := dialLink(address, filepath.Join(dir, "client-app.pem")); err == nil {
		conn.Close()
		t.Error("a channel that was taken out of the list is let in")
	}
	ask("client-ops.pem").want(t, 0, "credentials  1 bound", "")
	centre.stop()
	printed.WriteString(centre.log.String())
	for _, file := range []string{"client-ops.pem", "client-app.pem"} {
		for _, secret := range readSecrets(t, dir, file) {
			if strings.Contains(printed.String(), secret) {
				t.Errorf("a secret of %s is printed or logged", file)
			}
		}
	}
}

// linkedConfig is centralConfig for a centre that asks its clients who they are, with
// the files of a folder of 'gateline link-key init'.
func linkedConfig(t *testing.T, dir string) (path string) {
	t.Helper()
	text, err := os.ReadFile(centralConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "central.toml", fmt.Sprintf("%sops.clients_file = %q\nboxes.link_file = %q\nboxes.stations_file = %q\n",
		text, filepath.Join(dir, "clients"), filepath.Join(dir, "centre.pem"), filepath.Join(dir, "stations")))
}

func connect(t *testing.T, address, link string) *nats.Conn {
	t.Helper()
	conn, err := dialLink(address, link)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// dialLink connects with a link file, as any channel does.
func dialLink(address, link string) (*nats.Conn, error) {
	l, err := linkkey.Read(link)
	if err != nil {
		return nil, err
	}
	opts, err := l.NATSOptions()
	if err != nil {
		return nil, err
	}
	return nats.Connect("tls://"+address, append(opts, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))...)
}
