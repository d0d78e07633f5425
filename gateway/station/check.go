package station

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"gateline/cache"
	"gateline/drivers"
	"gateline/drivers/serial"
	"gateline/gateway"
	"gateline/internal/keyfile"
	"gateline/replication"
)

// Level says how well a thing is that Check looked at. The zero Level is a
// fault.
type Level uint8

const (
	// LevelFault keeps the box, or a part of it, from serving riders.
	LevelFault Level = 0
	// LevelNote is worth knowing, and no reason not to start the box.
	LevelNote Level = 1
	LevelOK   Level = 2
)

// String returns fault, note or ok.
func (l Level) String() string {
	switch l {
	case LevelNote:
		return "note"
	case LevelOK:
		return "ok"
	}
	return "fault"
}

// Finding is what Check found out about one thing. Text of a fault ends with
// the next step.
type Finding struct {
	Level Level
	Thing string
	Text  string
}

// Check looks at everything that Open would acquire and gives it back at once.
// It may be run beside the box: what a running box of this configuration holds
// is a note. It takes a few seconds at most and leaves nothing behind.
func Check(ctx context.Context, cfg Config) []Finding {
	c := checker{cfg: cfg, now: time.Now, uid: os.Geteuid(), clock: readKernelClock}
	return c.run(ctx)
}

// checker is one Check.
type checker struct {
	cfg   Config
	now   func() time.Time
	uid   int
	clock func() (kernelClock, error)

	running   bool      // a box runs with this configuration
	watermark time.Time // of the store; zero where it was not opened
	// terms are those of the feed's keys in the store; none where it was not
	// opened.
	terms []gateway.KeyTerm
}

func (c *checker) run(ctx context.Context) []Finding {
	// These tell whether a box is running, which the lines must know.
	store, status, control := c.checkCache(), c.checkStatus(ctx), c.checkControl(ctx)
	all := append(c.checkKeys(), c.checkFeedKeys(), store)
	all = append(all, c.checkLines(ctx)...)
	all = append(all, status, control)
	all = append(all, c.checkCentre(ctx)...)
	return append(all, c.checkClock())
}

func ok(thing, format string, args ...any) Finding {
	return Finding{LevelOK, thing, fmt.Sprintf(format, args...)}
}

func note(thing, format string, args ...any) Finding {
	return Finding{LevelNote, thing, fmt.Sprintf(format, args...)}
}

func fault(thing, format string, args ...any) Finding {
	return Finding{LevelFault, thing, fmt.Sprintf(format, args...)}
}

func (c *checker) checkKeys() []Finding {
	one := func(thing, path string, err error) Finding {
		if err != nil {
			return fault(thing, "%v", err)
		}
		return ok(thing, "%s", path)
	}
	_, err := keyfile.ReadTokenKey(c.cfg.TokenKeyFile)
	all := []Finding{one("token key", c.cfg.TokenKeyFile, err)}
	if c.cfg.LinkFile != "" {
		_, err := readLink(&c.cfg)
		all = append(all, one("link file", c.cfg.LinkFile, err))
	}
	for _, l := range c.cfg.Lines {
		for _, g := range l.Gates {
			if g.KeyFile == "" {
				continue
			}
			_, err := readGateKey(g.KeyFile)
			if l.Protocol == ProtocolOSDP {
				_, err = readReaderKey(g.KeyFile)
			}
			all = append(all, one("key of gate "+g.Name, g.KeyFile, err))
		}
	}
	return all
}

func (c *checker) checkCache() Finding {
	const thing = "cache"
	dir := c.cfg.CacheDir
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return c.checkNewCache()
	}
	// What root leaves in the store of another user, that user cannot write.
	if st, known := statOf(info); known && c.uid == 0 && st.Uid != 0 {
		return note(thing, "%s belongs to user %d and is not tried as root; run this check as that user, with sudo -u '#%d'", dir, st.Uid, st.Uid)
	}
	store, err := cache.Open(dir, cache.Options{Now: c.now})
	switch {
	case errors.Is(err, cache.ErrInUse):
		c.running = true
		return note(thing, "%s is in use by a running box", dir)
	case err != nil:
		return fault(thing, "%v", err)
	}
	position, usable := store.Position(), store.Usable()
	c.terms = store.Keys()
	if err := store.Close(); err != nil {
		return fault(thing, "close the store in %s: %v; see to the disk", dir, err)
	}
	if position.Watermark != 0 {
		c.watermark = position.Time()
	}
	if !usable {
		return note(thing, "%s holds no complete snapshot yet: riders go to the manual lane (R24) until the centre has sent one", dir)
	}
	return ok(thing, "%s, feed number %d", dir, position.Number)
}

// checkNewCache tries a store beside the place where the first start makes it.
func (c *checker) checkNewCache() Finding {
	const thing = "cache"
	dir := c.cfg.CacheDir
	above := filepath.Dir(dir)
	for above != filepath.Dir(above) {
		if _, err := os.Stat(above); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		above = filepath.Dir(above)
	}
	scratch, err := os.MkdirTemp(above, ".gateline-check-")
	if err != nil {
		return fault(thing, "%s cannot be made: %v; make it for the box's user or set [cache] dir to another folder", dir, err)
	}
	store, err := cache.Open(scratch, cache.Options{Now: c.now})
	if err == nil {
		err = store.Close()
	}
	if err = errors.Join(err, os.RemoveAll(scratch)); err != nil {
		return fault(thing, "a store for %s, tried in %s: %v", dir, above, err)
	}
	if c.uid == 0 {
		return note(thing, "%s does not exist yet; the box's user must be able to make it", dir)
	}
	return ok(thing, "%s does not exist yet; the first start makes it", dir)
}

