package replication

import (
	"crypto/tls"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"gateline/gateway"
	"gateline/internal/clustertest"
	"gateline/internal/linkkey"
)

// openCluster returns three servers that know two stations, and a connection as
// the centre.
func openCluster(t *testing.T) (*clustertest.Cluster, *nats.Conn, map[string]*BoxLink) {
	t.Helper()
	here := newCity(t)
	file, public, err := here.authority.Client("centre")
	if err != nil {
		t.Fatal(err)
	}
	boxes, keys := map[string]*BoxLink{}, []StationKey(nil)
	for _, name := range []string{"xidan", "dongdan"} {
		link, key := here.station(name)
		boxes[name], keys = link, append(keys, key)
	}
	accounts, err := AccountsConf(keys, ClientKey{linkkey.CentreClient, public}, nil)
	if err != nil {
		t.Fatal(err)
	}
	cluster := clustertest.Start(t, "../docs/examples/cluster", here.authority, accounts)
	opts, err := here.parse(file).NATSOptions()
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(cluster.URLs()[0], append(opts, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), withServers(cluster.URLs()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return cluster, nc, boxes
}

func withServers(urls []string) nats.Option {
	return func(o *nats.Options) error { o.Servers = urls; return nil }
}

// A centre on three servers loses the one that its box is connected to, and the one
// that leads its stream, while it publishes. Nothing is lost, nothing comes twice,
// the box notices no fault, and a second writer shuts the first one out.
func TestClusterLosesServers(t *testing.T) {
	cluster, nc, boxes := openCluster(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	c := &centre{t: t, js: js, want: map[gateway.Token]gateway.Record{}}
	cfg := testPublisher()
	cfg.Replicas = 3
	if c.pub, err = OpenPublisher(t.Context(), js, cfg); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{StreamFeed, StreamShards} {
		stream, err := js.Stream(t.Context(), name)
		if err != nil || stream.CachedInfo().Config.Replicas != 3 {
			t.Fatalf("stream %s: %v", name, err)
		}
	}
	c.publish(10)
	store, log := newMemory(), &lines{}
	box, _ := startBox(t, cluster.CentreURL(), store, log, func(cfg *BoxConfig) { cfg.Station, cfg.Link = "xidan", boxes["xidan"] })
	same(t, c, store)

	for round, victim := range []func() int{cluster.Leaf, func() int { return cluster.Leader(accountCentre, StreamFeed) }} {
		down := victim()
		stop := c.publishing()
		at := store.at()
		until(t, "entries flow", func() bool { return store.at() > at+3 })
		cluster.Stop(down)
		at = store.at()
		until(t, "entries flow with two servers", func() bool { return store.at() > at+10 })
		stop()
		same(t, c, store)
		cluster.Restart(down)
		cluster.WaitCurrent(down, accountCentre, StreamFeed)
		t.Logf("round %d: server %d was down, entry %d", round, down, c.pub.Last().Number)
	}
	if s := box.Stats(); s.Refused != 0 || s.Reloads != 0 {
		t.Errorf("%+v, log:\n%s", s, log)
	}
	c.checkWhole()

	again, err := OpenPublisher(t.Context(), js, cfg)
	if err != nil {
		t.Fatal(err)
	}
	old := c.pub
	c.pub = again
	c.publish(1)
	if err := old.Publish(t.Context(), &Entry{Time: time.Now().UnixMicro()}); !errors.Is(err, ErrFenced) {
		t.Errorf("the first writer publishes on: %v", err)
	}
	same(t, c, store)
	c.checkWhole()
	clusterKeepsOut(t, cluster, boxes["dongdan"])
}

// publishing publishes entry after entry until the function it returns is called.
func (c *centre) publishing() (stop func()) {
	end, done := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				done <- nil
				return
			case <-tick.C:
			}
			if err := c.publishOne(); err != nil {
				done <- err
				return
			}
		}
	}()
	stop = sync.OnceFunc(func() {
		c.t.Helper()
		close(end)
		if err := <-done; err != nil {
			c.t.Error(err)
		}
	})
	c.t.Cleanup(stop)
	return stop
}

// checkWhole reads the feed: each entry once, in its place, as it was published.
func (c *centre) checkWhole() {
	c.t.Helper()
	last := c.pub.Last().Number
	if n := uint64(len(c.want)); n != last {
		c.t.Errorf("%d entries published, the feed ends at %d", n, last)
	}
	for n := uint64(1); n <= last; n++ {
		msg, err := c.pub.stream.GetMsg(c.t.Context(), n)
		if err != nil {
			c.t.Fatal(err)
		}
		if e := decode(c.t, msg.Data); e.Number != n || e.Source != n || len(e.Changes) != 1 {
			c.t.Fatalf("entry %d at place %d covers %d", e.Number, n, e.Source)
		}
	}
}

// clusterKeepsOut: a station's key opens the door for leaf nodes and no other.
func clusterKeepsOut(t *testing.T, cluster *clustertest.Cluster, link *BoxLink) {
	t.Helper()
	nkey, err := nats.NkeyOptionFromSeed(seedFile(t, link.Seed))
	if err != nil {
		t.Fatal(err)
	}
	for name, opts := range map[string][]nats.Option{
		"a station's key":         {nkey, nats.Secure(link.TLS)},
		"a certificate alone":     {nats.Secure(link.TLS)},
		"neither key nor its own": {nats.Secure(&tls.Config{RootCAs: link.TLS.RootCAs, ServerName: link.TLS.ServerName})},
		"no TLS":                  {nkey},
	} {
		if nc, err := nats.Connect(cluster.URLs()[0], append(opts, nats.MaxReconnects(0))...); err == nil {
			nc.Close()
			t.Errorf("a client is let in with %s", name)
		}
	}
}
