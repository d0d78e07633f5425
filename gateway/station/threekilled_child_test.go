package station

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"gateline/central"
	"gateline/gateway"
	"gateline/internal/linkkey"
)

// partConfig names the environment variable with which TestAnyOfThreeKilled starts
// its own program again as one of the three; it holds the path of a partSetup in
// JSON.
const partConfig = "GATELINE_STATION_PART"

// part is one of the three processes.
type part int

const (
	partServer part = iota
	partCentre
	partBox
	parts
)

func (p part) String() string { return [...]string{"server", "centre", "box"}[p] }

// partSetup is what a process is told.
type partSetup struct {
	Part part
	// ServerFile is the configuration of the NATS server.
	ServerFile string
	// URL is where the centre finds the server, LinkFile by what it is let in.
	URL, LinkFile string
	// CentreDir has the centre's copy of the ledger.
	CentreDir string
	// Seed is that of the commands, First the number of the next one: all before
	// it have been answered.
	Seed  uint64
	First int
	// Records is the file into which the centre writes its records at the end.
	Records string
	// Box is the configuration of the box.
	Box Config
}

// runPart is the process. It returns its exit status.
func runPart(path string) int {
	stop := make(chan struct{})
	go func() { // ends with the test that started it
		in := bufio.NewReader(os.Stdin)
		if _, err := in.ReadString('\n'); err == nil {
			close(stop)
			_, _ = io.Copy(io.Discard, in)
		}
		os.Exit(4)
	}()
	text, err := os.ReadFile(path)
	var s partSetup
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err == nil {
		switch s.Part {
		case partServer:
			err = s.runServer()
		case partCentre:
			err = s.runCentre(stop)
		case partBox:
			err = s.runBox()
		}
	}
	fmt.Println("fault", err)
	return 3
}

// runServer is a server as the operator has it.
func (s *partSetup) runServer() error {
	opts, err := server.ProcessConfigFile(s.ServerFile)
	if err != nil {
		return err
	}
	opts.NoSigs, opts.NoLog = true, true
	srv, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	srv.Start()
	if !srv.ReadyForConnections(patience) {
		return errors.New("the server does not take connections")
	}
	fmt.Println("up")
	srv.WaitForShutdown()
	return errors.New("the server ended")
}

// runBox is a whole box. It says "up" with its position once it is open, and "at"
// with each entry with changes once the store has it, with counts of what must not
// have happened, and of the shards that agreed.
func (s *partSetup) runBox() error {
	var box *Station
	ctx := context.Background()
	box, err := Open(ctx, s.Box, Options{Log: slog.New(slog.DiscardHandler), OnApplied: func(u gateway.Update) {
		if len(u.Changes) > 0 {
			c := box.feed.Stats()
			fmt.Println("at", u.To.Number, hex.EncodeToString(u.To.Hash[:]), c.Refused, c.Reloads, c.Mismatches, c.Verified)
		}
	}})
	if err != nil {
		return err
	}
	at := box.Position()
	fmt.Println("up", at.Number, hex.EncodeToString(at.Hash[:]))
	return box.Run(ctx)
}

// runCentre is a centre on the operator's server, with somebody who gives it command
// after command. It says "up" once one was answered, and "ack" with each that was:
// its number, that of the entry, and how much it changed. A centre that fails is
// opened again, as its unit does.
func (s *partSetup) runCentre(stop <-chan struct{}) error {
	link, err := linkkey.Read(s.LinkFile)
	if err != nil {
		return err
	}
	auth, err := link.NATSOptions()
	if err != nil {
		return err
	}
	for next := s.First; ; {
		c, err := central.Open(central.Config{
			Dir:      s.CentreDir,
			Servers:  &central.Servers{URLs: []string{s.URL}, Auth: auth, Replicas: 1},
			TokenKey: testKey(), FeedKeys: []gateway.FeedSecret{testFeedSecret},
		})
		if err == nil {
			var done bool
			next, done, err = s.command(c, next, stop)
			if done {
				return err
			}
			_ = c.Close() // its server may be gone
		}
		if !errors.Is(err, central.ErrServers) { // else it waits for them
			fmt.Printf("ended %q\n", fmt.Sprint(err))
		}
		<-time.After(50 * time.Millisecond)
	}
}

