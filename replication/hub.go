package replication

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// hubMemory bounds JetStream's memory streams, of which the centre has none.
const hubMemory = 16 << 20

// HubConfig says where the centre's server keeps its streams and listens.
type HubConfig struct {
	// Dir is the directory of the streams. It is made if it does not exist;
	// one process at a time may use it.
	Dir string
	// ClientListen and LeafListen are host:port; port 0 lets the system
	// choose, an empty string means not to listen. An empty host is every
	// address of the machine.
	ClientListen string
	LeafListen   string
	// Log gets the server's warnings and errors; nil = slog.Default().
	Log *slog.Logger
}

// Hub is the centre's end: an embedded NATS server with JetStream, to which
// boxes connect as leaf nodes. Everything acknowledged has been synced to disk.
type Hub struct {
	srv        *server.Server
	lock       *os.File
	clientAddr string
	leafAddr   string
	secret     string // of userCentre, for this run only

	closeOnce sync.Once
	closeErr  error
}

// OpenHub starts the server and returns when it takes connections. It blocks
// as long as the recovery of the streams takes.
func OpenHub(cfg HubConfig) (*Hub, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	secret := rand.Text()
	opts := hubOptions(&cfg, secret)
	client, clientErr := listenAddress("clients", cfg.ClientListen)
	leaf, leafErr := listenAddress("leaf nodes", cfg.LeafListen)
	if err := errors.Join(clientErr, leafErr); err != nil {
		return nil, fmt.Errorf("open the centre's server: %w", err)
	}
	opts.Host, opts.Port, opts.DontListen = client.host, client.port, client.port == 0
	opts.LeafNode.Host, opts.LeafNode.Port = leaf.host, leaf.port

	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open the centre's server: %w", err)
	}
	srv, err := startServer(opts, &serverLog{log: cfg.Log})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the centre's server in %s (clients %q, leaf nodes %q): %w; check that the directory can be written and the addresses are free",
			cfg.Dir, cfg.ClientListen, cfg.LeafListen, err), lock.Close())
	}
	h := &Hub{srv: srv, lock: lock, secret: secret}
	if client.port != 0 {
		h.clientAddr = net.JoinHostPort(client.shown(), strconv.Itoa(opts.Port))
	}
	if leaf.port != 0 {
		h.leafAddr = net.JoinHostPort(leaf.shown(), strconv.Itoa(opts.LeafNode.Port))
	}
	return h, nil
}

// Users of the hub. Until links are authenticated these keep nobody out; they
// keep everybody to his own subjects, because a stray message in the feed or
// the ledger could be neither used nor deleted.
const (
	userCentre = "centre" // connections inside the process; all subjects
	userBox    = "box"    // leaf nodes
	userOps    = "ops"    // clients that give no name
)

func hubUsers(secret string) []*server.User {
	allow := func(publish, subscribe []string) *server.Permissions {
		return &server.Permissions{Publish: &server.SubjectPermission{Allow: publish}, Subscribe: &server.SubjectPermission{Allow: subscribe}}
	}
	return []*server.User{
		{Username: userCentre, Password: secret},
		{Username: userBox, Permissions: allow([]string{SubjectFetch}, []string{SubjectLive, InboxPrefix + ">"})},
		{Username: userOps, Permissions: allow([]string{SubjectOps + ">", "$SRV.>"}, []string{"_INBOX.>"})},
	}
}

func hubOptions(cfg *HubConfig, secret string) *server.Options {
	return &server.Options{
		Users:              hubUsers(secret),
		NoAuthUser:         userOps,
		ServerName:         "gateline-centre",
		NoSigs:             true,
		JetStream:          true,
		JetStreamDomain:    Domain,
		JetStreamMaxMemory: hubMemory,
		StoreDir:           cfg.Dir,
		SyncAlways:         true,
		PingInterval:       pingInterval,
		MaxPingsOut:        maxPingsOut,
		LeafNode: server.LeafNodeOpts{
			NoAdvertise: true,
			// A compressor costs the hub 2.3 MB a box.
			Compression: server.CompressionOpts{Mode: server.CompressionOff},
		},
	}
}

// address is a place to listen in the server's terms: port 0 is none, -1 lets
// the system choose.
type address struct {
	host string
	port int
}

// shown returns the host under which a process on this machine can dial.
func (a address) shown() string {
	if ip := net.ParseIP(a.host); a.host == "" || ip != nil && ip.IsUnspecified() {
		return "127.0.0.1"
	}
	return a.host
}

// listenAddress reads host:port and tries it, because the server's own report
// of a port in use does not stop it.
func listenAddress(who, text string) (address, error) {
	if text == "" {
		return address{}, nil
	}
	host, portText, err := net.SplitHostPort(text)
	port, portErr := strconv.ParseUint(portText, 10, 16)
	if err != nil || portErr != nil {
		return address{}, fmt.Errorf("listen address %q for %s is not host:port; give for instance 127.0.0.1:4222", text, who)
	}
	probe, err := net.Listen("tcp", text)
	if err != nil {
		return address{}, fmt.Errorf("listen on %s for %s: %w; stop what uses the address or configure another", text, who, err)
	}
	if err := probe.Close(); err != nil {
		return address{}, fmt.Errorf("listen on %s for %s: %w", text, who, err)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	if port == 0 {
		return address{host, -1}, nil
	}
	return address{host, int(port)}, nil
}

// lockDir makes dir and holds it for this process: JetStream itself does not
// notice a second server in its directory.
func lockDir(dir string) (*os.File, error) {
	if dir == "" {
		return nil, errors.New("no directory given for the streams; configure one")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the streams: %w; check its owner and the disk", err)
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		hint := "check the disk"
		if errors.Is(err, fs.ErrPermission) {
			hint = "check the owner of the directory"
		}
		return nil, fmt.Errorf("take the directory of the streams: %w; %s", err, hint)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("the directory of the streams %s is in use by another process (%w); stop that one first", dir, err), f.Close())
	}
	return f, nil
}

// Connect returns a client connection inside the process; the caller closes it.
func (h *Hub) Connect(opts ...nats.Option) (*nats.Conn, error) {
	all := append([]nats.Option{nats.InProcessServer(h.srv), nats.Name("gateline-centre"), nats.UserInfo(userCentre, h.secret)}, opts...)
	nc, err := nats.Connect("", all...)
	if err != nil {
		return nil, fmt.Errorf("connect to the centre's own server: %w", err)
	}
	return nc, nil
}

// ClientAddr returns the host:port clients can dial on this machine, with the
// port actually bound; "" if the hub does not listen for clients.
func (h *Hub) ClientAddr() string { return h.clientAddr }

// LeafAddr is ClientAddr for leaf nodes.
func (h *Hub) LeafAddr() string { return h.leafAddr }

// Close stops the server and frees the directory. It is idempotent.
func (h *Hub) Close() error {
	h.closeOnce.Do(func() {
		if err := stopServer(h.srv); err != nil {
			h.closeErr = fmt.Errorf("close the centre's server: %w", err)
		}
		// The lock goes last, when nothing writes there any more.
		h.closeErr = errors.Join(h.closeErr, h.lock.Close())
	})
	return h.closeErr
}
