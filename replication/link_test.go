package replication

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"gateline/internal/linkkey"
)

// city has an authority, and hands out link files.
type city struct {
	t         *testing.T
	authority *linkkey.Authority
}

func newCity(t *testing.T) *city {
	t.Helper()
	a, err := linkkey.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return &city{t, a}
}

func (c *city) server() *tls.Config {
	c.t.Helper()
	file, err := c.authority.Centre()
	if err != nil {
		c.t.Fatal(err)
	}
	return c.parse(file).Server()
}

func (c *city) parse(file []byte) *linkkey.Link {
	c.t.Helper()
	l, err := linkkey.Parse(file)
	if err != nil {
		c.t.Fatal(err)
	}
	return l
}

func (c *city) station(name string) (*BoxLink, StationKey) {
	c.t.Helper()
	file, public, err := c.authority.Station(name)
	if err != nil {
		c.t.Fatal(err)
	}
	l := c.parse(file)
	return &BoxLink{TLS: l.Client(), Seed: l.Seed()}, StationKey{Station: name, Key: public}
}

// openSafeCentre is openCentre with a link that keeps strangers out.
func openSafeCentre(t *testing.T, link *HubLink) *centre {
	t.Helper()
	hub, err := OpenHub(HubConfig{Dir: t.TempDir(), ClientListen: "127.0.0.1:0", LeafListen: "127.0.0.1:0", Link: link, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return newCentre(t, hub, testPublisher())
}

func TestLinkLetsInWhomItKnows(t *testing.T) {
	here := newCity(t)
	xidan, xidanKey := here.station("xidan")
	dongdan, dongdanKey := here.station("dongdan")
	c := openSafeCentre(t, &HubLink{TLS: here.server(), Stations: []StationKey{xidanKey}})
	c.publish(5)
	boxes := map[string]*Box{}
	stores := map[string]*memory{}
	for name, link := range map[string]*BoxLink{"xidan": xidan, "dongdan": dongdan} {
		stores[name] = newMemory()
		boxes[name], _ = startBox(t, c.url(), stores[name], &lines{}, func(cfg *BoxConfig) { cfg.Station, cfg.Link = name, link })
	}
	same(t, c, stores["xidan"])
	if boxes["dongdan"].Connected() {
		t.Fatal("a station that is not in the list is let in")
	}
	// One more, and nobody is disturbed.
	if err := c.hub.SetStations([]StationKey{xidanKey, dongdanKey}); err != nil {
		t.Fatal(err)
	}
	c.publish(1)
	same(t, c, stores["xidan"])
	same(t, c, stores["dongdan"])
	// One less.
	if err := c.hub.SetStations([]StationKey{dongdanKey}); err != nil {
		t.Fatal(err)
	}
	until(t, "the station taken out is gone", func() bool { return !boxes["xidan"].Connected() })
	c.publish(1)
	same(t, c, stores["dongdan"])
	if at := stores["xidan"].at(); at == c.pub.Last().Number {
		t.Errorf("the station taken out has entry %d", at)
	}
	// A new key, for a box that was exchanged: the old one stays out.
	again, againKey := here.station("xidan")
	if err := c.hub.SetStations([]StationKey{dongdanKey, againKey}); err != nil {
		t.Fatal(err)
	}
	fresh := newMemory()
	startBox(t, c.url(), fresh, &lines{}, func(cfg *BoxConfig) { cfg.Station, cfg.Link = "xidan", again })
	same(t, c, fresh)
	if boxes["xidan"].Connected() {
		t.Error("the box with the old key is let in")
	}
}

func TestLinkKeepsStrangersOut(t *testing.T) {
	here, elsewhere := newCity(t), newCity(t)
	good, key := here.station("xidan")
	foreign, _ := elsewhere.station("xidan")
	other, _ := here.station("dongdan")
	c := openSafeCentre(t, &HubLink{TLS: here.server(), Stations: []StationKey{key}})
	c.publish(1)
	bare := good.TLS.Clone()
	bare.Certificates = nil
	for name, link := range map[string]*BoxLink{
		"no link file":                      nil,
		"no certificate":                    {TLS: bare, Seed: good.Seed},
		"a certificate of another city":     {TLS: foreign.TLS, Seed: good.Seed},
		"no key":                            {TLS: good.TLS},
		"the key of nobody":                 {TLS: good.TLS, Seed: other.Seed},
		"another city's centre is expected": {TLS: withRoots(good.TLS, foreign.TLS), Seed: good.Seed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log lines
			store := newMemory()
			box, _ := startBox(t, c.url(), store, &log, func(cfg *BoxConfig) { cfg.Station, cfg.Link = "xidan", link })
			until(t, "a line about the link", func() bool { return log.count("the centre is not reachable") > 0 })
			if box.Connected() || store.at() != 0 {
				t.Error("it is let in")
			}
			if link != nil && strings.Contains(log.String(), link.Seed) && link.Seed != "" {
				t.Error("the log has the seed")
			}
		})
	}
}

func withRoots(c, from *tls.Config) *tls.Config {
	c = c.Clone()
	c.RootCAs = from.RootCAs
	return c
}

// A box's own server with a station's key is all that an intruder at a station
// has. It may read feed and nothing else.
func TestStationMayNothingElse(t *testing.T) {
	here := newCity(t)
	xidan, xidanKey := here.station("xidan")
	dongdan, dongdanKey := here.station("dongdan")
	c := openSafeCentre(t, &HubLink{TLS: here.server(), Stations: []StationKey{xidanKey, dongdanKey}})
	c.publish(3)
	store := newMemory()
	startBox(t, c.url(), store, &lines{}, func(cfg *BoxConfig) { cfg.Station, cfg.Link = "dongdan", dongdan })
	same(t, c, store)
	nc := intrude(t, c, xidan)

	// What comes out where somebody else would take it for his own.
	spied := make(chan *nats.Msg, 64)
	inside, err := c.hub.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	for _, subject := range []string{"gateline.>", "$JS.API.STREAM.>", "$JS.API.CONSUMER.>"} {
		if _, err := inside.ChanSubscribe(subject, spied); err != nil {
			t.Fatal(err)
		}
	}
	victim := intrude(t, c, dongdan)
	for _, subject := range []string{"gateline.inbox.>", SubjectLive, "_INBOX.>"} {
		if _, err := victim.ChanSubscribe(subject, spied); err != nil {
			t.Fatal(err)
		}
	}
	overheard := make(chan *nats.Msg, 64)
	for _, subject := range []string{">", "$JS.>", "$SYS.>", "gateline.inbox.dongdan.*", "gateline.ledger", "gateline.feed", "gateline.ops.>"} {
		if _, err := nc.ChanSubscribe(subject, overheard); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, inside, victim, nc)

	forged := []byte("forged")
	for _, subject := range []string{
		SubjectFeed, SubjectLive, "gateline.ledger", "gateline.status.dongdan", "gateline.inbox.dongdan.1", "gateline.ops.policy.set",
		"$JS.API.INFO", "$JS.API.STREAM.INFO.FEED", "$JS.API.STREAM.PURGE.FEED", "$JS.API.STREAM.DELETE.FEED", "$JS.API.STREAM.MSG.GET.FEED",
		"$JS.API.CONSUMER.CREATE.FEED", "$JS.API.DIRECT.GET.FEED", "$JS.API.DIRECT.GET.LEDGER", "$JS.centre.API.STREAM.INFO.FEED", "$JS.centre.API.DIRECT.GET.FEED",
		"gateline.fetch.LEDGER", "$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.CENTRE.INFO", "$SRV.PING",
	} {
		if err := nc.PublishRequest(subject, "gateline.inbox.xidan.0", forged); err != nil {
			t.Fatal(err)
		}
	}
	// What it may ask, with the answer sent where it does harm.
	for _, reply := range []string{SubjectFeed, SubjectLive, "gateline.ledger", "gateline.inbox.dongdan.1", "gateline.ops.policy.get", "$JS.API.STREAM.PURGE.FEED", "_INBOX.dongdan"} {
		if err := nc.PublishRequest(SubjectFetch, reply, []byte(`{"seq":1,"batch":2}`)); err != nil {
			t.Fatal(err)
		}
	}
	// The answer to the last question says that the hub has seen all before it.
	own := make(chan *nats.Msg, 64)
	if _, err := nc.ChanSubscribe("gateline.inbox.xidan.9", own); err != nil {
		t.Fatal(err)
	}
	flush(t, nc)
	until(t, "an answer to what is allowed", func() bool {
		if err := nc.PublishRequest(SubjectFetch, "gateline.inbox.xidan.9", []byte(`{"seq":1,"batch":1}`)); err != nil {
			t.Fatal(err)
		}
		select {
		case <-own:
			return true
		case <-time.After(100 * time.Millisecond):
			return false
		}
	})
	c.publish(2)
	same(t, c, store) // the feed goes on, and is only what the centre wrote
	flush(t, inside, victim)
	for {
		select {
		case m := <-spied:
			if m.Subject != SubjectFeed && m.Subject != SubjectLive || string(m.Data) == string(forged) || len(m.Data) == 0 {
				t.Errorf("it reaches %s", m.Subject)
			} else if e := decode(t, m.Data); e.Number <= 3 {
				t.Errorf("entry %d comes again on %s", e.Number, m.Subject)
			}
		default:
			checkOverheard(t, overheard)
			return
		}
	}
}

// checkOverheard: of all that an intruder listens for it hears what it sends
// itself, the live feed, and answers to its own questions.
func checkOverheard(t *testing.T, overheard chan *nats.Msg) {
	t.Helper()
	for {
		select {
		case m := <-overheard:
			if strings.HasPrefix(m.Subject, "gateline.inbox.dongdan.2") || strings.HasPrefix(m.Subject, "$SYS.ACCOUNT") {
				t.Errorf("it hears %s", m.Subject)
			}
		default:
			return
		}
	}
}

// intrude connects a server of an intruder's own with a station's keys.
func intrude(t *testing.T, c *centre, link *BoxLink) *nats.Conn {
	t.Helper()
	at, err := url.Parse(c.url())
	if err != nil {
		t.Fatal(err)
	}
	srv, err := startServer(boxOptions(&BoxConfig{Station: "intruder-" + link.Seed[50:], Link: link, ReconnectInterval: 50 * time.Millisecond}, []*url.URL{at}), &serverLog{log: slog.New(slog.DiscardHandler)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect("", nats.InProcessServer(srv), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nc.Close()
		if err := stopServer(srv); err != nil {
			t.Error(err)
		}
	})
	until(t, "the intruder is connected", func() bool { return srv.NumLeafNodes() > 0 })
	return nc
}

func seedFile(t *testing.T, seed string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(path, []byte(seed), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func flush(t *testing.T, conns ...*nats.Conn) {
	t.Helper()
	for _, nc := range conns {
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
}

// A leaf node that names a user of another kind gets nothing of it.
func TestLeafIsNoClient(t *testing.T) {
	here := newCity(t)
	xidan, key := here.station("xidan")
	c := openSafeCentre(t, &HubLink{TLS: here.server(), Stations: []StationKey{key}})
	for _, user := range []*url.Userinfo{nil, url.User(userOps), url.UserPassword(userOps, ""), url.User(userBox), url.UserPassword(userCentre, "")} {
		opts := boxOptions(&BoxConfig{Station: "xidan", Link: &BoxLink{TLS: xidan.TLS}, ReconnectInterval: 50 * time.Millisecond}, []*url.URL{{Scheme: leafScheme, Host: c.hub.LeafAddr(), User: user}})
		log := &serverLog{log: slog.New(slog.DiscardHandler), demote: true}
		srv, err := startServer(opts, log, nil)
		if err != nil {
			t.Fatal(err)
		}
		until(t, "a refusal", func() bool {
			if srv.NumLeafNodes() > 0 {
				t.Fatalf("a leaf node is let in as %v", user)
			}
			log.mu.Lock()
			defer log.mu.Unlock()
			return strings.Contains(log.lastError, "Authorization Violation")
		})
		if err := stopServer(srv); err != nil {
			t.Error(err)
		}
	}
	// Nor does a client get in with a station's key.
	nkey, err := nats.NkeyOptionFromSeed(seedFile(t, xidan.Seed))
	if err != nil {
		t.Fatal(err)
	}
	if nc, err := nats.Connect(c.hub.ClientAddr(), nkey); err == nil {
		nc.Close()
		t.Error("a client is let in with a station's key")
	}
}

func TestOpenLinkStaysOnLoopback(t *testing.T) {
	for listen, open := range map[string]bool{"0.0.0.0:0": true, ":0": true, "127.0.0.1:0": false, "localhost:0": false, "[::1]:0": false} {
		hub, err := OpenHub(HubConfig{Dir: t.TempDir(), LeafListen: listen, Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			_ = hub.Close()
		}
		if errors.Is(err, ErrOpenLink) != open {
			t.Errorf("listening on %s without keys: %v", listen, err)
		}
	}
}
