package station

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gateline/internal/linkkey"
	"gateline/replication"
)

var (
	allFigures = flag.Bool("figures", false, "kill a hundred times where few do otherwise")
	killSeed   = flag.Uint64("seed", 1, "of the kills and of the commands meanwhile")
)

// trial is a server, a centre and a box in processes of their own, and what they
// have said.
type trial struct {
	t        *testing.T
	setup    partSetup
	dir      string
	wire     *wire
	running  [parts]*partProcess
	kills    [parts]int
	looks    []look
	together int           // kills while another was down
	slowest  time.Duration // of all waits until entries flowed

	mu sync.Mutex // guards what follows, which is what the processes said
	// ups counts how often each was up.
	ups [parts]int
	// acks are the answers to commands, in their order.
	acks []ack
	// lives are those of the box that were up.
	lives []life
	// ended are the failures of centres that opened again by themselves.
	ended   []string
	written bool // the centre has written its records
	faults  []string
}

// ack is the answer to command n: the entry that has its effect, 0 where it is not
// known, and how much it changed.
type ack struct {
	n       int
	number  uint64
	changed int
}

// life is what a box said from its start to its end.
type life struct {
	opened said   // the store's position
	at     []said // entries with changes, once the store had them
	// refused, reloads, mismatches and verified are the last that it said.
	refused, reloads, mismatches, verified int
}

// said is an entry as a box names it.
type said struct {
	number uint64
	hash   string
}

// partProcess is one process.
type partProcess struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	read  chan struct{} // closed when all that it said has been taken
}

func newTrial(t *testing.T, seed uint64) *trial {
	t.Helper()
	tr := &trial{t: t, dir: t.TempDir(), wire: newWire(t)}
	authority, err := linkkey.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, text []byte, err error) string {
		t.Helper()
		path := filepath.Join(tr.dir, name)
		if err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	clients, leafs := quietPort(t), quietPort(t)
	tr.setup = partSetup{URL: "tls://" + clients, Seed: seed, Records: filepath.Join(tr.dir, "records"), CentreDir: filepath.Join(tr.dir, "centre")}
	tr.setup.Box = testConfig(t, "nats-leaf://"+leafs, tr.wire)

	client, centreKey, err := authority.Client(linkkey.CentreClient)
	tr.setup.LinkFile = file("centre.pem", client, err)
	station, stationKey, err := authority.Station(tr.setup.Box.Station)
	tr.setup.Box.LinkFile = file("station.pem", station, err)
	link, err := authority.Server("localhost")
	file("link.pem", link, err)
	accounts, err := replication.AccountsConf([]replication.StationKey{{Station: tr.setup.Box.Station, Key: stationKey}},
		replication.ClientKey{Name: linkkey.CentreClient, Key: centreKey}, nil)
	file("accounts.conf", accounts, err)
	common, err := os.ReadFile("../../docs/examples/cluster/common.conf")
	if err == nil {
		common, err = aloneConf(common, clients, leafs, tr.dir)
	}
	file("common.conf", common, err)
	a, err := os.ReadFile("../../docs/examples/cluster/a.conf")
	tr.setup.ServerFile = file("a.conf", a, err)
	t.Cleanup(func() {
		for p := range parts {
			tr.kill(p)
		}
	})
	return tr
}

// aloneConf makes of the configuration that three servers share that of one, with
// addresses and folders of the test's own.
func aloneConf(common []byte, clients, leafs, dir string) ([]byte, error) {
	before, rest, found := strings.Cut(string(common), "\ncluster {")
	_, after, ends := strings.Cut(rest, "\n}\n")
	text := before + "\n" + after
	if !found || !ends {
		return nil, fmt.Errorf("the example has no table cluster")
	}
	for _, swap := range [][2]string{
		{"/etc/nats/link.pem", filepath.Join(dir, "link.pem")}, {"/var/lib/nats", filepath.Join(dir, "streams")},
		{"0.0.0.0:4222", clients}, {"0.0.0.0:7422", leafs},
	} {
		if !strings.Contains(text, swap[0]) {
			return nil, fmt.Errorf("the example has no %q", swap[0])
		}
		text = strings.ReplaceAll(text, swap[0], swap[1])
	}
	return []byte(text), nil
}

// quietPort returns an address that nobody listens on and that Linux by default gives to
// no connection: while the server is down, one that looks for it might otherwise
// come out of the very port, and even meet itself there.
func quietPort(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("localhost:%d", 12_000+rand.IntN(20_000))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

// start starts a process that is not running.
func (tr *trial) start(which part) {
	tr.t.Helper()
	s := tr.setup
	s.Part = which
	tr.mu.Lock()
	if n := len(tr.acks); n > 0 {
		s.First = tr.acks[n-1].n + 1
	}
	tr.mu.Unlock()
	config := filepath.Join(tr.dir, which.String()+".json")
	text, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(config, text, 0o600)
	}
	self, selfErr := os.Executable()
	if err != nil || selfErr != nil {
		tr.t.Fatal(err, selfErr)
	}
	p := &partProcess{cmd: exec.Command(self), read: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), partConfig+"="+config)
	p.cmd.Stderr = os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		tr.t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		tr.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		tr.t.Fatal(err)
	}
	tr.running[which] = p
	go func() {
		defer close(p.read)
		for lines := bufio.NewReader(out); ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				return // a line without its end was not said
			}
			tr.take(which, strings.TrimSpace(line))
		}
	}()
}