func statOf(info fs.FileInfo) (*syscall.Stat_t, bool) {
	if info == nil {
		return nil, false
	}
	st, known := info.Sys().(*syscall.Stat_t)
	return st, known
}

// checkLines opens all lines at once: a device server that does not answer
// takes its time.
func (c *checker) checkLines(ctx context.Context) []Finding {
	perLine := make([][]Finding, len(c.cfg.Lines)) // at most MaxLines
	var lines sync.WaitGroup
	for i, l := range c.cfg.Lines {
		lines.Go(func() {
			if l.TCP != "" {
				perLine[i] = []Finding{c.checkTCP(ctx, l)}
			} else {
				perLine[i] = c.checkSerial(l)
			}
			if l.Protocol == ProtocolOSDP {
				perLine[i] = append(perLine[i], checkReaders(l))
			}
		})
	}
	lines.Wait()
	var all []Finding
	for _, found := range perLine {
		all = append(all, found...)
	}
	return all
}

func (c *checker) checkSerial(l LineConfig) []Finding {
	thing := "line " + l.Name
	port, err := serial.Open(l.Serial)
	switch {
	case errors.Is(err, serial.ErrInUse) && c.running:
		return []Finding{note(thing, "%s is in use, as it must be while the box runs", l.Serial.Device)}
	case err != nil:
		return []Finding{fault(thing, "%v", err)}
	}
	info := port.Info()
	if err := port.Close(); err != nil {
		return []Finding{fault(thing, "%v; check the adapter and its cable", err)}
	}
	where := info.Device
	if info.Resolved != where {
		where += " (" + info.Resolved + ")"
	}
	all := []Finding{ok(thing, "%s, %d baud %s", where, info.Baud, info.Frame)}
	for _, warning := range info.Warnings {
		all = append(all, note(thing, "%s", warning))
	}
	return all
}

// checkReaders says how the readers of a line are spoken to and what opens their
// gates.
func checkReaders(l LineConfig) Finding {
	thing, signals := "line "+l.Name, l.signals()
	does := fmt.Sprintf("a pass switches output %d on for %v", signals.Output, signals.Pulse)
	var clear []string
	for _, g := range l.Gates {
		if g.KeyFile == "" {
			clear = append(clear, g.Name)
		}
	}
	if len(clear) == 0 {
		return ok(thing, "OSDP in Secure Channel with %d of %d readers; %s", len(l.Gates), len(l.Gates), does)
	}
	return note(thing, "OSDP in clear with %d of %d readers (%s), so whoever gets at the cable reads cards and opens gates; give each a key_file and set secure = true; %s",
		len(clear), len(l.Gates), shortList(clear), does)
}

// shortList joins names, the first few where they are many.
func shortList(names []string) string {
	const most = 4
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// checkTCP does not dial beside a running box: many device servers serve one
// connection and would drop the box's.
func (c *checker) checkTCP(ctx context.Context, l LineConfig) Finding {
	thing := "line " + l.Name
	if c.running {
		return note(thing, "serial device server %s is not tried while the box runs", l.TCP)
	}
	conn, err := drivers.DialTCP(l.TCP)(ctx)
	if err == nil {
		err = conn.Close()
	}
	if err != nil {
		return fault(thing, "%v", err)
	}
	return ok(thing, "serial device server %s", l.TCP)
}

// checkCentre tries every address of the centre. It never finds a fault: the box
// works without the centre.
func (c *checker) checkCentre(ctx context.Context) []Finding {
	addresses, err := replication.CentreAddresses(c.cfg.CentreURL)
	if err != nil {
		return []Finding{fault("centre", "[centre] url is not of the form nats-leaf://host:port; correct it")}
	}
	found := make([]Finding, len(addresses)) // at most replication.MaxCentreURLs
	var dials sync.WaitGroup
	for i, address := range addresses {
		dials.Go(func() { found[i] = tryCentre(ctx, address) })
	}
	dials.Wait()
	return found
}

func tryCentre(ctx context.Context, address string) Finding {
	const thing = "centre"
	conn, err := (&net.Dialer{Timeout: reachLimit}).DialContext(ctx, "tcp", address)
	if err == nil {
		err = conn.Close()
	}
	if err != nil {
		return note(thing, "not reachable now: %v; the box answers from its store meanwhile", err)
	}
	return ok(thing, "%s is reachable", address)
}

func (c *checker) checkClock() Finding {
	const thing = "clock"
	kernel, err := c.clock()
	if err != nil {
		kernel = kernelClock{}
	}
	watch := clockWatch{requireSync: c.cfg.RequireSync, floor: builtAt()}
	state := watch.observe(c.now(), 0, kernel, c.watermark)
	switch {
	case !state.Trusted:
		return fault(thing, "not trusted, riders would go to the manual lane (R23): %s; check chrony or systemd-timesyncd, then timedatectl", state.Why)
	case !kernel.synced:
		return note(thing, "not synchronised; [clock] require_sync = false lets the box trust it all the same")
	}
	return ok(thing, "synchronised, at most %v off", kernel.maxError)
}
