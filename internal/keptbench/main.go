package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

// benchstat compares; it is run at this version without being in go.mod.
const benchstat = "golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da"

// The kept figures, which are committed, and those of the last run, which are not.
const (
	keptFile = "benchmarks/kept/kept.txt"
	runFile  = "benchmarks/kept/run.txt"
)

// packageLimit bounds one round of one package.
const packageLimit = 2 * time.Minute

// suite is the benchmarks of one package that are kept, by what follows "Benchmark".
type suite struct {
	dir   string
	names []string
}

// suites are all that is kept. The references come first.
var suites = []suite{
	{"internal/keptbench", []string{"Reference"}},
	{"gateway", []string{"Token", "MAC", "Judge", "ShardSum"}},
	{"cache", []string{"Lookup", "EntryApply"}},
	{"drivers/direct", []string{"Frame"}},
	{"drivers/osdp", []string{"AppendFrame", "ScanAndParse", "Channel", "Exchange", "Handshake"}},
	{"replication", []string{"EntryEncode", "EntrySign", "EntryDecode", "EntryVerify", "Snapshot"}},
	{"gateway/station", []string{"Decide", "Path"}},
}

// pattern is what -bench takes.
func (s suite) pattern() string { return "^Benchmark(" + strings.Join(s.names, "|") + ")$" }

func main() {
	rounds := flag.Int("rounds", 8, "how often everything is measured")
	benchtime := flag.Duration("benchtime", 250*time.Millisecond, "how long one benchmark runs in a round")
	keep := flag.Bool("keep", false, "measure nothing; the last run becomes what is kept")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch {
	case *keep:
		err = keepRun()
	case *rounds < 1 || *benchtime <= 0:
		err = errors.New("-rounds and -benchtime: give at least 1 round and some time")
	default:
		err = run(ctx, *rounds, *benchtime)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "keptbench:", err)
		os.Exit(1)
	}
}

// keepRun puts the last run in the place of what is kept.
func keepRun() error {
	text, err := os.ReadFile(runFile)
	if err != nil {
		return fmt.Errorf("read the last run: %w; run make bench first", err)
	}
	if err := os.WriteFile(keptFile, text, 0o644); err != nil {
		return fmt.Errorf("keep the last run: %w; run it in the folder of go.mod", err)
	}
	return nil
}

func run(ctx context.Context, rounds int, benchtime time.Duration) (err error) {
	machine := thisMachine()
	bin, err := os.MkdirTemp("", "keptbench")
	if err != nil {
		return fmt.Errorf("make a folder for test binaries: %w; see to the disk", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(bin)) }()
	for i, s := range suites {
		c := exec.CommandContext(ctx, "go", "test", "-c", "-trimpath", "-o", binary(bin, i), "./"+s.dir)
		c.Stdout, c.Stderr = os.Stderr, os.Stderr
		if err := c.Run(); err != nil {
			return fmt.Errorf("build the benchmarks of %s: %w; run it in the folder of go.mod", s.dir, err)
		}
	}
	out, err := os.Create(runFile)
	if err != nil {
		return fmt.Errorf("begin the file of the run: %w; run it in the folder of go.mod", err)
	}
	_, err = fmt.Fprintf(out, "machine: %s\n", machine)
	for round := range rounds {
		for i, s := range suites {
			if err == nil {
				fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, rounds, s.dir)
				err = measure(ctx, out, binary(bin, i), s, benchtime)
			}
		}
	}
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	return compare(ctx, os.Stdout)
}

func binary(dir string, i int) string { return filepath.Join(dir, fmt.Sprint(i, ".test")) }

// measure appends one round of a package to out.
func measure(ctx context.Context, out io.Writer, path string, s suite, benchtime time.Duration) error {
	c := exec.CommandContext(ctx, path, "-test.run=^$", "-test.bench="+s.pattern(), "-test.benchmem",
		"-test.benchtime="+benchtime.String(), "-test.timeout="+packageLimit.String())
	c.Dir, c.Stderr = s.dir, os.Stderr
	text, err := c.Output()
	if err != nil {
		return fmt.Errorf("run the benchmarks of %s: %w; go test -bench '%s' ./%s shows why", s.dir, err, s.pattern(), s.dir)
	}
	for _, name := range s.names {
		if len(medians(text, "Benchmark"+name, timeUnit)) == 0 {
			return fmt.Errorf("run the benchmarks of %s: Benchmark%s is not there; take its name from the list or give it back", s.dir, name)
		}
	}
	_, err = out.Write(withoutProcs(text))
	return err
}

// compare says how the references moved, then what did: allocations, and times by
// benchstat, where ~ is what may be chance.
func compare(ctx context.Context, w io.Writer) error {
	kept, err := os.ReadFile(keptFile)
	if errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(w, "Nothing is kept yet; %s has the figures, make bench-keep keeps them.\n", runFile)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read what is kept: %w; see to its owner", err)
	}
	now, err := os.ReadFile(runFile)
	if err != nil {
		return fmt.Errorf("read the run: %w; run make bench again", err)
	}
	if _, err := io.WriteString(w, references(kept, now)+allocations(kept, now)); err != nil {
		return err
	}
	c := exec.CommandContext(ctx, "go", "run", benchstat, "-table", "pkg", "-ignore", "goos,goarch,cpu,machine",
		"-filter", ".unit:sec/op", "kept="+keptFile, "now="+runFile)
	c.Stdout, c.Stderr = w, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("compare by benchstat: %w; %s and %s have the figures", err, keptFile, runFile)
	}
	return nil
}
