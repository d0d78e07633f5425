package station

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gateline/central"
	"gateline/gateway"
	"gateline/internal/linkkey"
)

// nodeConfig names the environment variable with which TestTwoCentresOnThreeServers
// starts its own program again as a server or a centre; it holds the path of a
// nodeSetup in JSON.
const nodeConfig = "GATELINE_STATION_NODE"

// nodeSetup is what such a process is told.
type nodeSetup struct {
	// ServerFile is the configuration of a server; empty = it is a centre.
	ServerFile string
	// URLs are where a centre finds its servers, LinkFile by what it is let in.
	URLs     []string
	LinkFile string
	// Dir is where each process that is a centre has a folder of its own, as on a
	// machine of its own, for its copy of the ledger.
	Dir string
}

// runNode is the process. A server says "up" once it takes connections, a centre each
// time its state is complete; nobody but the services' callers asks it. A centre that
// fails is opened again, as its unit does; one that another one has taken over from
// says so and ends. It returns its exit status.
func runNode(path string) int {
	go func() { // ends with the test that started it
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(4)
	}()
	text, err := os.ReadFile(path)
	var s nodeSetup
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err == nil && s.ServerFile != "" {
		err = (&partSetup{ServerFile: s.ServerFile}).runServer()
	}
	if err != nil {
		fmt.Println("fault", err)
		return 3
	}
	dir, err := os.MkdirTemp(s.Dir, "centre-")
	if err != nil {
		fmt.Println("fault", err)
		return 3
	}
	for {
		err := s.runCentre(dir)
		switch {
		case errors.Is(err, central.ErrTakenOver):
			fmt.Println("taken over")
			return 0
		case errors.Is(err, central.ErrServers):
			fmt.Printf("waits %q\n", fmt.Sprint(err))
		default:
			fmt.Printf("failed %q\n", fmt.Sprint(err))
		}
		<-time.After(50 * time.Millisecond)
	}
}

func (s *nodeSetup) runCentre(dir string) error {
	link, err := linkkey.Read(s.LinkFile)
	if err != nil {
		return err
	}
	auth, err := link.NATSOptions()
	if err != nil {
		return err
	}
	c, err := central.Open(central.Config{
		Dir:      dir,
		Servers:  &central.Servers{URLs: s.URLs, Auth: auth, Replicas: 3},
		TokenKey: testKey(), FeedKeys: []gateway.FeedSecret{testFeedSecret},
	})
	if err != nil {
		return err
	}
	var telling sync.WaitGroup
	telling.Go(func() {
		// Records waits until the ledger has been replayed.
		if c.Records(func(gateway.Token, gateway.Record) error { return nil }) == nil {
			fmt.Println("up")
		}
	})
	err = c.Run(context.Background())
	telling.Wait()
	_ = c.Close() // its servers may be gone
	return err
}

// node is a server or a centre in a process of its own.
type node struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	read  chan struct{} // closed when all that it said has been taken

	mu     sync.Mutex // guards what follows, which is what it said
	ups    int
	taken  bool
	failed []string
	waited bool
}

// startNode starts one. The test's end kills it.
func startNode(t *testing.T, setup nodeSetup) *node {
	t.Helper()
	config := filepath.Join(t.TempDir(), "node.json")
	text, err := json.Marshal(setup)
	if err == nil {
		err = os.WriteFile(config, text, 0o600)
	}
	self, selfErr := os.Executable()
	if err != nil || selfErr != nil {
		t.Fatal(err, selfErr)
	}
	p := &node{t: t, cmd: exec.Command(self), read: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), nodeConfig+"="+config)
	p.cmd.Stderr = os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.read)
		for lines := bufio.NewReader(out); ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				return // a line without its end was not said
			}
			p.take(strings.TrimSpace(line))
		}
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *node) take(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch word, _, _ := strings.Cut(line, " "); {
	case line == "up":
		p.ups++
	case line == "taken over":
		p.taken = true
	case word == "failed", word == "waits":
		p.failed = append(p.failed, line)
	default:
		p.t.Errorf("a node says %q", line)
	}
}

// up reports whether it has been complete.
func (p *node) up() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ups > 0
}

// shutOut reports whether it has ended by itself because another centre took over.
func (p *node) shutOut() bool {
	select {
	case <-p.read:
	default:
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

func (p *node) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// kill ends it with SIGKILL, where it has not ended by itself, and takes what it
// still said.
func (p *node) kill() {
	p.t.Helper()
	if p.waited {
		return
	}
	p.waited = true
	_ = p.cmd.Process.Kill() // of one that ended by itself Wait tells
	<-p.read
	err := p.cmd.Wait()
	_ = p.stdin.Close()
	if killed := err != nil && err.Error() == "signal: killed"; !killed && !(err == nil && p.shutOut()) {
		p.t.Errorf("a node ended by itself: %v", err)
	}
}
