package central

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"golang.org/x/sync/errgroup"

	"gateline/central/fleet"
	"gateline/central/ledgercopy"
	"gateline/central/rules"
	"gateline/gateway"
	"gateline/internal/httpserve"
	"gateline/replication"
)

// Config configures a Central.
type Config struct {
	// Dir holds ledger, feed and the ledger's copy, with Servers the copy alone; it
	// is created where it does not exist. One centre at a time uses it.
	Dir string
	// ClientListen is the host:port for NATS clients (port 0 = choose; empty =
	// none), LeafListen that for boxes.
	ClientListen, LeafListen string
	// Link says which boxes may connect; nil = all of this machine.
	Link *replication.HubLink
	// Clients says which clients may connect to ClientListen; nil = all of this
	// machine, with every right.
	Clients *replication.HubClients
	// Servers hold ledger and feed instead of Dir, and have listeners and stations
	// in a configuration of their own; nil = a server within this process.
	Servers *Servers
	// TokenKey is the city's key. The same key must be given at every start.
	TokenKey gateway.TokenKey
	// FeedKeys are the secrets with which the feed is signed, at least one: the
	// one in force, and the next ones, to which a command can change.
	FeedKeys []gateway.FeedSecret
	// Rules are what may be upgraded by whom; nil = rules.DefaultRules.
	Rules *rules.Rules
	// Verifier says whether the persons of requests were identified; nil = their
	// channels say so themselves.
	Verifier Verifier
	// Log receives one line per event an operator acts on; nil = none.
	Log *slog.Logger
	// Now is the centre's clock; nil = time.Now.
	Now func() time.Time
	// AcceptClock confirms the clock of a centre that was off for longer than 30
	// days (ErrClock).
	AcceptClock bool
	// VerifyLedger compares every message of the ledger with its copy before the
	// centre serves, and not only some.
	VerifyLedger bool
	// StatusListen is the host:port of the metrics (port 0 = choose; empty =
	// none).
	StatusListen string
	// Fleet says when a station is worth an alarm; what is zero takes its
	// default.
	Fleet fleet.Limits
	// Heartbeat is the longest time without a feed entry; 0 = 1 s.
	Heartbeat time.Duration
	// ShardCycle is how long the centre takes to write a snapshot of every
	// shard, MinShardCycle … MaxShardCycle; 0 = DefaultShardCycle.
	ShardCycle time.Duration
	// FeedKeep is how long the feed keeps its entries, 0 = everything, otherwise
	// at least the shard cycle and ToleratedCut.
	FeedKeep time.Duration
	// QueueSize is how many commands may wait; those above are refused with
	// E114. 0 = 4096.
	QueueSize int
}

func (cfg Config) withDefaults() (Config, error) {
	var faults []error
	if cfg.Servers != nil {
		faults = append(faults, cfg.Servers.check()...)
	}
	if cfg.Dir == "" {
		faults = append(faults, errors.New("dir: missing, give the directory of the centre's ledger and feed, or of the ledger's copy where servers hold the two"))
	}
	if cfg.TokenKey == (gateway.TokenKey{}) {
		faults = append(faults, errors.New("token key: missing, give 64 hexadecimal digits that boxes have too"))
	}
	if len(cfg.FeedKeys) == 0 {
		faults = append(faults, errors.New("feed keys: missing, give the secret with which the feed is signed"))
	}
	if cfg.Heartbeat < 0 || cfg.QueueSize < 0 {
		faults = append(faults, errors.New("heartbeat, queue size: below zero, leave them out for the defaults"))
	}
	cfg.ShardCycle = cmp.Or(cfg.ShardCycle, DefaultShardCycle)
	if cfg.ShardCycle < MinShardCycle || cfg.ShardCycle > MaxShardCycle {
		faults = append(faults, fmt.Errorf("shard cycle: %v is not between %v and %v", cfg.ShardCycle, MinShardCycle, MaxShardCycle))
	}
	if err := checkKeep(cfg.FeedKeep, cfg.ShardCycle); err != nil {
		faults = append(faults, fmt.Errorf("keep of the feed: %w", err))
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rules == nil {
		cfg.Rules = rules.DefaultRules()
	}
	faults = append(faults, cfg.Rules.Validate())
	cfg.Heartbeat = cmp.Or(cfg.Heartbeat, time.Second)
	cfg.QueueSize = cmp.Or(cfg.QueueSize, 4096)
	return cfg, errors.Join(faults...)
}

// openTimeout bounds what Open waits for the embedded server.
const openTimeout = 30 * time.Second

// Central is the centre: hub, registry, ledger, feed, the services that reach them,
// and what the stations report.
type Central struct {
	cfg     Config
	hub     *replication.Hub // nil = Config.Servers
	connect func(...nats.Option) (*nats.Conn, error)
	conn    *nats.Conn
	copy    *ledgercopy.Copy
	service micro.Service
	// registry is the service for channels.
	registry *registry
	writer   *writer
	queue    *queue
	fleet    *fleetWatch
	status   net.Listener // of the metrics; nil = none

	runOnce sync.Once
	// done is closed when Run has returned or can no longer start; usable is
	// set before that and says that the state is complete and safe.
	done   chan struct{}
	usable bool

	closeOnce sync.Once
	closeErr  error
}

// Open starts the hub, which locks the directory, or connects to Config.Servers,
// and opens ledger, feed and ops service. The error wraps ErrServers where those
// cannot serve now. Commands that arrive before Run wait in the queue.
func Open(cfg Config) (*Central, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open the centre: %w", err)
	}
	c := &Central{cfg: cfg, queue: newQueue(cfg.QueueSize), done: make(chan struct{})}
	if err := c.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the centre in %s: %w", cfg.where(), err), c.Close())
	}
	cfg.Log.Info("centre open", "streams", cfg.where(), "clients", c.ClientAddr(), "leafs", c.LeafAddr(), "metrics", c.StatusAddr(), "feed_number", c.FeedNumber(), "feed_key", c.writer.feed.Key().ID())
	return c, nil
}