// command runs the centre and gives it commands from number next on, until it fails
// or stop is closed and its records are written; done tells which.
func (s *partSetup) command(c *central.Central, next int, stop <-chan struct{}) (_ int, done bool, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	var ended error
	defer func() {
		cancel()
		running.Wait()
		if err == nil {
			err = ended
		}
	}()
	running.Go(func() {
		defer cancel()
		ended = c.Run(ctx)
	})
	conn, connErr := c.Connect()
	if connErr != nil {
		return next, false, connErr
	}
	defer conn.Close()
	client := central.NewClient(conn)
	for ctx.Err() == nil {
		select {
		case <-stop:
			err := s.writeRecords(c)
			fmt.Println("records")
			running.Wait() // the centre goes on until it is killed
			return next, true, err
		default:
		}
		d, err := s.ask(ctx, client, next)
		if err != nil {
			<-time.After(time.Millisecond) // it is asked again
			continue
		}
		fmt.Println("ack", next, d.Number, d.Changed)
		next++
	}
	return next, false, nil
}

// askTimeout is how long an answer to a command is waited for: a server that was
// killed keeps it for ever.
const askTimeout = time.Second

// ask gives command n, 0 being the policy.
func (s *partSetup) ask(ctx context.Context, client *central.Client, n int) (central.Done, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if n == 0 {
		return client.SetPolicy(ctx, gateway.DefaultPolicy(time.Now().Add(-24*time.Hour).Truncate(time.Second)))
	}
	c := planned(s.Seed, n)
	if c.unbind == "" {
		return client.Import(ctx, c.rows)
	}
	d, err := client.Unbind(ctx, c.unbind, "")
	var refusal *central.Refusal
	if errors.As(err, &refusal) && refusal.Code == central.CodeNotBound {
		return d, nil // an answer was lost
	}
	return d, err
}

func (s *partSetup) writeRecords(c *central.Central) error {
	var text []byte
	err := c.Records(func(token gateway.Token, record gateway.Record) error {
		text = fmt.Appendf(text, "%d %x\n", uint64(token), gateway.AppendRecord(nil, record))
		return nil
	})
	return errors.Join(err, os.WriteFile(s.Records, text, 0o600))
}

// Of the riders that commands tell of, some belong to one command alone.
const (
	crowdRiders  = 1000
	crowdMost    = 40 // of one command
	counterRider = 900_000
	markRiders   = 1_000_000 // the mark of command n is rider markRiders + n
	// unbindEvery is how far apart commands are that end a binding.
	unbindEvery = 5
)

// plan is one command: rows to import, each with the record it leaves behind, or a
// credential to unbind.
type plan struct {
	rows    []central.Row
	records []gateway.Record
	unbind  string
}

// planned returns command n, 1 or more. What each does to the records can be told from
// them at any later time:
//
//   - the counter's record is that of the last import's number, and of no other;
//   - an import binds the mark of its number and settles that of the import before;
//     no other does either. One that is left out is missing for ever, and one that is
//     applied again after the next leaves its mark unsettled for ever;
//   - each fifth command unbinds the mark of four before, which nobody binds again. One
//     that is left out leaves it there for ever. One that is applied again changes
//     nothing.
//
// Among them are riders of a crowd, whose records come and go.
func planned(seed uint64, n int) plan {
	if n%unbindEvery == 0 {
		return plan{unbind: riderNumber(markRiders + n - unbindEvery + 1)}
	}
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	var p plan
	report := func(rider int, record gateway.Record) {
		p.rows = append(p.rows, central.Row{Credential: riderNumber(rider), Person: fmt.Sprint("p", rider), Status: central.StatusOf(record)})
		p.records = append(p.records, record)
	}
	number := gateway.Record{Anchor: gateway.Day(10_000 + n/1439), AnchorMinute: uint16(1 + n%1439)}
	report(counterRider, number)
	report(markRiders+n, number)
	before := n - 1
	if before%unbindEvery == 0 {
		before--
	}
	if before > 0 {
		settled := number
		settled.Class = gateway.ClassYellow
		report(markRiders+before, settled)
	}
	for _, rider := range r.Perm(crowdRiders)[:r.IntN(crowdMost)] {
		report(rider, gateway.Record{Class: gateway.Class(r.IntN(4)), Anchor: gateway.Day(10_000 + r.IntN(10_000))})
	}
	return p
}
