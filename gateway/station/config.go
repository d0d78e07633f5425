package station

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"gateline/drivers/osdp"
	"gateline/drivers/serial"
	"gateline/gateway"
	"gateline/internal/tomlconf"
	"gateline/replication"
)

// Config is the whole configuration of a box. DefaultConfig has the defaults.
type Config struct {
	// Station is the station's name, gateway.ValidStation.
	Station string
	// CentreURL is the centre's leaf listener, nats-leaf://host:port, or several with
	// commas between them.
	CentreURL string
	// LinkFile holds what the centre lets the box in by (package linkkey);
	// empty = nothing, for a centre on this machine.
	LinkFile string
	// CacheDir is the folder of the store.
	CacheDir string
	// TokenKeyFile holds the city's token key, 64 hexadecimal digits.
	TokenKeyFile string
	// FeedKeys are the centre's public keys, at least one.
	FeedKeys []gateway.FeedKey
	// StatusListen is host:port of metrics, health and status page; empty = none.
	StatusListen string
	// ControlSocket is the path of the Unix socket on which the local switch is
	// worked; empty = none.
	ControlSocket string
	// RequireSync demands that the kernel's clock is synchronised before it is
	// trusted (IMP-17).
	RequireSync bool
	// MemoryLimit is what the process may have in bytes, the index included, but no
	// pages of files; or MemoryAuto, MemoryNone.
	MemoryLimit int64
	Lines       []LineConfig
}

// Protocol is what is spoken on a line.
type Protocol string

const (
	// ProtocolDirect is the project's own, docs/protocol.md.
	ProtocolDirect Protocol = "direct"
	// ProtocolOSDP is OSDP (IEC 60839-11-5) on a multi-drop line.
	ProtocolOSDP Protocol = "osdp"
)

// LineConfig is one line: a serial device or a TCP serial device server.
type LineConfig struct {
	Name     string
	Protocol Protocol
	// Secure demands Secure Channel of every reader; only for ProtocolOSDP.
	Secure bool
	// Reads turns reads into credentials; only for ProtocolOSDP.
	Reads osdp.ReadMap
	// Signals is what the readers show; nil = osdp.DefaultSignals(). Only for
	// ProtocolOSDP.
	Signals *osdp.Signals
	// Serial.Device or TCP is set, not both.
	Serial serial.Config
	// TCP is host:port of a serial device server.
	TCP   string
	Gates []GateConfig
}

// GateConfig is one gate on a line.
type GateConfig struct {
	Name    string
	Address uint8
	// KeyFile holds the key with which the gate proves its frames, or a reader
	// its Secure Channel, 32 hexadecimal digits; empty = neither.
	KeyFile string
	// Purpose is what the gate asks for; only for ProtocolOSDP, which has no
	// word for it.
	Purpose gateway.Purpose
}

// Limits of a configuration.
const (
	MaxLines        = 64
	MaxGatesPerLine = 64

	defaultBaud = 115200
)

// DefaultConfig returns what holds for every key that a file leaves out.
func DefaultConfig() Config {
	return Config{
		CacheDir:      "/var/lib/gateline/cache",
		TokenKeyFile:  "/etc/gateline/token.key",
		StatusListen:  "127.0.0.1:9464",
		ControlSocket: "/run/gateline/control.sock",
		RequireSync:   true,
	}
}

// LoadConfig reads the TOML file at path; what it leaves out is taken from
// defaults. The error reports every fault at once, each with its line and key.
func LoadConfig(path string, defaults Config) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w: give its path with --config", err)
	}
	return ParseConfig(filepath.Base(path), data, defaults)
}

// ParseConfig reads the text of a configuration file; name stands in messages.
func ParseConfig(name string, data []byte, defaults Config) (Config, error) {
	doc, root, err := tomlconf.Parse(name, data)
	if err != nil {
		return Config{}, err
	}
	c := defaults
	root.String("station", &c.Station)
	if err := gateway.ValidStation(c.Station); err != nil {
		root.Fault("station", "%v", err)
	}
	centre := root.Table("centre")
	centre.String("url", &c.CentreURL)
	checkURL(centre, c.CentreURL)
	centre.String("link_file", &c.LinkFile)
	checkLinkFile(centre, &c)
	centre.End()
	cache := root.Table("cache")
	cache.String("dir", &c.CacheDir)
	checkPath(cache, "dir", c.CacheDir)
	cache.End()
	token := root.Table("token")
	token.String("key_file", &c.TokenKeyFile)
	checkPath(token, "key_file", c.TokenKeyFile)
	token.End()
	parseFeed(root, &c)
	status := root.Table("status")
	status.String("listen", &c.StatusListen)
	checkAddress(status, "listen", c.StatusListen)
	status.End()
	control := root.Table("control")
	control.String("socket", &c.ControlSocket)
	checkPath(control, "socket", c.ControlSocket)
	control.End()
	clock := root.Table("clock")
	clock.Bool("require_sync", &c.RequireSync)
	clock.End()
	parseMemory(root, &c)
	parseLines(root, &c)
	root.End()
	return c, doc.Err()
}

