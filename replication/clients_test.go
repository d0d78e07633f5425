package replication

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// client connects with a key; "" = with none, nil = as another user.
func (c *city) client(hub *Hub, link *BoxLink, extra ...nats.Option) (*nats.Conn, error) {
	c.t.Helper()
	options := append([]nats.Option{nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})}, extra...)
	if link.TLS != nil {
		options = append(options, nats.Secure(link.TLS.Clone()))
	}
	if link.Seed != "" {
		pair, err := nkeys.FromSeed([]byte(link.Seed))
		if err != nil {
			c.t.Fatal(err)
		}
		public, err := pair.PublicKey()
		if err != nil {
			c.t.Fatal(err)
		}
		options = append(options, nats.Nkey(public, pair.Sign))
	}
	nc, err := nats.Connect("tls://"+hub.ClientAddr(), options...)
	if err == nil {
		c.t.Cleanup(nc.Close)
	}
	return nc, err
}

func openSafeHub(t *testing.T, here *city, clients ...ClientKey) *Hub {
	t.Helper()
	hub, err := OpenHub(HubConfig{Dir: t.TempDir(), ClientListen: "127.0.0.1:0", Clients: &HubClients{TLS: here.server(), Clients: clients}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := hub.Close(); err != nil {
			t.Error(err)
		}
	})
	return hub
}

func TestClientsKeepStrangersOut(t *testing.T) {
	t.Parallel()
	here, elsewhere := newCity(t), newCity(t)
	app, appKey := here.station("app")
	other, _ := here.station("mini-program")
	foreign, _ := elsewhere.station("app")
	bare := app.TLS.Clone()
	bare.Certificates = nil
	hub := openSafeHub(t, here, ClientKey{"app", appKey.Key})
	for name, link := range map[string]*BoxLink{
		"no TLS": {Seed: app.Seed}, "no certificate": {TLS: bare, Seed: app.Seed}, "a certificate of another city": {TLS: withRoots(foreign.TLS, app.TLS), Seed: app.Seed},
		"no key": {TLS: app.TLS}, "the key of nobody": {TLS: app.TLS, Seed: other.Seed}, "another city's centre is expected": {TLS: withRoots(app.TLS, foreign.TLS), Seed: app.Seed},
	} {
		if _, err := here.client(hub, link); err == nil {
			t.Errorf("%s: it is let in", name)
		}
	}
	for _, user := range []nats.Option{nats.UserInfo(userOps, ""), nats.UserInfo(userCentre, ""), nats.UserInfo(userBox, ""), nats.Token("x")} {
		if _, err := here.client(hub, &BoxLink{TLS: app.TLS}, user); err == nil {
			t.Error("somebody without a key is let in by a name")
		}
	}
	if _, err := here.client(hub, app); err != nil {
		t.Fatalf("the channel is kept out: %v", err)
	}
}

