package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
)

// memory is what a process holds in RAM, bytes.
type memory struct {
	// Anonymous is memory of its own, Mapped what it sees of files, which the kernel
	// may drop and read again.
	Anonymous int64 `json:"anonymous"`
	Mapped    int64 `json:"mapped"`
}

// memoryOf asks the kernel. pid 0 is this process, whose garbage is collected first.
func memoryOf(pid int) (memory, error) {
	who := "self"
	if pid != 0 {
		who = strconv.Itoa(pid)
	} else {
		debug.FreeOSMemory()
	}
	path := filepath.Join("/proc", who, "smaps_rollup")
	text, err := os.ReadFile(path)
	if err != nil {
		return memory{}, fmt.Errorf("ask for resident memory: %w; Linux 4.14 or later has this file", err)
	}
	resident, errR := field(string(text), "Rss")
	anonymous, errA := field(string(text), "Anonymous")
	if err := errors.Join(errR, errA); err != nil {
		return memory{}, fmt.Errorf("read %s: %w; Linux 4.14 or later has it", path, err)
	}
	return memory{Anonymous: anonymous, Mapped: resident - anonymous}, nil
}

// peakMemory is the most that this process ever had resident, bytes.
func peakMemory() (int64, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("ask for the most memory: %w; mount /proc", err)
	}
	return field(string(text), "VmHWM")
}

// field finds "name: 123 kB" in a text of the kernel's and returns bytes.
func field(text, name string) (int64, error) {
	for line := range strings.Lines(text) {
		rest, found := strings.CutPrefix(line, name+":")
		if !found {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		return n << 10, err
	}
	return 0, fmt.Errorf("no line %q", name)
}

// onDisk is what the files of a folder take on the disk, bytes; holes take none.
func onDisk(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			total += st.Blocks * 512
		}
		return nil
	})
	return total, err
}
