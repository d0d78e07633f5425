// Package clustertest starts, for tests, three NATS servers from the very files of
// docs/examples/cluster. Addresses, folders and certificates are the test's own.
package clustertest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"gateline/internal/linkkey"
)

// names are those of the servers and of their files.
var names = [...]string{"a", "b", "c"}

// patience bounds every wait.
const patience = 20 * time.Second

// Cluster is three servers. It belongs to the test's goroutine.
type Cluster struct {
	// Servers are nil where they are stopped.
	Servers [len(names)]*server.Server

	t       testing.TB
	configs [len(names)]string
	clients [len(names)]string // host:port
	leafs   [len(names)]string
}

// Start starts the servers from the files in examples and returns when they have
// agreed on a leader. The test's end stops them.
func Start(t testing.TB, examples string, authority *linkkey.Authority, accounts []byte) *Cluster {
	t.Helper()
	c := Prepare(t, examples, authority, accounts)
	t.Cleanup(func() {
		for i := range c.Servers {
			c.Stop(i)
		}
	})
	for i := range c.Servers {
		c.Restart(i)
	}
	c.until("a leader that knows all three", func() bool {
		for _, s := range c.Servers {
			if s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == len(names) {
				return true
			}
		}
		return false
	})
	return c
}

// Prepare makes what Start starts, and starts nothing: for servers in processes of
// their own.
func Prepare(t testing.TB, examples string, authority *linkkey.Authority, accounts []byte) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	var routes [len(names)]string
	addresses := freeAddresses(t, 3*len(names))
	for i := range names {
		c.clients[i], c.leafs[i], routes[i] = addresses[3*i], addresses[3*i+1], addresses[3*i+2]
	}
	for i, name := range names {
		dir := t.TempDir()
		// All routes have one host here, so the certificates hold that.
		link, err := authority.Server("localhost")
		if err != nil {
			t.Fatal(err)
		}
		swap := []string{
			"/etc/nats/link.pem", write(t, dir, "link.pem", link), "/var/lib/nats", filepath.Join(dir, "store"),
			"0.0.0.0:4222", c.clients[i], "0.0.0.0:7422", c.leafs[i], "0.0.0.0:6222", routes[i],
		}
		for j, other := range names {
			swap = append(swap, "nats-route://"+other+".centre.example:6222", "nats-route://"+routes[j])
		}
		write(t, dir, "common.conf", replace(t, read(t, filepath.Join(examples, "common.conf")), swap))
		write(t, dir, "accounts.conf", accounts)
		c.configs[i] = write(t, dir, name+".conf", read(t, filepath.Join(examples, name+".conf")))
	}
	return c
}

// Config returns the path of a server's configuration.
func (c *Cluster) Config(i int) string { return c.configs[i] }

// Place returns which server has a name, -1 for none.
func (c *Cluster) Place(name string) int { return slices.Index(names[:], name) }

// Restart starts a server that is stopped and returns when it takes connections.
func (c *Cluster) Restart(i int) {
	c.t.Helper()
	opts, err := server.ProcessConfigFile(c.configs[i])
	if err != nil {
		c.t.Fatal(err)
	}
	opts.NoSigs, opts.NoLog = true, true
	opts.ConfigFile = c.configs[i] // for a reload
	s, err := server.NewServer(opts)
	if err != nil {
		c.t.Fatal(err)
	}
	s.Start()
	c.Servers[i] = s
	if !s.ReadyForConnections(patience) {
		c.t.Fatalf("server %s is not ready", names[i])
	}
}

// Stop stops a server.
func (c *Cluster) Stop(i int) {
	if s := c.Servers[i]; s != nil {
		s.Shutdown()
		s.WaitForShutdown()
		c.Servers[i] = nil
	}
}

// WriteAccounts gives the servers other accounts, which count from a reload or a
// restart on.
func (c *Cluster) WriteAccounts(accounts []byte) {
	c.t.Helper()
	for _, config := range c.configs {
		write(c.t, filepath.Dir(config), "accounts.conf", accounts)
	}
}

// ReloadTwice makes the running servers read their configuration again, as
// OPERATIONS.md says.
func (c *Cluster) ReloadTwice() {
	c.t.Helper()
	for _, s := range c.Servers {
		for range 2 {
			if err := s.Reload(); err != nil {
				c.t.Fatal(err)
			}
		}
	}
}

// Leader waits until a stream of the account has one and returns it.
func (c *Cluster) Leader(account, stream string) int {
	c.t.Helper()
	leader := -1
	c.until("a leader of stream "+stream, func() bool {
		for i, s := range c.Servers {
			if s != nil && s.JetStreamIsStreamLeader(account, stream) {
				leader = i
			}
		}
		return leader >= 0
	})
	return leader
}

// Leaf waits until some server has leaf nodes and returns the first that has.
func (c *Cluster) Leaf() int {
	c.t.Helper()
	found := -1
	c.until("a leaf node", func() bool {
		for i, s := range c.Servers {
			if s != nil && s.NumLeafNodes() > 0 && found < 0 {
				found = i
			}
		}
		return found >= 0
	})
	return found
}

// WaitCurrent waits until the server has all that the others have in a stream.
func (c *Cluster) WaitCurrent(i int, account, stream string) {
	c.t.Helper()
	c.until("server "+names[i]+" has caught up", func() bool { return c.Servers[i].JetStreamIsStreamCurrent(account, stream) })
}

// URLs are the servers' addresses for clients.
func (c *Cluster) URLs() []string { return urls("tls://", c.clients) }

// CentreURL is the servers' addresses for boxes.
func (c *Cluster) CentreURL() string { return strings.Join(urls("nats-leaf://", c.leafs), ",") }

func urls(scheme string, addresses [len(names)]string) []string {
	var all []string
	for _, a := range addresses {
		all = append(all, scheme+a)
	}
	return all
}

func (c *Cluster) until(what string, ok func() bool) {
	c.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			c.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// freeAddresses returns addresses that nobody listens on.
func freeAddresses(t testing.TB, n int) []string {
	t.Helper()
	var all []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		all = append(all, fmt.Sprintf("localhost:%d", l.Addr().(*net.TCPAddr).Port))
	}
	return all
}

// replace swaps each old text for its new one and fails where one is not there: the
// files would then not be what is tried.
func replace(t testing.TB, text []byte, swap []string) []byte {
	t.Helper()
	for i := 0; i < len(swap); i += 2 {
		if !strings.Contains(string(text), swap[i]) {
			t.Fatalf("the example has no %q", swap[i])
		}
	}
	return []byte(strings.NewReplacer(swap...).Replace(string(text)))
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func write(t testing.TB, dir, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
