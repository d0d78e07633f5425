package replication

import (
	"crypto/tls"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"gateline/gateway"
	"gateline/internal/clustertest"
	"gateline/internal/linkkey"
)

// ownServers are three servers that know the centre and the station xidan.
type ownServers struct {
	*clustertest.Cluster
	city   *city
	centre ClientKey
	xidan  *BoxLink
	key    StationKey // of xidan
}

// openCluster starts them and opens a centre there.
func openCluster(t *testing.T) (*ownServers, *centre) {
	t.Helper()
	s := &ownServers{city: newCity(t)}
	file, public, err := s.city.authority.Client(linkkey.CentreClient)
	if err != nil {
		t.Fatal(err)
	}
	s.centre = ClientKey{linkkey.CentreClient, public}
	s.xidan, s.key = s.city.station("xidan")
	s.Cluster = clustertest.Start(t, "../docs/examples/cluster", s.city.authority, s.accounts(t, s.key))
	opts, err := s.city.parse(file).NATSOptions()
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(connectAll(t, s.Cluster, opts))
	if err != nil {
		t.Fatal(err)
	}
	c := &centre{t: t, js: js, want: map[gateway.Token]gateway.Record{}}
	if c.pub, err = OpenPublisher(t.Context(), js, threeReplicas()); err != nil {
		t.Fatal(err)
	}
	return s, c
}

func threeReplicas() PublisherConfig {
	cfg := testPublisher()
	cfg.Replicas = 3
	return cfg
}

func (s *ownServers) accounts(t *testing.T, stations ...StationKey) []byte {
	t.Helper()
	text, err := AccountsConf(stations, s.centre, nil)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func connectAll(t *testing.T, cluster *clustertest.Cluster, opts []nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(strings.Join(cluster.URLs(), ","), append(opts, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// A centre on three servers loses the one that its box is connected to, and the one
// that leads its stream, while it publishes. Nothing is lost, nothing comes twice,
// the box notices no fault, and a second writer shuts the first one out.
func TestClusterLosesServers(t *testing.T) {
	cluster, c := openCluster(t)
	for _, name := range []string{StreamFeed, StreamShards} {
		stream, err := c.js.Stream(t.Context(), name)
		if err != nil || stream.CachedInfo().Config.Replicas != 3 {
			t.Fatalf("stream %s: %v", name, err)
		}
	}
	c.publish(10)
	store, log := newMemory(), &lines{}
	box, _ := startBox(t, cluster.CentreURL(), store, log, func(cfg *BoxConfig) { cfg.Station, cfg.Link = "xidan", cluster.xidan })
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

	// A stream that is choosing its leader does not answer.
	var again *Publisher
	until(t, "a second publisher is open", func() bool {
		var err error
		again, err = OpenPublisher(t.Context(), c.js, threeReplicas())
		return err == nil
	})
	old := c.pub
	c.pub = again
	c.publish(1)
	if err := old.Publish(t.Context(), &Entry{Time: time.Now().UnixMicro()}); !errors.Is(err, ErrFenced) {
		t.Errorf("the first writer publishes on: %v", err)
	}
	same(t, c, store)
	c.checkWhole()
}

// The list of stations changes while the servers run: one more is let in and fed
// after two reloads; one less is kept out when each server has been restarted.
func TestClusterStationsChange(t *testing.T) {
	cluster, c := openCluster(t)
	c.publish(3)
	stays, log := newMemory(), &lines{}
	box, _ := startBox(t, cluster.CentreURL(), stays, log, func(cfg *BoxConfig) { cfg.Station, cfg.Link = "xidan", cluster.xidan })
	same(t, c, stays)
	link, key := cluster.city.station("dongdan")
	comes := newMemory()
	second, _ := startBox(t, cluster.CentreURL(), comes, &lines{}, func(cfg *BoxConfig) {
		cfg.Station, cfg.Link = "dongdan", link
		cfg.PollInterval, cfg.QuietAfter = time.Hour, time.Hour // what it has came live, or when the link came up
	})
	if second.Connected() {
		t.Error("a station that is not in the list is let in")
	}
	cluster.WriteAccounts(cluster.accounts(t, cluster.key, key))
	cluster.ReloadTwice()
	same(t, c, comes)
	c.publish(2)
	same(t, c, comes)
	clusterKeepsOut(t, cluster.Cluster, link)
	if log.count("is down") != 0 {
		t.Errorf("the other station was disturbed:\n%s", log)
	}
	cluster.WriteAccounts(cluster.accounts(t, cluster.key))
	for i := range cluster.Servers {
		cluster.Stop(i)
		cluster.Restart(i)
		cluster.WaitCurrent(i, accountCentre, StreamFeed)
	}
	c.publish(1)
	same(t, c, stays)
	if comes.at() == c.pub.Last().Number || second.Connected() || box.Stats().Refused != 0 {
		t.Errorf("the station taken out is at %d, connected %v; of the other %d refused", comes.at(), second.Connected(), box.Stats().Refused)
	}
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
