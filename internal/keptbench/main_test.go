package main

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Every name is a benchmark of that package: what is renamed would else be measured
// no more.
func TestSuitesExist(t *testing.T) {
	for _, s := range suites {
		paths, err := filepath.Glob(filepath.Join("..", "..", s.dir, "*_test.go"))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s has no tests, %v", s.dir, err)
		}
		var source strings.Builder
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			source.Write(text)
		}
		for _, name := range s.names {
			if !strings.Contains(source.String(), "\nfunc Benchmark"+name+"(") {
				t.Errorf("%s has no Benchmark%s", s.dir, name)
			}
		}
	}
}

const keptText = `machine: a slow one
goos: linux
pkg: gateline/internal/keptbench
BenchmarkReference/memory    	 1000	       100.0 ns/op	       0 B/op	       0 allocs/op
BenchmarkReference/memory    	 1000	       110.0 ns/op	       0 B/op	       0 allocs/op
BenchmarkReference/memory    	 1000	       900.0 ns/op	       0 B/op	       0 allocs/op
BenchmarkReference/gone      	 1000	       1 ns/op
BenchmarkOther               	 1000	       5 records/s	       7 ns/op
PASS
`

func TestReferences(t *testing.T) {
	now := strings.NewReplacer("slow", "quick", "100.0 ns", "50.0 ns", "900.0 ns", "60.0 ns", "/gone", "/novel").Replace(keptText)
	text := references([]byte(keptText), []byte(now))
	for _, want := range []string{"kept on a slow one\n", "now on  a quick one\n", "memory           110.0      60.0      0.55\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, "gone") || strings.Contains(text, "novel") {
		t.Errorf("what only one of them has is compared:\n%s", text)
	}
	if m := medians([]byte(keptText), "BenchmarkOther", timeUnit); len(m) != 1 || m["BenchmarkOther"] != 7 {
		t.Errorf("%v", m)
	}
	even := "BenchmarkX 1 1 ns/op\nBenchmarkX 1 2 ns/op\n"
	if m := medians([]byte(even), "Benchmark", timeUnit); math.Abs(m["BenchmarkX"]-1.5) > 1e-9 {
		t.Errorf("%v", m)
	}
}

func TestAllocations(t *testing.T) {
	const kept = "BenchmarkA 1 5 ns/op 0 B/op 0 allocs/op\nBenchmarkB 1 5 ns/op 9 B/op 100 allocs/op\nBenchmarkC 1 5 ns/op 9 B/op 3 allocs/op\n"
	now := strings.NewReplacer("0 allocs", "1 allocs", "3 allocs", "2 allocs").Replace(kept) // 100 becomes 101
	want := "A allocates 1 times a call, kept are 0\nC allocates 2 times a call, kept are 3\n\n"
	if got := allocations([]byte(kept), []byte(now)); got != want {
		t.Errorf("%q", got)
	}
	if got := allocations([]byte(kept), []byte(kept)); got != "Allocations are as kept.\n\n" {
		t.Errorf("%q", got)
	}
}

func TestWithoutProcs(t *testing.T) {
	in := "BenchmarkMAC/40-bytes-2         \t 100\t 84.98 ns/op\nBenchmarkToken-16\t1\t2 ns/op\nok  \tgateline/x-2 \t1s\n"
	want := "BenchmarkMAC/40-bytes         \t 100\t 84.98 ns/op\nBenchmarkToken\t1\t2 ns/op\nok  \tgateline/x-2 \t1s\n"
	if got := string(withoutProcs([]byte(in))); got != want {
		t.Errorf("%q", got)
	}
	one := "BenchmarkToken\t1\t2 ns/op\n" // with one processor there is no number
	if got := string(withoutProcs([]byte(one))); got != one {
		t.Errorf("%q", got)
	}
}

func TestMachineIsSaid(t *testing.T) {
	line := thisMachine()
	if !strings.Contains(line, " cores, "+runtime.Version()) || machineOf([]byte("machine: "+line+"\n")) != line {
		t.Errorf("%q", line)
	}
}
