package simulator

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"gateline/central"
	"gateline/central/rules"
	"gateline/drivers/osdp"
	"gateline/gateway"
	"gateline/gateway/station"
	"gateline/replication"
)

const (
	stationName = "xizhimen"
	// readersPerLine is how many readers share a line at most.
	readersPerLine = 32
)

// worldConfig says what world to build.
type worldConfig struct {
	gates       int // each on a line of its own
	credentials int
	baud        int
	readers     int           // up to readersPerLine on a line
	secure      bool          // of readers
	turnaround  time.Duration // of readers
	// faults says what is wrong with each line of readers, of n readers; nil =
	// nothing.
	faults func(line, n int) faults
	seed   uint64
	log    *slog.Logger
	// onApplied and onAnswered are those of station.Options.
	onApplied  func(gateway.Update)
	onAnswered func(handed, written time.Duration)
	// late says that the box is opened later, by startBox.
	late bool
	// shardCycle is that of the centre; 0 = its default.
	shardCycle time.Duration
	// stations says whom the centre lets in as a box; nil = whoever comes.
	stations *replication.HubLink
	// now is the clock of centre and box; nil = the machine's.
	now func() time.Time
	// rules are those of the centre; nil = its default.
	rules *rules.Rules
	// watch is that of the link.
	watch func() io.Writer
}

// tapper is a gate or a reader, as riders use it.
type tapper interface {
	// usable reports whether riders are meant to tap at it at all; serving
	// whether they find it in use.
	usable() bool
	serving() bool
	// idle lets time pass until t.
	idle(ctx context.Context, t time.Time) error
	// tap presents a credential and waits for the answer, or until the gate
	// gives up.
	tap(ctx context.Context, credential int, purpose gateway.Purpose) (tapRecord, error)
}

// world is one station, its gates and the centre, running.
type world struct {
	cfg    worldConfig
	dir    string
	key    gateway.TokenKey
	feed   gateway.FeedSecret
	city   city
	model  *model
	centre *central.Central
	client *central.Client
	conn   *nats.Conn // to the centre
	link   *link
	box    *station.Station
	gates  []tapper
	lines  []*readers // of OSDP readers
	// applied is the number of the last feed entry that onApplied was told of.
	applied atomic.Uint64

	boxConfig station.Config
	// leafAddr is where the centre listens for boxes, the same at every start.
	leafAddr string
	// endBox and endCentre end what Run does of either and wait for it; nil where
	// it is stopped.
	endBox, endCentre func()
	// riding is held shared while a rider taps in a scenario that stops the box,
	// changing while the centre is asked for something in one that stops the
	// centre.
	riding, changing sync.RWMutex

	stop    context.CancelCauseFunc
	ctx     context.Context
	closers []func() error // in order of opening
	running sync.WaitGroup
}

// openWorld builds and starts everything, in a folder of its own that close
// removes.
func openWorld(ctx context.Context, cfg worldConfig) (_ *world, err error) {
	w := &world{cfg: cfg, city: newCity(cfg.credentials)}
	w.model = newModel(w.city)
	w.ctx, w.stop = context.WithCancelCause(ctx)
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.dir, err = os.MkdirTemp("", "gateline-simulate-"); err != nil {
		return nil, fmt.Errorf("make a folder for the simulation: %w", err)
	}
	w.closers = append(w.closers, func() error { return os.RemoveAll(w.dir) })
	key, keyFile, err := writeKey(w.dir, cfg.seed)
	if err != nil {
		return nil, err
	}
	w.key, w.feed = key, newFeedSecret(cfg.seed)
	w.leafAddr = "127.0.0.1:0"
	w.closers = append(w.closers, w.stopCentre)
	if err := w.startCentre(); err != nil {
		return nil, err
	}
	if w.link, err = openLink(w.leafAddr, cfg.watch); err != nil {
		return nil, err
	}
	w.closers = append(w.closers, w.link.close)
	c := &w.boxConfig
	*c = station.DefaultConfig()
	c.Station = stationName
	c.CentreURL = "nats-leaf://" + w.link.addr()
	c.CacheDir, c.TokenKeyFile = filepath.Join(w.dir, "cache"), keyFile
	c.FeedKeys = []gateway.FeedKey{w.feed.Public()}
	c.StatusListen, c.ControlSocket = "127.0.0.1:0", filepath.Join(w.dir, "control.sock")
	c.RequireSync = false // the machine of a simulation need not be synchronised
	if c.Lines, err = w.openLines(w.dir); err != nil {
		return nil, err
	}
	w.closers = append(w.closers, w.stopBox)
	if cfg.late {
		return w, nil
	}
	return w, w.startBox()
}

