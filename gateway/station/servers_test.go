package station

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"gateline/central"
	"gateline/central/fleet"
	"gateline/central/rules"
	"gateline/gateway"
	"gateline/internal/clustertest"
	"gateline/internal/linkkey"
	"gateline/internal/logtest"
	"gateline/replication"
)

// ownServers are three servers of the operator's that know a centre, somebody who
// gives commands, and some stations.
type ownServers struct {
	*clustertest.Cluster
	servers *central.Servers
	ops     []nats.Option
	// channels are those of the registry's channels that are let in.
	channels map[rules.Channel][]nats.Option
	links    map[string]string // link files by station
	// centreLink is the centre's link file.
	centreLink string
	// oneMachine lets the same stations in at a centre with a server of its own.
	oneMachine *replication.HubLink
}

// startServers starts them within the test's process.
func startServers(t *testing.T, stations ...string) *ownServers {
	t.Helper()
	return makeServers(t, clustertest.Start, stations...)
}

// makeServers makes them by clustertest's Start or Prepare.
func makeServers(t *testing.T, by func(testing.TB, string, *linkkey.Authority, []byte) *clustertest.Cluster, stations ...string) *ownServers {
	t.Helper()
	authority, err := linkkey.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	client := func(name string) ([]nats.Option, replication.ClientKey) {
		file, public, err := authority.Client(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), file, 0o600); err != nil {
			t.Fatal(err)
		}
		link, err := linkkey.Parse(file)
		if err != nil {
			t.Fatal(err)
		}
		opts, err := link.NATSOptions()
		if err != nil {
			t.Fatal(err)
		}
		return opts, replication.ClientKey{Name: name, Key: public}
	}
	auth, centre := client(linkkey.CentreClient)
	ops, opsKey := client("ops")
	s := &ownServers{ops: ops, channels: map[rules.Channel][]nats.Option{}, links: map[string]string{}, centreLink: filepath.Join(dir, linkkey.CentreClient)}
	clients := []replication.ClientKey{opsKey}
	for _, name := range []rules.Channel{rules.ChannelApp, rules.ChannelMini, rules.ChannelMetro, rules.ChannelHotline, rules.ChannelHealthSource} {
		opts, key := client(string(name))
		s.channels[name], clients = opts, append(clients, key)
	}
	var keys []replication.StationKey
	for _, name := range stations {
		file, public, err := authority.Station(name)
		if err != nil {
			t.Fatal(err)
		}
		s.links[name] = filepath.Join(t.TempDir(), "link.pem")
		if err := os.WriteFile(s.links[name], file, 0o600); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, replication.StationKey{Station: name, Key: public})
	}
	accounts, err := replication.AccountsConf(keys, centre, clients)
	if err != nil {
		t.Fatal(err)
	}
	file, err := authority.Centre()
	if err != nil {
		t.Fatal(err)
	}
	link, err := linkkey.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	s.oneMachine = &replication.HubLink{TLS: link.Server(), Stations: keys}
	s.Cluster = by(t, "../../docs/examples/cluster", authority, accounts)
	s.servers = &central.Servers{URLs: s.URLs(), Auth: auth, Replicas: len(s.Servers)}
	return s
}

// client is one of those who give commands and look at the fleet.
func (s *ownServers) client(t *testing.T) *central.Client {
	t.Helper()
	return central.NewClient(s.dial(t, s.ops))
}

// channel is one of those who ask the registry, over a connection of its own.
func (s *ownServers) channel(t *testing.T, name rules.Channel) *central.Channel {
	t.Helper()
	return central.NewChannel(s.dial(t, s.channels[name]), name)
}

