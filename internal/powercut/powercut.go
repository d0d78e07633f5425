// Package powercut cuts the power of a disk, for tests: an ext4 file system of
// its own, on a loop device, that stops at one instant. What was not sent to the
// device by then is lost, however often a program was told that it was written;
// a kill proves nothing of that, because the kernel writes on.
//
// What a device has been sent counts as kept. A disk that loses its own cache is
// not played, so whether caches are flushed is not proven. The device is in
// memory, so that much happens before a cut.
package powercut

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// shutdown is EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32) of the kernel's
	// fs/ext4/ext4.h, and noLogFlush EXT4_GOING_FLAGS_NOLOGFLUSH: the journal is
	// left as it is.
	shutdown   = 2<<30 | 4<<16 | 'X'<<8 | 125
	noLogFlush = 2

	imageSize = 256 << 20
	// patience bounds every wait for the kernel.
	patience = 20 * time.Second
	// lifetime bounds the life of a process whose power is to be cut.
	lifetime = 60 * time.Second
	// aloneName names the environment variable of a process with its own mounts.
	aloneName = "GATELINE_POWERCUT_ALONE"
)

// Alone runs the calling test once more, in a process whose mounts nobody else
// sees, and reports false when that has ended, with its result as the test's. In
// that process it reports true, and the test goes on. So the kernel unmounts
// the disk and frees the loop device however the process ends. A test that
// cannot cut the power here is skipped, and is told what is missing.
func Alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(aloneName) != "" {
		return true
	}
	need(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-test.run=^" + t.Name() + "$", "-test.v"}
	flag.Visit(func(f *flag.Flag) {
		if !strings.HasPrefix(f.Name, "test.") || f.Name == "test.short" || f.Name == "test.timeout" {
			args = append(args, "-"+f.Name+"="+f.Value.String())
		}
	})
	c := exec.Command(self, args...)
	c.Env = append(os.Environ(), aloneName+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		t.Fatalf("%v\n%s", err, out)
	case errors.Is(err, unix.EPERM):
		t.Skipf("cutting the power needs the right to mount (CAP_SYS_ADMIN): %v", err)
	case err != nil:
		t.Fatal(err)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	}
	t.Logf("%s", out)
	return false
}

// need skips the test where something is missing that shows at once.
func need(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("cutting the power needs root, who may mount a file system")
	}
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		t.Skip("cutting the power needs mkfs.ext4, which e2fsprogs has")
	}
	f, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("cutting the power needs loop devices: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// Disk is an ext4 file system whose power can be cut.
type Disk struct {
	t      testing.TB
	image  *os.File // in memory
	dir    string
	device string // "" while it is not mounted
}

// New makes a disk and mounts it until the end of the test, which is to be
// Alone. The test is skipped where the kernel cannot mount it.
func New(t testing.TB) *Disk {
	t.Helper()
	d := &Disk{t: t, dir: t.TempDir()}
	fd, err := unix.MemfdCreate("powercut", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatalf("make a file in memory: %v", err)
	}
	d.image = os.NewFile(uintptr(fd), "powercut")
	t.Cleanup(d.close)
	if err := d.image.Truncate(imageSize); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("mkfs.ext4", "-q", "-F", "-N", "4096", "/dev/fd/3")
	c.ExtraFiles = []*os.File{d.image}
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	switch err := d.mount(); {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENXIO):
		t.Skipf("cutting the power needs an ext4 file system on a loop device: %v", err)
	case err != nil:
		t.Fatal(err)
	}
	return d
}

func (d *Disk) close() {
	if d.device != "" {
		if err := d.unmount(); err != nil {
			d.t.Errorf("%v; it is taken away from under what still uses it", err)
			_ = unix.Unmount(d.dir, unix.MNT_DETACH)
		}
	}
	_ = d.image.Close()
}

// Dir is where the disk is mounted.
func (d *Disk) Dir() string { return d.dir }

