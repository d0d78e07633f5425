package replication

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"gateline/gateway"
)

// Store is what a Box applies the feed to. The Box calls it from one goroutine.
type Store interface {
	// Position returns the place in the feed the store is at.
	Position() gateway.Position
	// Usable reports whether the store has ever been complete.
	Usable() bool
	// Keys returns the terms of the feed's keys as the last update that had any
	// gave them, none where Position is zero. The caller does not change them.
	Keys() []gateway.KeyTerm
	// ApplyAll makes consecutive updates durable, each together with its position
	// all or nothing, and returns then. It must not keep their Changes. Where it
	// returns an error, Position says which of them it has taken; a Box calls it
	// again with the others until it returns nil. A change of a shard that is not
	// loaded, or whose mark is of the update's epoch and has at least its number,
	// is passed over. The first update of an empty store, if it is entry 1, makes
	// every shard loaded, at number 0. One that purges empties every shard, loaded
	// from then on at its number, except those with a higher one, which are not
	// loaded any more.
	ApplyAll(updates []gateway.Update) error
	// Marks returns what the store holds of each of the gateway.Shards shards;
	// the caller may change the slice.
	Marks() []gateway.ShardMark
	// Load replaces whole shards, as gateway.Load says, and is durable when it
	// returns. It must not keep the records. A Box calls it again with the same
	// load until it returns nil; each shard is replaced whole or not at all.
	Load(l gateway.Load) error
	// Sum returns the sum of a loaded shard as it is stored. Where it returns an
	// error, the shard counts as damaged and is loaded again.
	Sum(id gateway.ShardID) (gateway.ShardSum, error)
	// Erase erases every record as an update that purges does, and leaves position,
	// schedule and keys as they are and every shard not loaded. What of e is not zero
	// replaces what Erased returns. With a Sunset the store rests until Wake: an update
	// that purges leaves no shard loaded either. Both are durable when they return.
	Erase(e gateway.Erasure) error
	Wake() error
	// Erased returns why the records were erased, the zero Erasure if they never were.
	Erased() gateway.Erasure
}

// BoxConfig configures a Box. What is zero takes the default given with it.
type BoxConfig struct {
	// Station is the name of the box's station (gateway.ValidStation). Two
	// boxes of one name push each other off the centre.
	Station string
	// CentreURL is nats-leaf://host:port; without a port, 7422. Several with
	// commas between them are servers of one centre: the box is connected to one
	// of them and goes to another when that is lost.
	CentreURL string
	// Link is what the box is let in by; nil where the centre lets everybody
	// in that reaches it, which it does on its own machine only.
	Link *BoxLink
	// Store is what the feed is applied to.
	Store Store
	// Keys are the centre's public keys: the one that signs entry 1 of the
	// feed, and others that are in force later, if any; at least one.
	Keys []gateway.FeedKey
	// Log is for what an operator acts on; nil = slog.Default().
	Log *slog.Logger
	// OnApplied, if not nil, is called for each update that ApplyAll has taken, and
	// after each Load that moved the position, then without Changes. It is called on the goroutine that
	// applies: the feed waits for it. It must not keep Changes.
	OnApplied func(gateway.Update)
	// Ended, if not nil, returns the sunset of the policy in force where that is certain
	// to have passed, else the zero Time. While it has, the box holds no record: it
	// erases them, with or without a link, and follows the feed for what else that
	// brings (IMP-11). It is called each 0.1 s on the goroutine that applies.
	Ended func() time.Time

	// PollInterval is the time between two questions for missed entries while
	// nothing seems to be wrong (5 s).
	PollInterval time.Duration
	// QuietAfter is how long nothing is heard before the box asks (3 s).
	QuietAfter time.Duration
	// DeadAfter is how long nothing is heard over a link that is up until it is
	// broken and made anew (8 s).
	DeadAfter time.Duration
	// PingInterval is the time between two pings of the link to the centre;
	// two unanswered ones end it (10 s).
	PingInterval time.Duration
	// ReconnectInterval is the pause before the link is tried again; the
	// server adds up to as much again at random (1 s).
	ReconnectInterval time.Duration
	// FetchTimeout is how long an answer to a fetch may pause (5 s).
	FetchTimeout time.Duration
	// WindowBytes bounds the answer to one fetch; a thin link is shared with
	// live entries, so a small window keeps those quick (256 kB). An answer
	// may be longer by one entry.
	WindowBytes int
	// Now is the box's clock, for measuring pauses only (time.Now).
	Now func() time.Time
}