func (c *Central) open() error {
	var err error
	if err = c.openServer(); err != nil {
		return err
	}
	if c.conn, err = c.connect(append(report(c.cfg.Log), nats.Name("gateline centre"))...); err != nil {
		return err
	}
	js, err := jetstream.New(c.conn)
	if err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	// Every checksum of the copy is read, which has no part in the server's time.
	if c.copy, err = openCopy(js, c.cfg); err != nil {
		return c.cfg.serversError(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	ctx, release := whileConnected(ctx, c.conn)
	defer release()
	if c.writer, err = openWriter(ctx, js, c.cfg, c.copy); err != nil {
		return c.cfg.serversError(err)
	}
	if c.fleet, err = openFleetWatch(ctx, js, c.cfg, c.writer.feed); err != nil {
		return c.cfg.serversError(err)
	}
	if c.cfg.StatusListen != "" {
		if c.status, err = listenStatus(ctx, c.cfg.StatusListen); err != nil {
			return err
		}
	}
	if c.service, err = openService(c.conn, c.cfg, c.queue); err != nil {
		return err
	}
	if c.registry, err = openRegistry(c.conn, c.cfg, c.queue); err != nil {
		return err
	}
	return addDirect(c.service, c.conn, c.directEndpoints())
}

func openWriter(ctx context.Context, js jetstream.JetStream, cfg Config, copied secondCopy) (*writer, error) {
	l, err := openLedger(ctx, js, cfg.replicas(), copied)
	if err != nil {
		return nil, err
	}
	publisher, err := replication.OpenPublisher(ctx, js, replication.PublisherConfig{Replicas: cfg.replicas(), Keys: cfg.FeedKeys, MaxAge: cfg.FeedKeep, Log: cfg.Log})
	if err != nil {
		return nil, err
	}
	w := &writer{state: newState(cfg.Rules), ledger: l, kept: &keeper{copy: copied, log: cfg.Log, now: cfg.Now}, feed: publisher, check: newKeyCheck(cfg.TokenKey), now: cfg.Now, log: cfg.Log, clock: clockGuard{accepted: cfg.AcceptClock}}
	w.number.Store(publisher.Last().Number)
	return w, nil
}

// errRunTwice refuses a second Run: the state belongs to the first.
var errRunTwice = errors.New("the centre has been run already; close it and open it again")

// Run compares the ledger with its copy, rebuilds the state, publishes what a centre killed
// before had not, and then serves commands and heartbeats until ctx ends, when
// it returns nil, or until ledger or feed fail or are taken over (ErrTakenOver).
// After an error the state is of no use: close the centre and open it again.
func (c *Central) Run(ctx context.Context) error {
	err := errRunTwice
	c.runOnce.Do(func() {
		err = c.run(ctx)
		close(c.done)
		c.queue.close()
	})
	return err
}

func (c *Central) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.runWriter(ctx) })
	g.Go(func() error { c.fleet.run(ctx); return nil })
	if c.status != nil {
		g.Go(func() error {
			if err := httpserve.Serve(ctx, c.status, metricsHandler(c.fleet, c.writer.kept.behind.Load)); ctx.Err() == nil {
				return err
			}
			return nil
		})
	}
	return g.Wait()
}