// openLines opens the gates, each on a line of its own, then the readers, up to
// readersPerLine on one, and returns the lines as a box is told of them.
func (w *world) openLines(dir string) (lines []station.LineConfig, err error) {
	add := func(protocol station.Protocol, n int, open func(*station.LineConfig) (device string, err error)) error {
		line := station.LineConfig{Name: fmt.Sprintf("line-%d", len(lines)+1), Protocol: protocol, Reads: osdp.DefaultReadMap()}
		line.Serial.Baud = w.cfg.baud
		for i := range n {
			line.Gates = append(line.Gates, station.GateConfig{Name: fmt.Sprintf("gate-%d", len(w.gates)+i+1), Address: uint8(i)})
		}
		line.Serial.Device, err = open(&line)
		lines = append(lines, line)
		return err
	}
	for range w.cfg.gates {
		if err := add(station.ProtocolDirect, 1, w.openGate); err != nil {
			return nil, err
		}
	}
	for left := w.cfg.readers; left > 0; left -= readersPerLine {
		if err := add(station.ProtocolOSDP, min(left, readersPerLine), func(line *station.LineConfig) (string, error) { return w.openReaders(dir, line) }); err != nil {
			return nil, err
		}
	}
	return lines, nil
}

func (w *world) openGate(line *station.LineConfig) (device string, err error) {
	line.Gates[0].Address = gateAddress
	g, err := newGate(w.cfg.baud, func() gateway.Position { return w.box.Position() })
	if err != nil {
		return "", err
	}
	w.gates = append(w.gates, g)
	w.closers = append(w.closers, g.wire.close)
	return g.wire.path, nil
}

// openReaders opens a line of readers, with a key each where they are secure.
func (w *world) openReaders(dir string, line *station.LineConfig) (device string, err error) {
	r := rand.New(rand.NewPCG(w.cfg.seed, uint64(10+len(w.gates))))
	var keys []osdp.Key
	if line.Secure = w.cfg.secure; line.Secure {
		keys = make([]osdp.Key, len(line.Gates))
		for i := range keys {
			_, _ = source{r}.Read(keys[i][:]) // never fails
			line.Gates[i].KeyFile = filepath.Join(dir, line.Gates[i].Name+".key")
			if err := os.WriteFile(line.Gates[i].KeyFile, []byte(hex.EncodeToString(keys[i][:])), 0o600); err != nil {
				return "", fmt.Errorf("write a reader's key: %w", err)
			}
		}
	}
	c := readersConfig{n: len(line.Gates), baud: w.cfg.baud, turnaround: w.cfg.turnaround, keys: keys, r: r,
		position: func() gateway.Position { return w.box.Position() }}
	if w.cfg.faults != nil {
		c.faults = w.cfg.faults(len(w.lines), c.n)
	}
	l, err := newReaders(c)
	if err != nil {
		return "", err
	}
	w.closers = append(w.closers, l.wire.close)
	w.lines = append(w.lines, l)
	for i := range line.Gates {
		w.gates = append(w.gates, &reader{line: l, index: i})
	}
	w.run("line of readers", l.run)
	return l.wire.path, nil
}

func (w *world) onApplied(u gateway.Update) {
	if w.cfg.onApplied != nil {
		w.cfg.onApplied(u)
	}
	w.applied.Store(u.To.Number)
}

// writeKey makes the run's token key from its seed.
func writeKey(dir string, seed uint64) (key gateway.TokenKey, path string, err error) {
	key = sha256.Sum256(binary.BigEndian.AppendUint64([]byte("gateline simulation"), seed))
	path = filepath.Join(dir, "token.key")
	if err := os.WriteFile(path, []byte(hex.EncodeToString(key[:])), 0o600); err != nil {
		return key, path, fmt.Errorf("write the simulation's key: %w", err)
	}
	return key, path, nil
}