// Cut cuts the power: nothing is written from now on, and what asks for it
// fails. It may be called from any goroutine.
func (d *Disk) Cut() error {
	f, err := os.Open(d.dir)
	if err != nil {
		return fmt.Errorf("cut the power: %w", err)
	}
	if err := unix.IoctlSetPointerInt(int(f.Fd()), shutdown, noLogFlush); err != nil {
		err = fmt.Errorf("cut the power of %s: %w", d.dir, err)
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// CutUnder runs the test binary once more, with env added to its environment, cuts
// the power a while after hear first asked for it, and kills the process. hear is
// called on the calling goroutine with each whole line that the process says and
// whether the power was still on when it was read: what is acknowledged without
// power is nothing, because a sync that the cut meets half-way may return without
// an error. An error of hear's is shown with the test's failure if the process
// ended before the cut; any process has one after it.
func (d *Disk) CutUnder(env []string, after time.Duration, hear func(line string, powered bool) (begin bool, err error)) {
	d.t.Helper()
	self, err := os.Executable()
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(d.t.Context(), lifetime)
	defer cancel()
	c := exec.CommandContext(ctx, self)
	c.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		d.t.Fatal(err)
	}
	cut := make(chan error, 1)
	var powerless atomic.Bool
	var timer *time.Timer
	var fault error
	for lines := bufio.NewReader(out); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // a line without its end was not said
		}
		begin, err := hear(strings.TrimSuffix(line, "\n"), !powerless.Load())
		fault = errors.Join(fault, err)
		if timer == nil && begin {
			timer = time.AfterFunc(after, func() {
				powerless.Store(true)
				cut <- errors.Join(d.Cut(), c.Process.Kill())
			})
		}
	}
	early := timer == nil || timer.Stop()
	if !early {
		err = <-cut
	}
	ended := c.Wait()
	if early || err != nil {
		d.t.Fatalf("the process ended by itself, or the power could not be cut: %v, %v, %v\n%s", ended, err, fault, stderr.String())
	}
}

// Restart mounts the disk anew, by which the kernel replays its journal. Nothing
// may have it open, but what has ended may take a moment.
func (d *Disk) Restart() {
	d.t.Helper()
	if err := d.unmount(); err != nil {
		d.t.Fatal(err)
	}
	if err := d.mount(); err != nil {
		d.t.Fatal(err)
	}
}

func (d *Disk) mount() error {
	loop, err := d.attach()
	if err != nil {
		return err
	}
	// The device lives as long as somebody has it open, the mount from here on.
	defer func() { _ = loop.Close() }()
	if err := unix.Mount(loop.Name(), d.dir, "ext4", 0, "noinit_itable"); err != nil {
		return fmt.Errorf("mount %s: %w", loop.Name(), err)
	}
	d.device = loop.Name()
	return nil
}

// attach returns a loop device with the image in it.
func (d *Disk) attach() (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = control.Close() }()
	for deadline := time.Now().Add(patience); ; {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("find a free loop device: %w", err)
		}
		loop, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		config := unix.LoopConfig{Fd: uint32(d.image.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &config)
		if err == nil {
			return loop, nil
		}
		_ = loop.Close()
		// Another process may have been quicker.
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return nil, fmt.Errorf("set up %s: %w", loop.Name(), err)
		}
	}
}

// unmount returns once the loop device has let go of the image.
func (d *Disk) unmount() error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for mounted := true; ; {
		if mounted {
			err := unix.Unmount(d.dir, 0)
			if err != nil && !errors.Is(err, unix.EBUSY) {
				return fmt.Errorf("unmount %s: %w", d.dir, err)
			}
			mounted = err != nil
		}
		if !mounted && !d.attached() {
			d.device = ""
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline:
			return fmt.Errorf("unmount %s from %s: it is still in use after %v", d.dir, d.device, patience)
		}
	}
}

// attached reports whether the loop device has the image still.
func (d *Disk) attached() bool {
	loop, err := os.Open(d.device)
	if err != nil {
		return false
	}
	defer func() { _ = loop.Close() }()
	info, err := unix.IoctlLoopGetStatus64(int(loop.Fd()))
	if err != nil {
		return false
	}
	var image unix.Stat_t
	return unix.Fstat(int(d.image.Fd()), &image) == nil && info.Inode == image.Ino && info.Device == image.Dev
}
