package station

import (
	"bytes"
	"log/slog"
	"runtime/debug"
	"strings"
	"testing"
	"testing/fstest"
)

func TestCgroupLimit(t *testing.T) {
	files := func(pairs ...string) fstest.MapFS {
		m := fstest.MapFS{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
		}
		return m
	}
	const self = "proc/self/cgroup"
	for _, c := range []struct {
		name string
		root fstest.MapFS
		want int64
	}{
		{"nothing", files(), 0},
		{"no limit", files(self, "0::/a.slice/b.service\n", "sys/fs/cgroup/a.slice/b.service/memory.max", "max\n"), 0},
		{"its own", files(self, "0::/a.slice/b.service\n", "sys/fs/cgroup/a.slice/b.service/memory.max", "2147483648\n"), 2 << 30},
		{"that of one above", files(self, "0::/a.slice/b.service\n", "sys/fs/cgroup/a.slice/b.service/memory.max", "max\n", "sys/fs/cgroup/a.slice/memory.max", "1000000000\n"), 1_000_000_000},
		{"high", files(self, "0::/b\n", "sys/fs/cgroup/b/memory.max", "2000000000\n", "sys/fs/cgroup/b/memory.high", "1500000000\n"), 1_500_000_000},
		{"a container", files(self, "0::/\n", "sys/fs/cgroup/memory.max", "1000\n"), 1000},
		{"version 1", files(self, "5:cpu,cpuacct:/x\n4:memory:/x\n1:name=systemd:/x\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes", "3000\n", "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"), 3000},
		{"version 1 without", files(self, "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"), 0},
		{"garbage", files(self, "\x00:\n0::\n::\n0::/../..\n", "sys/fs/cgroup/memory.max", "-5\n"), 0},
	} {
		if got := cgroupLimit(c.root); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	if cgroupLimit(machine()) < 0 {
		t.Error("this machine's limit is negative")
	}
}

// What the index takes, Go may not; configuration, cgroup and environment in their
// order.
func TestMemoryKeeper(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	percent := debug.SetGCPercent(100)
	t.Cleanup(func() {
		debug.SetMemoryLimit(before)
		debug.SetGCPercent(percent)
	})
	cgroup := fstest.MapFS{
		"proc/self/cgroup":           {Data: []byte("0::/b\n")},
		"sys/fs/cgroup/b/memory.max": {Data: []byte("1000000000\n")},
	}
	for _, c := range []struct {
		name   string
		config int64
		env    map[string]string
		index  int64
		limit  int64 // 0 = it is left alone
		logged string
	}{
		{"configured", 2 << 30, nil, 400 << 20, 2<<30 - 400<<20, "limit_mib=2048 from=configuration gogc=100"},
		{"cgroup", MemoryAuto, nil, 1 << 20, 900_000_000 - 1<<20, "limit_mib=858 from=cgroup"},
		{"none", MemoryNone, nil, 1 << 20, 0, "limit=none gogc=100"},
		{"the environment", 2 << 30, map[string]string{"GOMEMLIMIT": "3GiB", "GOGC": "50"}, 1 << 20, 0, "limit=3GiB from=GOMEMLIMIT gogc=50"},
		{"an index too large", 1 << 30, nil, 1 << 30, leastHeap, "limit_mib=1024 from=configuration"},
	} {
		debug.SetMemoryLimit(before)
		var out bytes.Buffer
		m := newMemoryKeeper(&Config{MemoryLimit: c.config}, cgroup, func(key string) string { return c.env[key] }, slog.New(slog.NewTextHandler(&out, nil)))
		if !strings.Contains(out.String(), c.logged) {
			t.Errorf("%s: logged %s", c.name, out.String())
		}
		out.Reset()
		m.index = func() int64 { return c.index }
		m.follow()
		m.follow()
		want := c.limit
		if want == 0 {
			want = before
		}
		if got := debug.SetMemoryLimit(-1); got != want {
			t.Errorf("%s: limit %d, want %d", c.name, got, want)
		}
		if warned := strings.Count(out.String(), "WARN"); warned != 0 && c.limit != leastHeap || warned > 1 || warned == 0 && c.limit == leastHeap {
			t.Errorf("%s: warned %d times", c.name, warned)
		}
	}
}

const memoryConfig = `station = "x"
[centre]
url = "nats-leaf://127.0.0.1:7422"
[feed]
keys = ["feedkey-151a576f344882954894d2456ca6d9b72157b3c819746d6c6bdea63dd6c7aafc"]
[[line]]
name = "north"
device = "/dev/gate-north"
[[line.gate]]
name = "N1"
address = 1
`

func TestParseMemory(t *testing.T) {
	for text, want := range map[string]int64{"auto": MemoryAuto, "none": MemoryNone, "1500MiB": 1500 << 20, "2GiB": 2 << 30, "1TiB": 1 << 40, "524288KiB": 512 << 20, "2000000000B": 2_000_000_000} {
		c, err := ParseConfig("x", []byte(memoryConfig+"[memory]\nlimit = \""+text+"\"\n"), DefaultConfig())
		if err != nil || c.MemoryLimit != want {
			t.Errorf("%s: %d, err %v", text, c.MemoryLimit, err)
		}
	}
	for _, text := range []string{"2GB", "-1GiB", "+1GiB", "1.5GiB", "GiB", "B", "2", "1MiB", "9999999999999TiB", "AUTO"} {
		_, err := ParseConfig("x", []byte(memoryConfig+"[memory]\nlimit = \""+text+"\"\n"), DefaultConfig())
		if err == nil || !strings.Contains(err.Error(), "limit") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
