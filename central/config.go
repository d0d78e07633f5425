package central

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"gateline/central/rules"
	"gateline/internal/keyfile"
	"gateline/internal/linkkey"
	"gateline/internal/tomlconf"
	"gateline/replication"
)

// FileConfig is what the configuration file of a centre says.
type FileConfig struct {
	// Dir is the folder of ledger, feed and the ledger's copy; with Servers that of
	// the copy alone.
	Dir string
	// TokenKeyFile holds the city's token key, 64 hexadecimal digits.
	TokenKeyFile string
	// FeedKeyFile holds the secrets with which the feed is signed.
	FeedKeyFile string
	// FeedKeep is how long the feed keeps its entries, 0 = everything.
	FeedKeep time.Duration
	// ShardCycle is how long the centre takes to write a snapshot of every
	// shard.
	ShardCycle time.Duration
	// OpsListen is host:port for NATS clients, BoxesListen that for boxes;
	// empty = none.
	OpsListen, BoxesListen string
	// ClientsFile lists the clients that may connect, who then prove it; only with
	// LinkFile. Empty = clients are asked nothing, and only those of this machine
	// can connect.
	ClientsFile string
	// LinkFile holds what boxes know the centre by (package linkkey); empty =
	// boxes are asked nothing, and only those of this machine can connect. With
	// Servers it holds what these know the centre by.
	LinkFile string
	// StationsFile lists the boxes that may connect; only with LinkFile.
	StationsFile string
	// RulesFile holds the rules of the registry (rules.ReadRules); empty =
	// rules.DefaultRules.
	RulesFile string
	// StatusListen is host:port of the metrics; empty = none.
	StatusListen string
	// Servers are the addresses of servers of the operator's that hold ledger and feed
	// and take the place of OpsListen, BoxesListen and StationsFile; none = a server of the
	// centre's own.
	Servers []string
	// Replicas is how many of the Servers keep a stream.
	Replicas int
}

// DefaultFileConfig returns what holds for every key that a file leaves out.
func DefaultFileConfig() FileConfig {
	return FileConfig{
		Dir:          "/var/lib/gateline-central",
		TokenKeyFile: "/etc/gateline/token.key",
		FeedKeyFile:  "/etc/gateline/feed.key",
		FeedKeep:     DefaultFeedKeep,
		ShardCycle:   DefaultShardCycle,
		OpsListen:    "127.0.0.1:4222",
		BoxesListen:  "127.0.0.1:7422",
		StationsFile: "/etc/gateline/stations",
		StatusListen: "127.0.0.1:9465",
		Replicas:     3,
	}
}

// LoadConfig reads the TOML file at path; defaults has what it leaves out. The
// error reports every fault at once, each with its line and key.
func LoadConfig(path string, defaults FileConfig) (FileConfig, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return FileConfig{}, fmt.Errorf("read configuration: %w: give its path with --config", err)
	}
	return ParseConfig(filepath.Base(path), data, defaults)
}

// ParseConfig reads the text of a configuration file; name stands in messages.
func ParseConfig(name string, data []byte, defaults FileConfig) (FileConfig, error) {
	doc, root, err := tomlconf.Parse(name, data)
	if err != nil {
		return FileConfig{}, err
	}
	c := defaults
	parseServers(root, &c)
	root.String("dir", &c.Dir)
	checkPath(root, "dir", c.Dir)
	token := root.Table("token")
	token.String("key_file", &c.TokenKeyFile)
	checkPath(token, "key_file", c.TokenKeyFile)
	token.End()
	feed := root.Table("feed")
	feed.String("key_file", &c.FeedKeyFile)
	checkPath(feed, "key_file", c.FeedKeyFile)
	feed.Duration("keep", &c.FeedKeep, 0, MaxFeedKeep)
	shards := root.Table("shards")
	shards.Duration("cycle", &c.ShardCycle, MinShardCycle, MaxShardCycle)
	shards.End()
	if err := checkKeep(c.FeedKeep, c.ShardCycle); err != nil {
		feed.Fault("keep", "%v", err)
	}
	feed.End()
	ops := root.Table("ops")
	ownOnly(ops, &c, "listen", "clients_file")
	ops.String("listen", &c.OpsListen)
	checkListen(ops, c.OpsListen)
	ops.String("clients_file", &c.ClientsFile)
	boxes := root.Table("boxes")
	ownOnly(boxes, &c, "listen", "link_file", "stations_file")
	boxes.String("listen", &c.BoxesListen)
	checkListen(boxes, c.BoxesListen)
	if c.BoxesListen != "" && c.BoxesListen == c.OpsListen && !portZero(c.OpsListen) {
		boxes.Fault("listen", "ops.listen has the same address")
	}
	boxes.String("link_file", &c.LinkFile)
	boxes.String("stations_file", &c.StationsFile)
	checkPath(boxes, "stations_file", c.StationsFile)
	switch {
	case len(c.Servers) > 0: // the file is of [nats]
	case c.LinkFile != "":
		checkPath(boxes, "link_file", c.LinkFile)
	case c.BoxesListen != "" && !replication.OnLoopback(c.BoxesListen):
		boxes.Fault("link_file", "missing: boxes of other machines have to prove who they are, and the centre too; gateline link-key init makes the file")
	}
	boxes.End()
	checkClients(ops, c)
	ops.End()
	registry := root.Table("registry")
	if registry.String("rules_file", &c.RulesFile); c.RulesFile != "" {
		checkPath(registry, "rules_file", c.RulesFile)
	}
	registry.End()
	status := root.Table("status")
	status.String("listen", &c.StatusListen)
	checkListen(status, c.StatusListen)
	status.End()
	root.End()
	return c, doc.Err()
}