// dial connects to any of the servers, and to another one when that goes.
func (s *ownServers) dial(t *testing.T, auth []nats.Option) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(strings.Join(s.URLs(), ","), append(slices.Clone(auth), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// knows waits until the centre shows the station well, with a report of an entry
// that was not published before now, and so many of its taps. Servers that choose a
// leader do not answer, and are asked again.
func knows(t *testing.T, c *central.Client, feed uint64, station string, taps uint64) {
	t.Helper()
	until(t, fmt.Sprintf("%s is known to be beyond entry %d, with %d taps", station, feed, taps), func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s, err := c.FleetStation(ctx, station)
		return err == nil && s.State == fleet.OK && s.Report.Position.Number > feed && answered(t, c, station, "R20") == taps
	})
}

// Boxes that are connected to three servers report to the centre there, also after
// the server that they were connected to has gone, and after the one that leads the
// stream of their reports. What was tapped meanwhile is counted exactly.
func TestBoxesReportOverServers(t *testing.T) {
	servers := startServers(t, "xizhimen", "dongzhimen")
	var log logtest.Buffer
	centre, _ := startCentre(t, func(cfg *central.Config) {
		cfg.LeafListen, cfg.Servers, cfg.Log = "", servers.servers, log.Logger()
		cfg.Fleet = fleet.Limits{Entries: 1 << 20, Lag: time.Hour, Settle: time.Nanosecond}
	})
	ops := servers.client(t)
	if _, err := ops.SetPolicy(t.Context(), gateway.DefaultPolicy(time.Now().Add(-time.Hour))); err != nil {
		t.Fatal(err)
	}
	wires := map[string]*wire{}
	for station, link := range servers.links {
		wires[station] = newWire(t)
		cfg := testConfig(t, servers.CentreURL(), wires[station])
		cfg.Station, cfg.LinkFile = station, link
		startBox(t, cfg, Options{ReportEvery: 25 * time.Millisecond, Log: log.Logger()})
		wires[station].lane(t, gateway.LaneAuto)
	}
	taps := uint64(0)
	tapped := func() {
		t.Helper()
		wires["xizhimen"].wants(t, "tunion:3104770000000000001", gateway.VerdictManual, gateway.R20)
		taps++
		at := centre.FeedNumber()
		knows(t, ops, at, "xizhimen", taps)
		knows(t, ops, at, "dongzhimen", 0)
	}
	tapped()
	for _, victim := range []func() int{servers.Leaf, func() int { return servers.Leader("CENTRE", replication.StreamStatus) }} {
		down := victim()
		servers.Stop(down)
		tapped()
		servers.Restart(down)
		for _, stream := range []string{central.StreamLedger, replication.StreamFeed, replication.StreamStatus} {
			servers.WaitCurrent(down, "CENTRE", stream)
		}
		tapped()
	}
	if page, err := ops.Fleet(t.Context()); err != nil || len(page.Stations) != len(wires) {
		t.Errorf("%d stations, %v", len(page.Stations), err)
	}
	for _, not := range []string{"passed over", "state=disagrees", "3104770"} {
		if strings.Contains(log.String(), not) {
			t.Errorf("the log tells of %q:\n%s", not, log.String())
		}
	}
}

// leafAddress is where boxes reach a server.
func (s *ownServers) leafAddress(i int) string {
	return strings.TrimPrefix(strings.Split(s.CentreURL(), ",")[i], "nats-leaf://")
}

// A box that has followed a centre on one machine follows it to three servers: it
// keeps its place in the same feed and loads nothing anew, also where it is connected
// to the servers before the feed is there.
func TestBoxFollowsMove(t *testing.T) {
	servers := startServers(t, "xizhimen")
	dir := filepath.Join(t.TempDir(), "central")
	road := newRoad(t)
	var log logtest.Buffer
	cfg := testConfig(t, road.url(), newWire(t))
	cfg.LinkFile = servers.links["xizhimen"]
	b := startBox(t, cfg, Options{Log: log.Logger(), ReportEvery: 25 * time.Millisecond})
	if !t.Run("on one machine", func(t *testing.T) {
		c, ops := startCentre(t, func(cfg *central.Config) { cfg.Dir, cfg.Link = dir, servers.oneMachine })
		road.lead(c.LeafAddr())
		b.reaches(done(t)(ops.SetPolicy(t.Context(), gateway.DefaultPolicy(time.Now().Add(-time.Hour)))))
		wantState(t, ops, "xizhimen", fleet.OK)
	}) {
		return
	}
	at := b.Position()
	road.lead(servers.leafAddress(0))
	connected := false
	_, err := central.Move(t.Context(), central.MoveConfig{Dir: dir, Servers: servers.servers, Progress: func(phase string, _, _ uint64) {
		if phase == "copy "+replication.StreamFeed && !connected {
			until(t, "the box is connected to the servers", b.feed.Connected)
			connected = true
		}
	}})
	if err != nil || !connected {
		t.Fatal(err, connected)
	}
	_, ops := startCentre(t, func(cfg *central.Config) { cfg.LeafListen, cfg.Servers = "", servers.servers })
	b.reaches(done(t)(ops.Bind(t.Context(), "tunion:3104770000000000002", "bob")))
	if now := b.Position(); now.Epoch != at.Epoch {
		t.Errorf("epoch %x, before %x", now.Epoch, at.Epoch)
	}
	if s := b.feed.Stats(); s.Reloads != 0 || s.Refused != 0 || s.Loading {
		t.Errorf("it was disturbed: %+v; log:\n%s", s, log.String())
	}
	wantState(t, ops, "xizhimen", fleet.OK)
}
