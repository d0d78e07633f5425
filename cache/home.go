package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

var (
	// ErrForeign: the directory holds something that is not a store. Nothing
	// in it was touched.
	ErrForeign = errors.New("not a gateline cache")
	// ErrInUse: another process has the store open.
	ErrInUse = errors.New("in use by another process")
	// ErrDiskFull: less free space than Options.MinFree. Lookups go on.
	ErrDiskFull = errors.New("too little free disk space")
	// ErrFormat: the store has a format that this program does not know.
	ErrFormat = errors.New("unknown cache format")
	// ErrDamaged: the directory is a store's and cannot be read.
	ErrDamaged = errors.New("damaged cache")
)

const (
	markerName = "GATELINE-CACHE"
	// markerTemp is the marker before its rename. A crash may leave it behind
	// in a directory that is otherwise empty.
	markerTemp   = markerName + ".tmp"
	markerPrefix = "gateline cache format "
	// format is the layout described in the package comment. Format 1 had
	// neither the hash of the last entry nor the keys of the feed, format 2 no
	// marks of shards, format 3 a key for each record; format 4 did not seal.
	format = 5

	badgerDir = "badger"
	// lostFound is what a fresh file system of its own holds.
	lostFound = "lost+found"
)

// home is the locked directory of one store. The locks are held on the
// directories themselves, so they leave nothing behind.
type home struct {
	path  string
	locks []*os.File
}

// openHome brings the directory into the state in which Badger may be started:
// ours, locked, marked, writable and with room. It creates what is missing.
func openHome(path string, minFree int64) (h *home, err error) {
	if err := inspect(path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("create cache directory %s: %w; create it for the box's user or choose another directory", path, err)
	}
	h = &home{path: path}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
			h = nil
		}
	}()
	if err := h.lock(path); err != nil {
		return h, err
	}
	// Again under the lock: another process may just have made it its own.
	if err := inspect(path); err != nil {
		return h, err
	}
	if err := writable(path); err != nil {
		return h, err
	}
	if err := checkSpace(path, minFree); err != nil {
		return h, err
	}
	if err := initialise(path); err != nil {
		return h, fmt.Errorf("initialise cache directory %s: %w; see to the disk, then start again", path, err)
	}
	if err := h.lock(h.badger()); err != nil {
		return h, err
	}
	return h, writable(h.badger())
}

func (h *home) badger() string { return filepath.Join(h.path, badgerDir) }

// lock takes the lock that Badger's own tools take too.
func (h *home) lock(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open cache directory %s: %w; give the box's user access to it", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("cache directory %s: %w; stop the other process, or give this one a directory of its own", dir, ErrInUse)
		}
		return fmt.Errorf("lock cache directory %s: %w; use a local file system", dir, err)
	}
	h.locks = append(h.locks, f)
	return nil
}

// close releases the locks. It is idempotent.
func (h *home) close() error {
	var errs []error
	for i := len(h.locks) - 1; i >= 0; i-- {
		errs = append(errs, h.locks[i].Close())
	}
	h.locks = nil
	return errors.Join(errs...)
}

// inspect reports why path cannot be a store's directory; an absent or empty
// one can. It changes nothing.
func inspect(path string) error {
	if path == "" {
		return errors.New("cache directory: no path given; set one")
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cache directory %s: %w; give the box's user access to it", path, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("cache directory %s: it is a file, not a directory; move it away or choose another path", path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("read cache directory %s: %w; give the box's user access to it", path, err)
	}
	alien := false
	for _, e := range entries {
		switch e.Name() {
		case markerName:
			return checkMarker(path)
		case markerTemp, lostFound:
		default:
			alien = true
		}
	}
	if alien {
		return fmt.Errorf("cache directory %s: %w: it holds files and no %s; nothing was changed; choose an empty directory, or move these files away", path, ErrForeign, markerName)
	}
	return nil
}

func checkMarker(dir string) error {
	path := filepath.Join(dir, markerName)
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read %s: %w; give the box's user access to it", path, err)
	}
	number, found := strings.CutPrefix(strings.TrimSuffix(string(text), "\n"), markerPrefix)
	version, err := strconv.ParseUint(number, 10, 16)
	if !found || err != nil {
		return damaged(dir, fmt.Errorf("%s does not say %q and a number", markerName, markerPrefix))
	}
	if version != format {
		return fmt.Errorf("cache directory %s: %w %d, this program knows %d; run the program that wrote it, or move the directory away and the box loads everything again from the centre", dir, ErrFormat, version, format)
	}
	return nil
}

// initialise writes the marker, then the folder for Badger; what is there
// already is left alone. The marker appears by a rename, whole or not at all.
func initialise(path string) error {
	marker := filepath.Join(path, markerName)
	if _, err := os.Stat(marker); errors.Is(err, fs.ErrNotExist) {
		temp := filepath.Join(path, markerTemp)
		if err := writeSynced(temp, fmt.Sprintf("%s%d\n", markerPrefix, format)); err != nil {
			return err
		}
		if err := os.Rename(temp, marker); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(path, badgerDir), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return errors.Join(syncDir(path), syncDir(filepath.Dir(filepath.Clean(path))))
}

func writeSynced(path, text string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDir makes names in a directory durable. A parent that the box's user may
// not read cannot be synced; the worst that follows is a store to load again.
func syncDir(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// writable reports what in dir, itself included, cannot be read and written.
// Badger would report it as damage, or end the process.
func writable(dir string) error {
	if err := unix.Access(dir, unix.R_OK|unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("cache directory %s: it cannot be read and written: %w; give it to the box's user on a file system mounted read-write", dir, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read cache directory %s: %w; give the box's user access to it", dir, err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if err := unix.Access(path, unix.R_OK|unix.W_OK); err != nil {
			return fmt.Errorf("cache file %s: it cannot be read and written: %w; give it to the box's user", path, err)
		}
	}
	return nil
}

// checkSpace refuses to go on with less than min bytes free: Badger writes
// through memory maps, and on a full disk such a write ends the process.
func checkSpace(path string, min int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return fmt.Errorf("ask for free space at %s: %w; see to the disk", path, err)
	}
	free := st.Bavail * uint64(st.Bsize)
	if free < uint64(min) {
		return fmt.Errorf("cache directory %s: %w: %d MiB free, %d MiB needed; free some; a box that runs then goes on by itself", path, ErrDiskFull, free>>20, min>>20)
	}
	return nil
}

// damaged says what to do about a store that cannot be read.
func damaged(dir string, cause error) error {
	return fmt.Errorf("cache directory %s: %w: %w; nothing was wiped; move the directory away and start again: the box then loads everything from the centre", dir, ErrDamaged, cause)
}
