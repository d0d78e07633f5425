package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// thisMachine is the line that says where a run was made: what matters for its
// figures, and no name of the machine.
func thisMachine() string {
	cpu := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, model, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(model)
				break
			}
		}
	}
	load := 0.0
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		load = float64(info.Loads[0]) / (1 << unix.SI_LOAD_SHIFT)
	}
	return fmt.Sprintf("%s, %d cores, %s %s/%s; %.1f processes wanted a core in the minute before",
		cpu, runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH, load)
}

// withoutProcs takes the number of processors off benchmarks' names, by which
// figures of another machine would be those of other benchmarks.
func withoutProcs(text []byte) []byte {
	return regexp.MustCompile(`(?m)^(Benchmark\S+?)-\d+(\s)`).ReplaceAll(text, []byte("$1$2"))
}

const referencePrefix = "BenchmarkReference/"

// references says how much slower or faster the machine is now, by the median of
// each reference.
func references(kept, now []byte) string {
	before, after := medians(kept, referencePrefix, timeUnit), medians(now, referencePrefix, timeUnit)
	var b strings.Builder
	fmt.Fprintf(&b, "kept on %s\nnow on  %s\n\nreference      kept ns    now ns  now/kept\n", machineOf(kept), machineOf(now))
	var names []string
	for name := range after {
		if before[name] > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "%-10s %11.1f %9.1f %9.2f\n", strings.TrimPrefix(name, referencePrefix), before[name], after[name], after[name]/before[name])
	}
	b.WriteString("Above 1 the machine was slower. A figure below that moved as far as its reference says nothing of the code.\n\n")
	return b.String()
}

func machineOf(text []byte) string {
	for line := range strings.Lines(string(text)) {
		if machine, ok := strings.CutPrefix(line, "machine: "); ok {
			return strings.TrimSpace(machine)
		}
	}
	return "an unknown machine"
}

// allocations says which benchmarks allocate more or less often than they did. Those
// that do it a hundred times a call vary by a few, and by more in a short run.
func allocations(kept, now []byte) string {
	before, after := medians(kept, "Benchmark", allocUnit), medians(now, "Benchmark", allocUnit)
	var moved []string
	for name, n := range after {
		if was, known := before[name]; known && math.Abs(n-was) > was/20 {
			moved = append(moved, fmt.Sprintf("%s allocates %.0f times a call, kept are %.0f\n", strings.TrimPrefix(name, "Benchmark"), n, was))
		}
	}
	if len(moved) == 0 {
		return "Allocations are as kept.\n\n"
	}
	slices.Sort(moved)
	return strings.Join(moved, "") + "\n"
}

const (
	timeUnit  = "ns/op"
	allocUnit = "allocs/op"
)

// medians returns the median in unit of every benchmark whose name begins with
// prefix.
func medians(text []byte, prefix, unit string) map[string]float64 {
	all := make(map[string][]float64)
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		if len(fields) < 4 || !strings.HasPrefix(fields[0], prefix) {
			continue
		}
		for i := 2; i+1 < len(fields); i += 2 {
			if value, err := strconv.ParseFloat(fields[i], 64); err == nil && fields[i+1] == unit {
				all[fields[0]] = append(all[fields[0]], value)
			}
		}
	}
	middle := make(map[string]float64, len(all))
	for name, values := range all {
		slices.Sort(values)
		n := len(values)
		middle[name] = (values[(n-1)/2] + values[n/2]) / 2
	}
	return middle
}
