package central

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"gateline/internal/clustertest"
	"gateline/internal/linkkey"
	"gateline/internal/logtest"
	"gateline/replication"
)

// onServers returns the configuration of a centre on three servers, and a client's
// connection options.
func onServers(t testing.TB, log *logtest.Buffer) (*clustertest.Cluster, Config, []nats.Option) {
	t.Helper()
	authority, err := linkkey.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	client := func(name string) ([]nats.Option, replication.ClientKey) {
		file, public, err := authority.Client(name)
		if err != nil {
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
	accounts, err := replication.AccountsConf(nil, centre, []replication.ClientKey{opsKey})
	if err != nil {
		t.Fatal(err)
	}
	cluster := clustertest.Start(t, "../docs/examples/cluster", authority, accounts)
	cfg := testConfig(t.TempDir(), log)
	cfg.Servers = &Servers{URLs: cluster.URLs(), Auth: auth, Replicas: 3}
	quiet := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}) // what is forbidden is asked for
	return cluster, cfg, append(ops, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), quiet)
}

// A centre on three servers goes on when the leader of its ledger goes, and with it
// the server that it and a client are connected to. Nothing that was accepted is lost
// or comes twice, and of two centres one shuts the other out.
func TestCentreOnServers(t *testing.T) {
	log := &logtest.Buffer{}
	cluster, cfg, auth := onServers(t, log)
	c := start(t, cfg)
	conn, err := nats.Connect(strings.Join(cluster.URLs(), ","), auth...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ops := NewClient(conn)
	bind := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			until(t, "a command is accepted", func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				_, err := ops.Bind(ctx, account(i), "ann")
				return err == nil // a caller asks again; it does no harm
			})
		}
	}
	bind(0, 5)
	js, err := jetstream.New(c.Client.conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{StreamLedger, replication.StreamFeed} {
		stream, err := js.Stream(t.Context(), name)
		if err != nil || stream.CachedInfo().Config.Replicas != 3 {
			t.Errorf("stream %s: %v", name, err)
		}
	}
	leader := cluster.Leader("CENTRE", StreamLedger)
	cluster.Stop(leader)
	bind(5, 10)
	cluster.Restart(leader)
	cluster.WaitCurrent(leader, "CENTRE", StreamLedger)
	if n := len(c.held()); n != 10 {
		t.Errorf("%d cards bound, not 10", n)
	}
	c.checkFeed()
	// Those who give commands reach nothing else.
	if _, err := conn.Request("$JS.API.STREAM.INFO.LEDGER", nil, 200*time.Millisecond); err == nil {
		t.Error("a client reads the ledger")
	}

	// Two at once: one shuts the other out, whichever publishes first.
	other := cfg
	other.Dir = t.TempDir() // on another machine
	second := start(t, other)
	until(t, "one of two centres has ended", func() bool { return len(c.ended)+len(second.ended) > 0 })
	taken := 0
	for _, r := range []*running{c, second} {
		if err := r.stop(); errors.Is(err, ErrTakenOver) {
			taken++
		} else if err != nil {
			t.Error(err)
		}
	}
	if taken == 0 {
		t.Error("no centre was shut out")
	}
	third := start(t, cfg)
	bind(10, 12)
	if n := len(third.held()); n != 12 {
		t.Errorf("%d cards bound, not 12", n)
	}
	third.checkFeed()
}

func TestServersAreNotThere(t *testing.T) {
	cfg := testConfig(t.TempDir(), &logtest.Buffer{})
	cfg.Servers = &Servers{URLs: []string{"tls://127.0.0.1:1"}, Replicas: 3}
	if _, err := Open(cfg); !errors.Is(err, ErrServers) || !strings.Contains(err.Error(), "tls://127.0.0.1:1") {
		t.Errorf("%v", err)
	}
	cfg.Servers = &Servers{Replicas: 2}
	_, err := Open(cfg)
	for _, want := range []string{"servers: missing", "replicas are 1, 3 or 5"} {
		if err == nil || errors.Is(err, ErrServers) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}