// newFeedSecret makes the secret that signs the run's feed from its seed.
func newFeedSecret(seed uint64) gateway.FeedSecret {
	return sha256.Sum256(binary.BigEndian.AppendUint64([]byte("gateline simulation, feed"), seed))
}

// run keeps a part of the world going; its failure ends the world.
func (w *world) run(name string, f func(context.Context) error) {
	w.running.Go(func() {
		if err := f(w.ctx); err != nil && w.ctx.Err() == nil {
			w.stop(fmt.Errorf("the simulated %s failed: %w", name, err))
		}
	})
}

// close stops everything and removes the folder.
func (w *world) close() error {
	w.stop(nil)
	w.running.Wait()
	var errs []error
	for i := len(w.closers) - 1; i >= 0; i-- {
		errs = append(errs, w.closers[i]())
	}
	w.closers = nil
	return errors.Join(errs...)
}

// cause returns why the world ended, in place of a bare cancellation.
func (w *world) cause(err error) error {
	if cause := context.Cause(w.ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// setPolicy publishes a policy document and tells the model.
func (w *world) setPolicy(p policyFacts) error {
	doc := gateway.DefaultPolicy(p.effective)
	doc.Window, doc.FreshLimit, doc.StalePassLimit = uint8(p.window), gateway.Duration(p.fresh), gateway.Duration(p.stale)
	done, err := w.client.SetPolicy(w.ctx, doc)
	if err != nil {
		return fmt.Errorf("set the policy: %w", err)
	}
	w.model.setPolicy(done.Number, p)
	return nil
}

// bind upgrades or unbinds a credential at the centre and tells the model.
func (w *world) bind(credential int, bound bool) (uint64, error) {
	var done central.Done
	var err error
	if person, _ := owner(credential); bound {
		done, err = w.client.Bind(w.ctx, credentialText(credential), personID(person))
	} else {
		done, err = w.client.Unbind(w.ctx, credentialText(credential), "")
	}
	if err != nil {
		return 0, fmt.Errorf("bind or unbind: %w", err)
	}
	w.model.setBound(done.Number, credential, bound)
	return done.Number, nil
}

// report gives new statuses of persons to the centre in one request and tells
// the model.
func (w *world) report(statuses map[int]status) (uint64, error) {
	rows := make([]central.Row, 0, len(statuses))
	for person, s := range statuses {
		rows = append(rows, central.Row{Person: personID(person), Status: s.wire()})
	}
	done, err := w.client.Import(w.ctx, rows)
	if err != nil {
		return 0, fmt.Errorf("report statuses: %w", err)
	}
	for person, s := range statuses {
		w.model.setStatus(done.Number, person, s)
	}
	return done.Number, nil
}

// poll calls ready every few milliseconds until it says true; it returns an
// error after limit or at the world's end.
func (w *world) poll(limit time.Duration, what string, ready func() bool) error {
	end := time.NewTimer(limit)
	defer end.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-w.ctx.Done():
			return w.cause(w.ctx.Err())
		case <-end.C:
			return fmt.Errorf("%s: not within %v", what, limit)
		case <-tick.C:
		}
	}
	return nil
}

// rest waits for d, or until the world's end.
func (w *world) rest(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-w.ctx.Done():
		return w.cause(w.ctx.Err())
	case <-timer.C:
		return nil
	}
}

// caughtUp waits until the box has applied the feed up to number and onApplied
// was told of it.
func (w *world) caughtUp(number uint64, limit time.Duration) error {
	return w.poll(limit, fmt.Sprintf("the box to reach feed entry %d", number), func() bool { return w.applied.Load() >= number })
}

// equal reports whether the box holds exactly the records that the centre says
// a box should hold, and how many those are.
func (w *world) equal() (bool, int, error) { return w.equalTo(w.box.Each) }

// equalTo is equal for the box that each goes through.
func (w *world) equalTo(each func(func(gateway.Token, gateway.Record) error) error) (bool, int, error) {
	want := make(map[gateway.Token]gateway.Record)
	if err := w.centre.Records(func(t gateway.Token, r gateway.Record) error {
		want[t] = r
		return nil
	}); err != nil {
		return false, 0, err
	}
	same, n := true, 0
	err := each(func(t gateway.Token, r gateway.Record) error {
		record, ok := want[t]
		same = same && ok && record == r
		n++
		return nil
	})
	return same && n == len(want), n, err
}
