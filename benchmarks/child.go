package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
)

// Each store is loaded and measured in processes of its own, so that memory,
// garbage and background work are its own: the program starts itself again with
// childMode set, a task on its standard input, and reads what it found.

// childMode names the environment variable that tells a process it is one.
const childMode = "GATELINE_BENCHMARKS_CHILD"

// childLimit bounds one load or measurement.
const childLimit = time.Hour

// collectPercent makes slow lookups rarer with stores that allocate (cache/DESIGN.md).
const collectPercent = 400

// processorsEach is how many processors Go's scheduler is told of for each that there is,
// as in a box (docs/decisions/0017-processors.md): whoever looks up waits less for a
// store's own work.
const processorsEach = 8

// task is what a child does. Of a load, Tokens is the file of tokens; of a
// measurement it is empty.
type task struct {
	Peer    string        `json:"peer"`
	Dir     string        `json:"dir"`
	Records int           `json:"records"`
	Tokens  string        `json:"tokens,omitempty"`
	Each    time.Duration `json:"each"`
	Beside  time.Duration `json:"beside"`
}

// loaded is what a load found.
type loaded struct {
	Seconds float64 `json:"seconds"`
	// Disk is what the store takes there, Peak the most that its process had
	// resident, bytes.
	Disk int64 `json:"disk"`
	Peak int64 `json:"peak"`
}

// child does the task that it reads from in and writes what it found to out.
func child(in io.Reader, out io.Writer) error {
	var t task
	if err := json.NewDecoder(in).Decode(&t); err != nil {
		return fmt.Errorf("read a task: %w; start the program without %s in the environment", err, childMode)
	}
	p, err := peerNamed(t.Peer)
	if err != nil {
		return err
	}
	debug.SetGCPercent(cmp.Or(p.collect, collectPercent))
	runtime.GOMAXPROCS(processorsEach * runtime.GOMAXPROCS(0))
	var found any
	if t.Tokens != "" {
		found, err = load(p, t)
	} else {
		found, err = measure(p, t.Dir, t.Records, t.Each, t.Beside)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(found)
}

func load(p peer, t task) (l loaded, err error) {
	s, err := openSource(t.Tokens)
	if err != nil {
		return l, err
	}
	began := time.Now()
	err = p.load(t.Dir, t.Records, s)
	l.Seconds = time.Since(began).Seconds()
	if err := errors.Join(err, s.close()); err != nil {
		return l, fmt.Errorf("load: %w", err)
	}
	if s.n != t.Records {
		return l, fmt.Errorf("load: the store took %d of %d records; look into its adapter", s.n, t.Records)
	}
	if l.Disk, err = onDisk(t.Dir); err != nil {
		return l, fmt.Errorf("ask for the size on the disk: %w; start the run again", err)
	}
	l.Peak, err = peakMemory()
	return l, err
}

// runChild starts a child for the task and decodes what it found into found.
func runChild(ctx context.Context, t task, found any) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w; build it and run the binary", err)
	}
	in, err := json.Marshal(t)
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, childLimit)
	defer stop()
	var out, told bytes.Buffer
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), childMode+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &told
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w; start the run again, with fewer --records if it took more than %v", t.Peer, ctx.Err(), childLimit)
		}
		return fmt.Errorf("%s: %w: %s; run it alone with --only, or the others without it", t.Peer, err, bytes.TrimSpace(told.Bytes()))
	}
	if err := json.Unmarshal(out.Bytes(), found); err != nil {
		return fmt.Errorf("%s: read what its process found: %w; run it alone with --only", t.Peer, err)
	}
	return nil
}
