package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
)

func main() {
	if os.Getenv(childMode) != "" {
		exit(child(os.Stdin, os.Stdout))
	}
	// The kernel ends a child with the thread that started it.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	exit(err)
}

func exit(err error) {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	fmt.Fprintln(os.Stderr, "benchmarks:", err)
	os.Exit(1)
}

// run does what the arguments say: it measures, or reads what a run has found,
// and prints the table.
func run(ctx context.Context, args []string, out, progress io.Writer) error {
	f := flag.NewFlagSet("benchmarks", flag.ContinueOnError)
	f.SetOutput(progress)
	records := f.Int("records", 2_000_000, "how many `records`")
	rounds := f.Int("rounds", 3, "how many `rounds`")
	each := f.Duration("each", 3*time.Second, "how long to look up, alone and beside updates each")
	beside := f.Duration("beside", 0, "how long to look up beside updates, if not as long as alone")
	only := f.String("only", "", "the stores to measure, their `names` with commas between; none = all of "+strings.Join(names(), ", "))
	dir := f.String("dir", "", "the `folder` on whose disk the stores are; none = that for temporary files")
	from := f.String("from", "", "read what a run wrote with --json from this `file` instead of measuring")
	jsonTo := f.String("json", "", "write all figures to this `file`")
	svgTo := f.String("svg", "", "draw the lookups into this `file`")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%q is not an option; --help names them", f.Arg(0))
	}
	p := plan{records: *records, rounds: *rounds, each: *each, beside: cmp.Or(*beside, *each), dir: *dir, progress: progress}
	if *only != "" {
		p.only = strings.Split(*only, ",")
	}
	r, err := resultOf(ctx, p, *from)
	if err != nil {
		return err
	}
	if *jsonTo != "" {
		b, err := json.MarshalIndent(r, "", "\t")
		if err != nil {
			return err
		}
		if err := write(*jsonTo, append(b, '\n')); err != nil {
			return err
		}
	}
	if *svgTo != "" {
		picture, err := r.chart()
		if err != nil {
			return err
		}
		if err := write(*svgTo, []byte(picture)); err != nil {
			return err
		}
	}
	return r.writeTable(out)
}

// resultOf measures, or reads the file if one is given.
func resultOf(ctx context.Context, p plan, from string) (r result, err error) {
	if from == "" {
		if err := p.validate(); err != nil {
			return r, err
		}
		return measureAll(ctx, p)
	}
	b, err := os.ReadFile(from)
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return r, fmt.Errorf("read the figures of %s: %w; write them with --json", from, err)
	}
	return r, nil
}

func (p *plan) validate() error {
	if p.records < leastRecords || p.records > mostRecords {
		return fmt.Errorf("--records: %d, not %d … %d", p.records, leastRecords, mostRecords)
	}
	if p.rounds < 1 || p.rounds > 1000 {
		return fmt.Errorf("--rounds: %d, not 1 … 1000", p.rounds)
	}
	if p.each <= 0 || p.each > 10*time.Minute || p.beside <= 0 || p.beside > 10*time.Minute {
		return fmt.Errorf("--each %v, --beside %v: not above 0 … 10m", p.each, p.beside)
	}
	for _, name := range p.only {
		if _, err := peerNamed(name); err != nil {
			return fmt.Errorf("--only: %w", err)
		}
	}
	return nil
}

func names() (all []string) {
	for _, p := range peers() {
		all = append(all, p.name)
	}
	return all
}

func write(path string, b []byte) error {
	if err := os.WriteFile(path, b, 0o644); err != nil {
		return fmt.Errorf("write %s: %w; choose another file", path, err)
	}
	return nil
}
