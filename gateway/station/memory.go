package station

import (
	"context"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

const (
	// collectPercent is GOGC of a box. What a lookup touches is none of Go's memory, so
	// more would make no lookup faster (cache/DESIGN.md).
	collectPercent = 100
	// ofCgroup is the part of a cgroup's memory in percent that the box takes by itself;
	// the rest is for pages of files, which the kernel can take back.
	ofCgroup = 90
	// leastHeap is what Go's heap may have whatever the index takes. With less it would
	// do nothing but collect garbage.
	leastHeap = 128 << 20
	// memoryEvery is how often the limit follows the index.
	memoryEvery = 5 * time.Second
)

// memoryKeeper holds the process to a limit: Go's runtime keeps its own memory below
// what the limit leaves beside the index, which it knows nothing of. It is for a
// process that is one box.
type memoryKeeper struct {
	limit  int64 // bytes; 0 = none, or the environment's
	index  func() int64
	set    func(limit int64) int64 // debug.SetMemoryLimit
	log    *slog.Logger
	now    int64 // what was set last
	warned bool
}

// newMemoryKeeper sets what holds from the start on, and logs it. GOGC and GOMEMLIMIT
// in the environment win over configuration and defaults. root is the machine's file
// system.
func newMemoryKeeper(c *Config, root fs.FS, getenv func(string) string, log *slog.Logger) *memoryKeeper {
	m := &memoryKeeper{index: func() int64 { return 0 }, set: debug.SetMemoryLimit, log: log}
	collect := getenv("GOGC")
	if collect == "" {
		debug.SetGCPercent(collectPercent)
		collect = strconv.Itoa(collectPercent)
	}
	from := "configuration"
	if m.limit = c.MemoryLimit; m.limit == MemoryAuto {
		if m.limit = cgroupLimit(root) / 100 * ofCgroup; m.limit > 0 {
			from = "cgroup"
		}
	}
	switch env := getenv("GOMEMLIMIT"); {
	case env != "":
		m.limit = 0
		log.Info("memory", "limit", env, "from", "GOMEMLIMIT", "gogc", collect)
	case m.limit <= 0: // MemoryNone, or no cgroup has one
		m.limit = 0
		log.Info("memory", "limit", "none", "gogc", collect)
	default:
		log.Info("memory", "limit_mib", m.limit>>20, "from", from, "gogc", collect)
	}
	m.follow()
	return m
}

// follow sets Go's limit to what the index leaves.
func (m *memoryKeeper) follow() {
	if m.limit == 0 {
		return
	}
	heap := m.limit - m.index()
	if heap < leastHeap {
		if !m.warned {
			m.log.Warn("the index leaves too little of the memory limit, which will not be kept; raise it, or give the machine more memory",
				"limit_mib", m.limit>>20, "index_mib", m.index()>>20)
		}
		m.warned, heap = true, leastHeap
	}
	if heap != m.now {
		m.set(heap)
		m.now = heap
	}
}

func (m *memoryKeeper) run(ctx context.Context) error {
	tick := time.NewTicker(memoryEvery)
	defer tick.Stop()
	for {
		m.follow()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// cgroupLimit returns the least memory that the process's cgroup and those above it
// may have, in bytes; 0 = as much as there is. It knows version 2 and version 1.
func cgroupLimit(root fs.FS) int64 {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	least := int64(math.MaxInt64)
	for line := range strings.Lines(string(text)) {
		// hierarchy:controllers:path
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		mount, files := "sys/fs/cgroup", []string{"memory.max", "memory.high"}
		if parts[0] != "0" {
			mount, files = "sys/fs/cgroup/memory", []string{"memory.limit_in_bytes"}
			if !strings.Contains(","+parts[1]+",", ",memory,") {
				continue
			}
		}
		// In a container the path may be that of the machine outside; the container's own
		// limit is then found at the mount.
		for dir := path.Clean("/" + parts[2]); ; dir = path.Dir(dir) {
			for _, file := range files {
				least = min(least, readLimit(root, path.Join(mount, dir, file)))
			}
			if dir == "/" {
				break
			}
		}
	}
	if least >= noLimit {
		return 0
	}
	return least
}

// noLimit is about what version 1 shows where there is no limit.
const noLimit = math.MaxInt64 &^ (1<<20 - 1)

func readLimit(root fs.FS, name string) int64 {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return math.MaxInt64
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || n <= 0 { // "max"
		return math.MaxInt64
	}
	return n
}

// machine is the file system of this machine.
func machine() fs.FS { return os.DirFS("/") }
