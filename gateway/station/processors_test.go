package station

import (
	"strings"
	"testing"

	"gateline/internal/logtest"
)

// A box has more processors for Go's scheduler than there are, and the environment wins.
func TestSpreadWork(t *testing.T) {
	for env, want := range map[string]int{"": 2 * processorsEach, "3": 2} {
		var log logtest.Buffer
		procs := 2
		set := func(n int) int {
			before := procs
			if n > 0 {
				procs = n
			}
			return before
		}
		for range 2 { // a second box in the process changes nothing
			spreadWork(func(string) string { return env }, func() { procs = 2 }, set, log.Logger())
		}
		if procs != want {
			t.Errorf("GOMAXPROCS=%s: %d processors, want %d", env, procs, want)
		}
		if told := strings.Contains(log.String(), "limit="+env); env != "" && !told {
			t.Errorf("GOMAXPROCS=%s is not told: %s", env, &log)
		}
	}
}