// BoxLink is what a box proves to the centre who it is with, and what it knows
// the centre by.
type BoxLink struct {
	// TLS has the box's certificate and says which centre's is right.
	TLS *tls.Config
	// Seed is that of the station's nkey (SU…), a secret.
	Seed string
}

func (c *BoxConfig) setDefaults() {
	duration := func(d *time.Duration, fallback time.Duration) {
		if *d <= 0 {
			*d = fallback
		}
	}
	duration(&c.PollInterval, 5*time.Second)
	duration(&c.QuietAfter, 3*time.Second)
	duration(&c.DeadAfter, 8*time.Second)
	duration(&c.PingInterval, pingInterval)
	duration(&c.ReconnectInterval, time.Second)
	duration(&c.FetchTimeout, 5*time.Second)
	if c.WindowBytes <= 0 {
		c.WindowBytes = 256 << 10
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}

// Stats is a snapshot of what a Box has done since it was opened.
type Stats struct {
	// Connected says whether the link to the centre is up.
	Connected bool
	// Position is the place in the feed of the last update applied.
	Position gateway.Position
	// LastHeard is when the centre was last heard, an entry or an answer; the
	// zero Time if never.
	LastHeard time.Time

	Applied     uint64 // entries applied
	Repeats     uint64 // entries that had been applied before
	Gaps        uint64 // live entries that showed that others are missing
	Refused     uint64 // entries and answers that do not continue our history
	Fetches     uint64 // questions for missed entries
	ApplyErrors uint64 // attempts to apply or load that failed and were repeated

	// Loading says that shards are being loaded: ShardsLoaded so far out of
	// ShardsToLoad. LoadedBytes are those of all snapshots since the start.
	Loading                    bool
	ShardsLoaded, ShardsToLoad uint64
	LoadedBytes                uint64
	Reloads                    uint64 // loads of all shards into a box that had data
	// Verified, Mismatches and Repairs count checkpoints that agreed with the
	// store, those that did not, and the shards mended by loading them again.
	Verified, Mismatches, Repairs uint64
	// Differ is how many shards differed when they were last compared, and could
	// not be mended.
	Differ uint64
	// LastRound is when all shards had agreed since the round before; the zero
	// Time if that has not been yet.
	LastRound time.Time
}

// counters holds Stats for concurrent reading; the follower's goroutine writes.
type counters struct {
	position  atomic.Pointer[gateway.Position]
	lastHeard atomic.Pointer[time.Time]
	lastRound atomic.Pointer[time.Time]

	applied, repeats, gaps, refused, fetches, applyErrors atomic.Uint64

	loading                                                                                 atomic.Bool
	shardsLoaded, shardsToLoad, loadedBytes, reloads, verified, mismatches, repairs, differ atomic.Uint64
}

// Box is the box's end of the feed: an embedded NATS server that connects to
// the centre as a leaf node, and the goroutine of Run that follows the feed.
type Box struct {
	cfg    BoxConfig
	srv    *server.Server
	srvLog *serverLog
	stats  counters

	running   atomic.Bool
	closed    atomic.Bool
	closeOnce sync.Once
	closeErr  error
}

// OpenBox starts the embedded server. It does not wait for the centre and
// succeeds when that is not there; a wrong configuration is reported at once
// and whole.
func OpenBox(cfg BoxConfig) (*Box, error) {
	cfg.setDefaults()
	remotes, urlErr := parseCentreURLs(cfg.CentreURL)
	var storeErr, keysErr error
	if cfg.Store == nil {
		storeErr = errors.New("no store given")
	}
	if len(cfg.Keys) == 0 {
		keysErr = errors.New("no public key of the centre given; without one nothing it says can be believed")
	}
	if err := errors.Join(gateway.ValidStation(cfg.Station), urlErr, storeErr, keysErr); err != nil {
		return nil, fmt.Errorf("open the box's link to the centre: %w", err)
	}
	b := &Box{cfg: cfg, srvLog: &serverLog{log: cfg.Log, demote: true}}
	at := cfg.Store.Position()
	b.stats.position.Store(&at)
	srv, err := startServer(boxOptions(&cfg, remotes), b.srvLog, nil)
	if err != nil {
		return nil, fmt.Errorf("open the box's link to the centre: start the embedded server: %w; this is not about the link, report it with the log", err)
	}
	b.srv = srv
	return b, nil
}

func boxOptions(cfg *BoxConfig, centre []*url.URL) *server.Options {
	off := server.CompressionOpts{Mode: server.CompressionOff}
	remote := &server.RemoteLeafOpts{
		URLs:        centre,
		Compression: off,
		// On a slow link the default of 1 s fails for ever.
		DialTimeout:      handshakeTimeout,
		FirstInfoTimeout: handshakeTimeout,
		// Without it a leaf bypasses the configured address.
		IgnoreDiscoveredServers: true,
	}
	if link := cfg.Link; link != nil {
		remote.TLS, remote.TLSConfig, remote.Nkey = true, link.TLS.Clone(), link.Seed
		remote.TLSHandshakeFirst, remote.TLSTimeout = true, handshakeTimeout.Seconds()
	} else {
		remote.URLs = nil
		for _, u := range centre {
			named := *u
			named.User = url.User(userBox) // no secret
			remote.URLs = append(remote.URLs, &named)
		}
	}
	return &server.Options{
		ServerName: "box-" + cfg.Station,
		NoSigs:     true,
		DontListen: true,
		// A leaf node without an account of its own needs no system account.
		NoSystemAccount: true,
		PingInterval:    cfg.PingInterval,
		MaxPingsOut:     maxPingsOut,
		LeafNode: server.LeafNodeOpts{
			ReconnectInterval: cfg.ReconnectInterval,
			Compression:       off,
			Remotes:           []*server.RemoteLeafOpts{remote},
		},
	}
}

// Connected reports whether the link to the centre is up.
func (b *Box) Connected() bool { return b.srv.NumLeafNodes() > 0 }

// Stats returns what the box has done so far. It may be called at any time.
func (b *Box) Stats() Stats {
	s := Stats{
		Connected:   b.Connected(),
		Position:    *b.stats.position.Load(),
		Applied:     b.stats.applied.Load(),
		Repeats:     b.stats.repeats.Load(),
		Gaps:        b.stats.gaps.Load(),
		Refused:     b.stats.refused.Load(),
		Fetches:     b.stats.fetches.Load(),
		ApplyErrors: b.stats.applyErrors.Load(),

		Loading:      b.stats.loading.Load(),
		ShardsLoaded: b.stats.shardsLoaded.Load(), ShardsToLoad: b.stats.shardsToLoad.Load(),
		LoadedBytes: b.stats.loadedBytes.Load(), Reloads: b.stats.reloads.Load(),
		Verified: b.stats.verified.Load(), Mismatches: b.stats.mismatches.Load(), Repairs: b.stats.repairs.Load(),
		Differ: b.stats.differ.Load(),
	}
	if t := b.stats.lastRound.Load(); t != nil {
		s.LastRound = *t
	}
	if t := b.stats.lastHeard.Load(); t != nil {
		s.LastHeard = *t
	}
	return s
}

// Run follows the feed until ctx is done and then returns nil. An error means
// that the embedded server is gone; a link that is down, an entry that is
// refused and a store that cannot write are none: they are logged and tried
// again. Run is called once.
func (b *Box) Run(ctx context.Context) error {
	if b.closed.Load() || b.running.Swap(true) {
		return errors.New("follow the feed: the box is closed, or Run was called before")
	}
	nc, err := nats.Connect("",
		nats.InProcessServer(b.srv),
		nats.Name(b.cfg.Station),
		nats.MaxReconnects(-1),
		// What is dropped from a full buffer shows as a gap and is fetched.
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	)
	if err != nil {
		return fmt.Errorf("follow the feed: connect to the embedded server: %w", err)
	}
	defer nc.Close()
	r, err := newRunner(b, nc)
	if err != nil {
		return fmt.Errorf("follow the feed: %w", err)
	}
	return r.loop(ctx)
}

// Close stops the embedded server. It is idempotent; end Run first.
func (b *Box) Close() error {
	b.closeOnce.Do(func() {
		b.closed.Store(true)
		if err := stopServer(b.srv); err != nil {
			b.closeErr = fmt.Errorf("close the box's link to the centre: %w", err)
		}
	})
	return b.closeErr
}
