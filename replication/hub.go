package replication

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"gateline/internal/durable"
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
	// Link keeps strangers from LeafListen; nil = whoever reaches the address
	// may take himself for a box, so it has to be one of loopback.
	Link *HubLink
	// Clients keeps strangers from ClientListen; nil = whoever reaches the address
	// may give commands and take himself for any channel, so it has to be one of
	// loopback.
	Clients *HubClients
	// Log gets the server's warnings and errors; nil = slog.Default().
	Log *slog.Logger
}

// HubLink says whom a hub lets in as a box.
type HubLink struct {
	// TLS has the hub's certificate and demands one of the box.
	TLS *tls.Config
	// Stations are those that may connect, each with its key.
	Stations []StationKey
}

// HubClients says whom a hub lets in as a client.
type HubClients struct {
	// TLS has the hub's certificate and demands one of the client.
	TLS *tls.Config
	// Clients are those that may connect, each with its key. What one may do
	// follows from the name: ops, and what begins with "ops-", is the operator's
	// staff, every other the channel of that name.
	Clients []ClientKey
}

// ErrOpenLink reports that a hub would let everybody in from other machines.
var ErrOpenLink = errors.New("connections would come from other machines, and nobody would ask who they are")

// ErrMoved reports that the streams of a directory have been moved to servers of
// the operator's. A centre that went on with them would write another history.
var ErrMoved = errors.New("the streams have been moved to servers of the operator's")

// movedFile is the file, beside the lock, that says where they have been moved.
const movedFile = "moved"

// Hub is the centre's end: an embedded NATS server with JetStream, to which
// boxes connect as leaf nodes. Everything acknowledged has been synced to disk.
type Hub struct {
	srv        *server.Server
	dir        string
	lock       *os.File
	clientAddr string
	leafAddr   string
	secret     string // of userCentre, for this run only
	door       *doorkeeper

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
	opts := hubOptions(&cfg)
	client, clientErr := listenAddress("clients", cfg.ClientListen)
	leaf, leafErr := listenAddress("leaf nodes", cfg.LeafListen)
	if err := errors.Join(clientErr, leafErr); err != nil {
		return nil, fmt.Errorf("open the centre's server: %w", err)
	}
	if cfg.Link == nil && leaf.port != 0 && !OnLoopback(cfg.LeafListen) {
		return nil, fmt.Errorf("open the centre's server for leaf nodes: %w: listen on 127.0.0.1, or give the centre a link file and a list of stations (gateline link-key)", ErrOpenLink)
	}
	if cfg.Clients == nil && client.port != 0 && !OnLoopback(cfg.ClientListen) {
		return nil, fmt.Errorf("open the centre's server for clients: %w: listen on 127.0.0.1, or give the centre a link file and a list of clients (gateline link-key client)", ErrOpenLink)
	}
	opts.Host, opts.Port, opts.DontListen = client.host, client.port, client.port == 0
	opts.LeafNode.Host, opts.LeafNode.Port = leaf.host, leaf.port

	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open the centre's server: %w", err)
	}
	if err := checkMoved(cfg.Dir); err != nil {
		return nil, errors.Join(fmt.Errorf("open the centre's server: %w", err), lock.Close())
	}
	door := &doorkeeper{secret: secret}
	opts.CustomClientAuthentication = door
	srv, err := startServer(opts, &serverLog{log: cfg.Log}, func(srv *server.Server) error { return door.prepare(srv, &cfg) })
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the centre's server in %s (clients %q, leaf nodes %q): %w; check that the directory can be written and the addresses are free",
			cfg.Dir, cfg.ClientListen, cfg.LeafListen, err), lock.Close())
	}
	h := &Hub{srv: srv, dir: cfg.Dir, lock: lock, door: door, secret: secret}
	if client.port != 0 {
		h.clientAddr = net.JoinHostPort(client.shown(), strconv.Itoa(opts.Port))
	}
	if leaf.port != 0 {
		h.leafAddr = net.JoinHostPort(leaf.shown(), strconv.Itoa(opts.LeafNode.Port))
	}
	return h, nil
}

func hubOptions(cfg *HubConfig) *server.Options {
	opts := &server.Options{
		ServerName:         "gateline-centre",
		NoSigs:             true,
		AlwaysEnableNonce:  true,
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
	if clients := cfg.Clients; clients != nil {
		opts.TLSConfig = clients.TLS.Clone()
		opts.TLS, opts.TLSVerify = true, true
		opts.TLSTimeout = handshakeTimeout.Seconds()
	}
	if link := cfg.Link; link != nil {
		opts.LeafNode.TLSConfig = link.TLS.Clone()
		// Before the handshake neither end says anything.
		opts.LeafNode.TLSHandshakeFirst = true
		opts.LeafNode.TLSTimeout = handshakeTimeout.Seconds()
	}
	return opts
}

// SetStations replaces the stations that may connect. One that is not among them
// any more, or has another key, is disconnected at once. Only for a hub with a
// Link.
func (h *Hub) SetStations(stations []StationKey) error {
	if err := h.door.setStations(stations); err != nil {
		return fmt.Errorf("change the stations that may connect: %w; those of before still count", err)
	}
	return nil
}

// SetClients is SetStations for clients. Only for a hub with Clients.
func (h *Hub) SetClients(clients []ClientKey) error {
	if err := h.door.setClients(clients); err != nil {
		return fmt.Errorf("change the clients that may connect: %w; those of before still count", err)
	}
	return nil
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

// OnLoopback reports whether a listen address, host:port, is reached from this
// machine only.
func OnLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
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

// MarkMoved makes every later OpenHub of the directory fail with ErrMoved, also
// after a power cut. to says where the streams are now.
func (h *Hub) MarkMoved(to string) error {
	path := filepath.Join(h.dir, movedFile)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.WriteString(to + "\n")
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err == nil {
		err = durable.SyncDir(h.dir)
	}
	if err != nil {
		return fmt.Errorf("mark the directory of the streams %s as moved: %w; check the disk", h.dir, err)
	}
	return nil
}

func checkMoved(dir string) error {
	path := filepath.Join(dir, movedFile)
	to, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("see whether the streams have been moved: %w; check the owner of the directory", err)
	}
	return fmt.Errorf("%w, %s: start the centre with a configuration that names them under [nats]; what they have accepted since is not in %s, so remove the file %s only if that is nothing",
		ErrMoved, strings.TrimSpace(string(to)), dir, path)
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