// A channel's key is all that an intruder at its servers has. He may ask the registry
// in the channel's name, and nothing else.
func TestChannelMayNothingElse(t *testing.T) {
	t.Parallel()
	here := newCity(t)
	app, appKey := here.station("app")
	mini, miniKey := here.station("mini-program")
	ops, opsKey := here.station("ops")
	li, liKey := here.station("ops-li")
	hub := openSafeHub(t, here, ClientKey{"app", appKey.Key}, ClientKey{"mini-program", miniKey.Key}, ClientKey{"ops", opsKey.Key}, ClientKey{"ops-li", liKey.Key})
	inside, err := hub.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	heard := make(chan *nats.Msg, 256)
	for _, subject := range []string{"gateline.>", "$JS.API.>", "_INBOX.>", "$SRV.>"} {
		if _, err := inside.ChanSubscribe(subject, heard); err != nil {
			t.Fatal(err)
		}
	}
	victim, err := here.client(hub, mini)
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"_INBOX.>"} {
		if _, err := victim.ChanSubscribe(subject, heard); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, inside, victim)
	subjects := []string{
		"gateline.registry.app.upgrade", "gateline.registry.app.card.return", "gateline.registry.mini-program.upgrade", "gateline.registry.ops.person.forget", "gateline.registry.health-source.health.report",
		"gateline.registry.app", "gateline.registry", "gateline.ops.policy.set", "gateline.ops.stats", "gateline.feed", SubjectLive, "gateline.ledger", "gateline.status.xidan", SubjectFetch,
		"$JS.API.INFO", "$JS.API.STREAM.DELETE.FEED", "$JS.API.STREAM.PURGE.LEDGER", "$JS.API.DIRECT.GET.FEED", "$SYS.REQ.SERVER.PING", "_INBOX.mini.1", "$SRV.PING",
	}
	for name, test := range map[string]struct {
		link *BoxLink
		may  []string
	}{
		"app":    {app, []string{"gateline.registry.app.upgrade", "gateline.registry.app.card.return", "$SRV.PING"}},
		"ops":    {ops, []string{"gateline.registry.ops.person.forget", "gateline.ops.policy.set", "gateline.ops.stats", "$SRV.PING"}},
		"ops-li": {li, []string{"gateline.registry.ops.person.forget", "gateline.ops.policy.set", "gateline.ops.stats", "$SRV.PING"}},
	} {
		nc, err := here.client(hub, test.link)
		if err != nil {
			t.Fatal(err)
		}
		may := map[string]bool{"gateline.end": false}
		for _, s := range test.may {
			may[s] = true
		}
		// The answer may be wanted where it would do harm.
		for _, reply := range []string{"_INBOX.own.1", "gateline.ops.policy.set", "gateline.registry.ops.person.forget", "gateline.feed", "_INBOX.mini.1"} {
			for _, subject := range subjects {
				if err := nc.PublishRequest(subject, reply, []byte("forged")); err != nil {
					t.Fatal(err)
				}
			}
		}
		flush(t, nc, inside)
		counts := map[string]int{}
		wanted := 5 * len(test.may)
		until(t, name+": what it may arrives", func() bool {
			for {
				select {
				case m := <-heard:
					counts[m.Subject]++
					if !may[m.Subject] {
						t.Errorf("%s reaches %s", name, m.Subject)
					}
					// What the centre answers goes back to the asker, and nowhere else.
					if err := m.Respond([]byte("answer")); err != nil {
						t.Fatal(err)
					}
				default:
					sum := 0
					for _, n := range counts {
						sum += n
					}
					return sum >= wanted
				}
			}
		})
		flush(t, inside, victim)
		for len(heard) > 0 {
			m := <-heard
			t.Errorf("%s: an answer goes to %s", name, m.Subject)
		}
	}
}

func TestClientsChange(t *testing.T) {
	t.Parallel()
	here := newCity(t)
	app, appKey := here.station("app")
	ops, opsKey := here.station("ops")
	hub := openSafeHub(t, here, ClientKey{"app", appKey.Key})
	nc, err := here.client(hub, app, nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	if err := hub.SetClients([]ClientKey{{"app", appKey.Key}, {"ops", opsKey.Key}}); err != nil {
		t.Fatal(err)
	}
	if _, err := here.client(hub, ops); err != nil {
		t.Errorf("one that is new in the list: %v", err)
	}
	if err := hub.SetClients([]ClientKey{{"app", "U"}}); err == nil || !strings.Contains(err.Error(), "those of before") {
		t.Errorf("a list with a bad key: %v", err)
	}
	if !nc.IsConnected() {
		t.Error("a client that stays is disturbed")
	}
	if err := hub.SetClients([]ClientKey{{"ops", opsKey.Key}}); err != nil {
		t.Fatal(err)
	}
	until(t, "the client taken out is gone", nc.IsClosed)
	if _, err := here.client(hub, app); err == nil {
		t.Error("a client that was taken out is let in")
	}
}

func TestOpenClientsStayOnLoopback(t *testing.T) {
	t.Parallel()
	hub, err := OpenHub(HubConfig{Dir: t.TempDir(), ClientListen: "0.0.0.0:0", Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		_ = hub.Close()
	}
	if !errors.Is(err, ErrOpenLink) {
		t.Errorf("listening everywhere without keys: %v", err)
	}
	// On loopback everybody may ask in any channel's name.
	if hub, err = OpenHub(HubConfig{Dir: t.TempDir(), ClientListen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hub.Close() }()
	inside, err := hub.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	if _, err := inside.Subscribe(SubjectRegistry+">", func(m *nats.Msg) { _ = m.Respond(nil) }); err != nil {
		t.Fatal(err)
	}
	flush(t, inside)
	nc, err := nats.Connect(hub.ClientAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Request("gateline.registry.app.upgrade", nil, 20*time.Second); err != nil {
		t.Error(err)
	}
}
