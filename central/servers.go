package central

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"gateline/internal/linkkey"
	"gateline/internal/tomlconf"
	"gateline/replication"
)

// Servers are NATS servers of the operator's that hold ledger and feed and let
// boxes in, instead of one within the centre's process.
type Servers struct {
	// URLs are their addresses, tls://host:port, at least one.
	URLs []string
	// Auth is how the centre proves who it is (linkkey.Link.NATSOptions).
	Auth []nats.Option
	// Replicas is how many servers keep a stream, 1, 3 or 5. It counts when the
	// streams are created.
	Replicas int
}

// MaxServers bounds the addresses of a centre's servers.
const MaxServers = 9

// ErrServers reports that Open did not find the servers able to serve: none can
// be reached, or too few of them to keep a stream. Trying again may help.
var ErrServers = errors.New("the centre's servers cannot serve now")

// serverPing is the time between two pings of a server; two unanswered ones end
// the connection, so that the centre goes on at another one within commitTimeout.
const serverPing = 3 * time.Second

// errNoPeers is what servers that have just been started say of a stream for which
// too few of them know each other yet.
const errNoPeers jetstream.ErrorCode = 10005

// openServer starts the server within the process, or finds those of the
// operator.
func (c *Central) openServer() error {
	if c.cfg.Servers != nil {
		c.connect = c.cfg.Servers.connect
		return nil
	}
	var err error
	c.hub, err = replication.OpenHub(replication.HubConfig{
		Dir: filepath.Join(c.cfg.Dir, "streams"), ClientListen: c.cfg.ClientListen, LeafListen: c.cfg.LeafListen, Link: c.cfg.Link, Clients: c.cfg.Clients, Log: c.cfg.Log,
	})
	if err != nil {
		return err
	}
	c.connect = c.hub.Connect
	return nil
}

// where names what holds ledger and feed.
func (cfg *Config) where() string {
	if cfg.Servers != nil {
		return strings.Join(cfg.Servers.URLs, ",")
	}
	return cfg.Dir
}

func (cfg *Config) replicas() int {
	if cfg.Servers != nil {
		return cfg.Servers.Replicas
	}
	return 1
}

// connect returns a connection that finds another server when one goes down, and
// never gives up.
func (s *Servers) connect(opts ...nats.Option) (*nats.Conn, error) {
	all := append([]nats.Option{
		nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond), nats.ReconnectJitter(250*time.Millisecond, 250*time.Millisecond),
		nats.PingInterval(serverPing), nats.MaxPingsOutstanding(2),
		// A server with an old list of clients is passed by.
		nats.IgnoreAuthErrorAbort(),
	}, s.Auth...)
	conn, err := nats.Connect(strings.Join(s.URLs, ","), append(all, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("%w: connect to %s: %w; see that they run, and that their accounts have the centre's key", ErrServers, strings.Join(s.URLs, ","), err)
	}
	return conn, nil
}

// report logs what becomes of a connection to servers of the operator's.
func report(log *slog.Logger) []nats.Option {
	return []nats.Option{
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("the connection to the centre's server is lost; another one is looked for", "cause", err)
			}
		}),
		nats.ReconnectHandler(func(conn *nats.Conn) {
			log.Info("connected to a server of the centre's again", "server", conn.ConnectedUrlRedacted())
		}),
	}
}

// whileConnected returns a context that is canceled also when conn loses its server:
// what was asked there is never answered. release ends it and returns when nothing
// watches conn any more.
func whileConnected(parent context.Context, conn *nats.Conn) (_ context.Context, release func()) {
	ctx, cancel := context.WithCancel(parent)
	lost := conn.StatusChanged(nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	if !conn.IsConnected() {
		cancel()
	}
	var watching sync.WaitGroup
	watching.Go(func() {
		for range lost { // until it is no listener any more
			cancel()
		}
	})
	return ctx, func() {
		conn.RemoveStatusListener(lost)
		watching.Wait()
		cancel()
	}
}

// serversError adds ErrServers where servers of the operator's did not answer, went
// down meanwhile, or said that they cannot yet. It is for what is done within
// whileConnected, which nobody else cancels.
func (cfg *Config) serversError(err error) error {
	var refused *jetstream.APIError
	waiting := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) ||
		errors.As(err, &refused) && (refused.Code == 503 || refused.ErrorCode == errNoPeers)
	if cfg.Servers == nil || !waiting || errors.Is(err, ErrServers) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrServers, err)
}

// lookFor looks for a stream.
func lookFor(ctx context.Context, js jetstream.JetStream, name string) (jetstream.Stream, error) {
	return replication.Ask(ctx, func(ctx context.Context) (jetstream.Stream, error) { return js.Stream(ctx, name) })
}

func (s *Servers) check() (faults []error) {
	if len(s.URLs) == 0 {
		faults = append(faults, errors.New("servers: missing, give their addresses"))
	}
	if s.Replicas != 1 && s.Replicas != 3 && s.Replicas != 5 {
		faults = append(faults, errors.New("servers: replicas are 1, 3 or 5"))
	}
	return faults
}

// parseServers reads the table [nats], before all others.
func parseServers(root tomlconf.Table, c *FileConfig) {
	table := root.Table("nats")
	alone := table.Has("link_file") || table.Has("replicas")
	table.Strings("servers", &c.Servers, MaxServers)
	for _, s := range c.Servers {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "tls" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || strings.Trim(u.Path, "/") != "" {
			table.Fault("servers", "an address is not of the form tls://host:port") // it may hold a password
		}
	}
	table.String("link_file", &c.LinkFile)
	table.Int("replicas", &c.Replicas, 1, 5)
	if c.Replicas == 2 || c.Replicas == 4 {
		table.Fault("replicas", "%d servers agree no better than %d: 1, 3 or 5", c.Replicas, c.Replicas-1)
	}
	if len(c.Servers) > 0 {
		checkPath(table, "link_file", c.LinkFile)
		c.OpsListen, c.BoxesListen = "", ""
	} else if alone {
		table.Fault("servers", "missing: give the addresses of the servers, or leave [nats] out")
	}
	table.End()
}

// ownOnly refuses keys that only the server within the process has a use for.
func ownOnly(t tomlconf.Table, c *FileConfig, keys ...string) {
	for _, key := range keys {
		if len(c.Servers) > 0 && t.Has(key) {
			t.Fault(key, "leave it out: the servers that [nats] names have this in their own configuration")
		}
	}
}

// ReadServers reads by what the centre is known to the servers of the operator's; it
// returns nil where the file names none.
func (c FileConfig) ReadServers() (*Servers, error) {
	if len(c.Servers) == 0 {
		return nil, nil
	}
	l, err := linkkey.Read(c.LinkFile)
	if err != nil {
		return nil, err
	}
	auth, err := l.NATSOptions()
	if err != nil {
		return nil, fmt.Errorf("link file %s: %w", c.LinkFile, err)
	}
	return &Servers{URLs: c.Servers, Auth: auth, Replicas: c.Replicas}, nil
}