func (c *Central) runWriter(ctx context.Context) error {
	err := c.writer.replay(ctx, c.cfg.VerifyLedger)
	if err != nil && ctx.Err() != nil {
		return nil // told to stop before it was ready
	}
	if err == nil {
		err = removeCompacted(c.cfg.Dir) // nothing has need of it any more
	}
	if err != nil {
		return fmt.Errorf("run the centre in %s: %w", c.cfg.where(), err)
	}
	if err := c.writer.serve(ctx, c.queue, c.cfg.Heartbeat, c.cfg.ShardCycle); err != nil {
		return fmt.Errorf("run the centre in %s: %w", c.cfg.where(), err)
	}
	c.usable = true
	return nil
}

// Close stops service and hub and releases the directory. Run must have
// returned, or never have been called. It may be called again.
func (c *Central) Close() error {
	c.closeOnce.Do(func() { c.closeErr = c.close() })
	return c.closeErr
}

func (c *Central) close() error {
	c.runOnce.Do(func() {
		close(c.done)
		c.queue.close()
	})
	var faults []error
	if c.service != nil {
		faults = append(faults, c.service.Stop())
	}
	if c.registry != nil {
		faults = append(faults, c.registry.close())
	}
	if c.conn != nil {
		faults = append(faults, c.conn.FlushTimeout(time.Second)) // the last answers
		c.conn.Close()
	}
	if c.status != nil {
		faults = append(faults, httpserve.Close(c.status))
	}
	if c.copy != nil {
		faults = append(faults, c.copy.Close())
	}
	if c.hub != nil {
		faults = append(faults, c.hub.Close())
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("close the centre in %s: %w", c.cfg.where(), err)
	}
	return nil
}

// ClientAddr returns the host:port bound for clients, "" if none.
func (c *Central) ClientAddr() string {
	if c.hub == nil {
		return ""
	}
	return c.hub.ClientAddr()
}

// LeafAddr returns the host:port bound for boxes, "" if none.
func (c *Central) LeafAddr() string {
	if c.hub == nil {
		return ""
	}
	return c.hub.LeafAddr()
}

// StatusAddr returns the host:port of the metrics, "" if none.
func (c *Central) StatusAddr() string {
	if c.status == nil {
		return ""
	}
	return c.status.Addr().String()
}

// Connect returns a connection of the centre's own, for a Client in the same
// process. The caller closes it before the centre is closed.
func (c *Central) Connect(opts ...nats.Option) (*nats.Conn, error) { return c.connect(opts...) }

// SetStations replaces the boxes that may connect; one that is not among them any
// more is disconnected. Only where Config.Link was given.
func (c *Central) SetStations(stations []replication.StationKey) error {
	return c.hub.SetStations(stations)
}

// SetClients is SetStations for clients. Only where Config.Clients was given.
func (c *Central) SetClients(clients []replication.ClientKey) error {
	return c.hub.SetClients(clients)
}

// FeedNumber returns the number of the last feed entry.
func (c *Central) FeedNumber() uint64 { return c.writer.number.Load() }

// errNoRecords is what Records returns once the state is of no use.
var errNoRecords = errors.New("the centre's records: the centre has failed or was never run; open it again and run it")

// Records calls fn, in ascending order of tokens, for every record that boxes
// should hold, as it stands at one moment of the feed; it stops at the first
// error and returns it. It waits for Run to take the copy; fn runs on the
// caller's goroutine. After Run has ended without an error it still answers.
func (c *Central) Records(fn func(gateway.Token, gateway.Record) error) error {
	all, err := c.snapshot()
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b gateway.Change) int { return cmp.Compare(a.Token, b.Token) })
	for _, r := range all {
		if err := fn(r.Token, r.Record); err != nil {
			return err
		}
	}
	return nil
}

func (c *Central) snapshot() ([]gateway.Change, error) {
	reply := make(chan []gateway.Change, 1)
	select {
	case c.queue.snapshots <- reply:
		return <-reply, nil
	case <-c.done:
	}
	if !c.usable {
		return nil, errNoRecords
	}
	return c.writer.state.records(), nil
}
