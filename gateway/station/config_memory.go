package station

import (
	"math"
	"strconv"
	"strings"

	"gateline/internal/tomlconf"
)

// Values of Config.MemoryLimit that are no number of bytes.
const (
	// MemoryAuto is 90 % of what the cgroup may have, none where that has no limit.
	MemoryAuto int64 = 0
	// MemoryNone is no limit.
	MemoryNone int64 = -1
)

// minMemoryLimit is the least that a box may be held to.
const minMemoryLimit = 256 << 20

// parseMemory reads [memory].
func parseMemory(root tomlconf.Table, c *Config) {
	t := root.Table("memory")
	defer t.End()
	text := ""
	t.String("limit", &text)
	switch text {
	case "":
		return
	case "auto":
		c.MemoryLimit = MemoryAuto
		return
	case "none":
		c.MemoryLimit = MemoryNone
		return
	}
	n, ok := parseSize(text)
	switch {
	case !ok:
		t.Fault("limit", `%.40q is not "auto", "none" or a size such as "1500MiB"; units are B, KiB, MiB, GiB and TiB`, text)
	case n < minMemoryLimit:
		t.Fault("limit", "%.40q is below %d MiB, with which no box works", text, minMemoryLimit>>20)
	default:
		c.MemoryLimit = n
	}
}

// parseSize reads a size as GOMEMLIMIT is written.
func parseSize(text string) (bytes int64, ok bool) {
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB", "B"} {
		number, found := strings.CutSuffix(text, unit)
		if !found {
			continue
		}
		shift := 10 * (i + 1)
		if unit == "B" {
			shift = 0
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64>>shift || number[0] == '+' {
			return 0, false
		}
		return n << shift, true
	}
	return 0, false
}