// take takes a line that a process said.
func (tr *trial) take(which part, line string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	word, rest, _ := strings.Cut(line, " ")
	var err error
	switch {
	case which == partServer && word == "up":
		tr.ups[which]++
	case which == partCentre && word == "ack":
		var a ack
		_, err = fmt.Sscan(rest, &a.n, &a.number, &a.changed)
		tr.acks = append(tr.acks, a)
	case which == partCentre && word == "ended":
		tr.ended = append(tr.ended, rest)
	case which == partCentre && word == "records":
		tr.written = true
	case which == partBox && word == "up":
		var l life
		_, err = fmt.Sscan(rest, &l.opened.number, &l.opened.hash)
		tr.lives = append(tr.lives, l)
		tr.ups[which]++
	case which == partBox && word == "at" && len(tr.lives) > 0:
		l, at := &tr.lives[len(tr.lives)-1], said{}
		_, err = fmt.Sscan(rest, &at.number, &at.hash, &l.refused, &l.reloads, &l.mismatches, &l.verified)
		l.at = append(l.at, at)
	default:
		err = fmt.Errorf("nobody expects that")
	}
	if err != nil {
		tr.faults = append(tr.faults, fmt.Sprintf("the %v says %q: %v", which, line, err))
	}
}

// kill ends a process with SIGKILL, if it runs, and takes what it still said.
func (tr *trial) kill(which part) {
	tr.t.Helper()
	p := tr.running[which]
	if p == nil {
		return
	}
	tr.running[which] = nil
	_ = p.cmd.Process.Kill() // of one that ended by itself Wait tells
	<-p.read
	if err := p.cmd.Wait(); err == nil || err.Error() != "signal: killed" {
		tr.t.Errorf("the %v ended by itself: %v", which, err)
	}
	_ = p.stdin.Close()
}

// flows waits until the box has applied what was commanded since now.
func (tr *trial) flows() {
	tr.t.Helper()
	acks := func() int {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return len(tr.acks)
	}
	begin, since := acks(), time.Now()
	tr.until("a command is answered and applied", func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		for _, a := range tr.acks[begin:] {
			if a.number > 0 {
				return tr.applied() >= a.number
			}
		}
		return false
	})
	tr.slowest = max(tr.slowest, time.Since(since))
}

// applied returns the last entry with changes that the box has said it applied. It
// needs mu.
func (tr *trial) applied() uint64 {
	for i := len(tr.lives) - 1; i >= 0; i-- {
		if at := tr.lives[i].at; len(at) > 0 {
			return at[len(at)-1].number
		}
	}
	return 0
}

// until waits for what the processes bring about, as long as none ends by itself or
// says what nobody expects.
func (tr *trial) until(what string, ok func() bool) {
	tr.t.Helper()
	until(tr.t, what, func() bool {
		for which, p := range tr.running {
			if p == nil {
				continue
			}
			select {
			case <-p.read:
				tr.mu.Lock()
				defer tr.mu.Unlock()
				tr.t.Fatalf("waiting until %s: the %v ended by itself: %q", what, part(which), tr.faults)
			default:
			}
		}
		return ok()
	})
}

// Kill -9 of any of the three at any moment: server, centre and box go on where they
// were. Every command that was answered is in the feed once, every entry is in the
// box's store once and in its order, and at the end the box holds what the centre
// does. The server is nats-server with the operator's configuration, alone.
func TestAnyOfThreeKilled(t *testing.T) {
	kills := 10
	switch {
	case *allFigures:
		kills = 100
	case testing.Short() || raceOn:
		kills = 6
	}
	t.Logf("seed %d, %d kills", *killSeed, kills)
	r := rand.New(rand.NewPCG(*killSeed, 9))
	tr := newTrial(t, *killSeed)
	begin := time.Now()
	for which := range parts {
		tr.start(which)
	}
	tr.flows()
	for n := 0; n < kills; {
		n += tr.round(r, kills-n)
	}
	tr.flows()
	took := time.Since(begin)
	f := tr.check()
	t.Logf("killed in %v: server %d, centre %d, box %d, of them %d while another was down; entries flowed again within %v; %s",
		took.Round(time.Second), tr.kills[partServer], tr.kills[partCentre], tr.kills[partBox], tr.together, tr.slowest.Round(10*time.Millisecond), f)
}

// round kills one of the three, sometimes another while that is down, and starts them
// again. It returns how many it killed, at most most.
func (tr *trial) round(r *rand.Rand, most int) int {
	tr.t.Helper()
	if r.IntN(4) > 0 { // else at any moment of a start
		tr.flows()
	}
	wait(r.IntN(200))
	victims := r.Perm(int(parts))[:1+r.IntN(5)/4]
	victims = victims[:min(len(victims), most)]
	for i, v := range victims {
		tr.kill(part(v))
		tr.kills[v]++
		if i > 0 {
			tr.together++
		}
		if part(v) == partBox && r.IntN(2) == 0 {
			tr.look()
		}
		if r.IntN(2) > 0 { // else at once
			wait(r.IntN(400))
		}
	}
	for _, i := range r.Perm(len(victims)) {
		tr.start(part(victims[i]))
	}
	return len(victims)
}

func wait(ms int) { <-time.After(time.Duration(ms) * time.Millisecond) }