// checkClients asks for what tells clients from strangers.
func checkClients(ops tomlconf.Table, c FileConfig) {
	_, _, err := net.SplitHostPort(c.OpsListen)
	switch {
	case len(c.Servers) > 0:
	case c.ClientsFile != "":
		checkPath(ops, "clients_file", c.ClientsFile)
		if c.LinkFile == "" {
			ops.Fault("clients_file", "clients come over TLS, so the centre needs its own file too: give boxes.link_file, which gateline link-key init makes")
		}
	case err == nil && !replication.OnLoopback(c.OpsListen):
		ops.Fault("clients_file", "missing: clients of other machines have to prove who they are; gateline link-key client makes the list")
	}
}

func checkPath(t tomlconf.Table, key, path string) {
	if !filepath.IsAbs(path) {
		t.Fault(key, "%.80q is not an absolute path", path)
	}
}

func checkListen(t tomlconf.Table, address string) {
	if address == "" {
		return
	}
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		t.Fault("listen", "%.80q is not host:port, such as 127.0.0.1:4222", address)
	}
}

func portZero(address string) bool {
	_, port, err := net.SplitHostPort(address)
	return err == nil && port == "0"
}

// Config reads the keys and returns the Config that the file describes. The
// caller adds Log and whatever else no file says.
func (c FileConfig) Config() (Config, error) {
	token, tokenErr := keyfile.ReadTokenKey(c.TokenKeyFile)
	feed, feedErr := keyfile.ReadFeedSecrets(c.FeedKeyFile)
	link, clients, linkErr := c.link()
	servers, serversErr := c.ReadServers()
	registry, rulesErr := c.Rules()
	if err := errors.Join(tokenErr, feedErr, linkErr, serversErr, rulesErr); err != nil {
		return Config{}, err
	}
	return Config{Dir: c.Dir, ClientListen: c.OpsListen, LeafListen: c.BoxesListen, StatusListen: c.StatusListen, Link: link, Clients: clients, Servers: servers, TokenKey: token, FeedKeys: feed,
		FeedKeep: c.FeedKeep, ShardCycle: c.ShardCycle, Rules: registry}, nil
}

// Rules reads the rules of the registry. The error reports every fault at once, each
// with its line and key.
func (c FileConfig) Rules() (*rules.Rules, error) {
	if c.RulesFile == "" {
		return rules.DefaultRules(), nil
	}
	f, err := os.Open(c.RulesFile)
	if err != nil {
		return nil, fmt.Errorf("read the rules: %w: correct registry.rules_file, or leave it out for the rules that are built in", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, rules.MaxRulesSize+1))
	if err != nil {
		return nil, fmt.Errorf("read the rules: %w", err)
	}
	return rules.ReadRules(filepath.Base(c.RulesFile), data)
}

// link reads whom the centre lets in as a box and as a client.
func (c FileConfig) link() (*replication.HubLink, *replication.HubClients, error) {
	boxes, clients := c.AsksBoxes(), c.AsksClients()
	if !boxes && !clients {
		return nil, nil, nil
	}
	l, err := linkkey.Read(c.LinkFile)
	if err == nil && l.Name != linkkey.CentreName {
		err = fmt.Errorf("link file %s is that of %q, and boxes and clients know the centre as %s; gateline link-key init makes the centre's", c.LinkFile, l.Name, linkkey.CentreName)
	}
	var of *replication.HubLink
	var who *replication.HubClients
	faults := []error{err}
	if boxes {
		of = &replication.HubLink{}
		of.Stations, err = c.Stations()
		faults = append(faults, err)
	}
	if clients {
		who = &replication.HubClients{}
		who.Clients, err = c.Clients()
		faults = append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, nil, err
	}
	if boxes {
		of.TLS = l.Server()
	}
	if clients {
		who.TLS = l.Server()
	}
	return of, who, nil
}

// AsksBoxes and AsksClients report whether the centre has a list of those that may
// connect to it. Servers of the operator's have their own.
func (c FileConfig) AsksBoxes() bool {
	return len(c.Servers) == 0 && c.LinkFile != "" && c.BoxesListen != ""
}

func (c FileConfig) AsksClients() bool {
	return len(c.Servers) == 0 && c.ClientsFile != "" && c.OpsListen != ""
}

// Clients reads the list of the clients that may connect.
func (c FileConfig) Clients() ([]replication.ClientKey, error) {
	list, err := linkkey.ReadClients(c.ClientsFile)
	if err != nil {
		return nil, err
	}
	var clients []replication.ClientKey
	for _, one := range list {
		// The centre within its own process needs no key.
		if one.Name != linkkey.CentreClient {
			clients = append(clients, replication.ClientKey(one))
		}
	}
	return clients, nil
}

// Stations reads the list of the boxes that may connect.
func (c FileConfig) Stations() ([]replication.StationKey, error) {
	list, err := linkkey.ReadStations(c.StationsFile)
	if err != nil {
		return nil, err
	}
	stations := make([]replication.StationKey, 0, len(list))
	for _, s := range list {
		stations = append(stations, replication.StationKey{Station: s.Name, Key: s.Key})
	}
	return stations, nil
}