func checkURL(t tomlconf.Table, text string) {
	if _, err := replication.CentreAddresses(text); err != nil {
		// The text is not repeated: it may hold a password.
		t.Fault("url", "not of the form nats-leaf://host:port, or up to %d such addresses with commas between them, each once", replication.MaxCentreURLs)
	}
}

func checkPath(t tomlconf.Table, key, path string) {
	if path != "" && !filepath.IsAbs(path) || path == "" && key != "socket" {
		t.Fault(key, "%.80q is not an absolute path", path)
	}
}

func checkAddress(t tomlconf.Table, key, address string) {
	if address == "" {
		return
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		t.Fault(key, "%.80q is not host:port", address)
	}
}

// parseLines reads the lines and refuses a line, a gate, a device or an
// address that is there twice.
func parseLines(root tomlconf.Table, c *Config) {
	names, gates, ports := map[string]bool{}, map[string]bool{}, map[string]string{}
	tables := root.Tables("line", MaxLines)
	if len(tables) == 0 {
		root.Fault("line", "no line: a box without gates has nothing to do, add [[line]] with [[line.gate]]")
	}
	for _, t := range tables {
		l := parseLine(t)
		if names[l.Name] {
			t.Fault("name", "another line has the name %q", l.Name)
		}
		names[l.Name] = true
		key, port := "device", l.Serial.Device
		if l.TCP != "" {
			key, port = "tcp", l.TCP
		}
		if other, twice := ports[port]; twice && port != "" {
			t.Fault(key, "line %q has the same port", other)
		}
		ports[port] = l.Name
		addresses := map[uint8]string{}
		for _, tg := range t.Tables("gate", MaxGatesPerLine) {
			g := parseGate(tg, &l)
			if other, twice := addresses[g.Address]; twice {
				tg.Fault("address", "gate %q of this line has address %d already", other, g.Address)
			}
			addresses[g.Address] = g.Name
			if gates[g.Name] {
				tg.Fault("name", "another gate has the name %q", g.Name)
			}
			gates[g.Name] = true
			l.Gates = append(l.Gates, g)
		}
		if len(l.Gates) == 0 {
			t.Fault("gate", "no gate on this line: add [[line.gate]] with name and address")
		}
		t.End()
		c.Lines = append(c.Lines, l)
	}
}

func parseLine(t tomlconf.Table) LineConfig {
	l := LineConfig{Serial: serial.Config{Baud: defaultBaud}}
	protocol, parity, rs485 := string(ProtocolDirect), "none", "auto"
	t.String("name", &l.Name)
	checkName(t, l.Name)
	t.String("device", &l.Serial.Device)
	t.String("tcp", &l.TCP)
	t.Int("baud", &l.Serial.Baud, 50, 4_000_000)
	t.Choice("protocol", &protocol, string(ProtocolDirect), string(ProtocolOSDP))
	t.Choice("parity", &parity, "none", "even", "odd")
	t.Choice("rs485", &rs485, "auto", "kernel", "off")
	// The words were checked above; these cannot fail.
	_ = l.Serial.Parity.UnmarshalText([]byte(parity))
	_ = l.Serial.RS485.UnmarshalText([]byte(rs485))
	switch {
	case (l.TCP == "") == (l.Serial.Device == ""):
		t.Fault("", "give either device or tcp")
	case l.TCP != "":
		checkAddress(t, "tcp", l.TCP)
	default:
		faultEach(t, l.Serial.Validate())
	}
	if l.Protocol = Protocol(protocol); l.Protocol == ProtocolOSDP {
		parseReaders(t, &l)
	}
	return l
}

// faultEach reports faults of the form "key: what is wrong", one in a line.
func faultEach(t tomlconf.Table, err error) {
	if err == nil {
		return
	}
	for fault := range strings.Lines(err.Error()) {
		key, text, _ := strings.Cut(strings.TrimSpace(fault), ": ")
		t.Fault(key, "%s", text)
	}
}

func parseGate(t tomlconf.Table, l *LineConfig) GateConfig {
	var g GateConfig
	var address int
	most, purpose := 254, "entry"
	if l.Protocol == ProtocolOSDP {
		most = osdp.MaxAddress
		t.Choice("purpose", &purpose, "entry", "exit", "topup")
	}
	t.String("name", &g.Name)
	checkName(t, g.Name)
	if !t.Has("address") {
		t.Fault("address", "missing: give the gate's address on its line, 0 to %d", most)
	}
	t.Int("address", &address, 0, most)
	g.Address = uint8(address)
	for _, p := range []gateway.Purpose{gateway.PurposeEntry, gateway.PurposeExit, gateway.PurposeTopUp} {
		if p.String() == purpose {
			g.Purpose = p
		}
	}
	t.String("key_file", &g.KeyFile)
	if g.KeyFile != "" {
		checkPath(t, "key_file", g.KeyFile)
	} else if l.Secure {
		t.Fault("key_file", "missing: a reader in Secure Channel has its own key; secure = false on the line lets its readers do without")
	}
	t.End()
	return g
}

// checkName: names stand in metrics and commands.
func checkName(t tomlconf.Table, name string) {
	if name == "" || len(name) > 32 || strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	}) {
		t.Fault("name", "%.40q is not a name of 1 to 32 letters, digits, - and _", name)
	}
}
