package station

import "log/slog"

// processorsEach is how many processors Go's scheduler is told of for each that there
// is. It lets work that never waits, as a compaction of the store, run for 10 ms before
// somebody else has the processor, so with no more than there are a rider may wait for
// several such turns. With many, one is idle when a byte comes from a gate, and then the
// kernel decides who runs; it prefers who has waited (docs/decisions/0017-processors.md).
const processorsEach = 8

// spreadWork tells Go's scheduler so, unless GOMAXPROCS in the environment says
// otherwise. It is for a process that is one box. reset is
// runtime.SetDefaultGOMAXPROCS, which knows machine and cgroup, set runtime.GOMAXPROCS.
func spreadWork(getenv func(string) string, reset func(), set func(int) int, log *slog.Logger) {
	if env := getenv("GOMAXPROCS"); env != "" {
		log.Info("processors", "limit", env, "from", "GOMAXPROCS")
		return
	}
	reset() // a process that opens a box again has been told already
	set(set(0) * processorsEach)
}
