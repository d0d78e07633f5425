package setup

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"gateline/drivers/osdp"
	"gateline/internal/keyfile"
)

// Keys is where the key of one reader is kept: the one in force, and one that
// is on its way into the reader. Every error names the place and the next step,
// and shows nothing of a key.
type Keys interface {
	// Load returns the key in force and the staged one, nil where there is none.
	Load() (current, staged *osdp.Key, err error)
	// Ready reports whether Stage and Adopt can write, before a reader is touched.
	Ready() error
	// Stage keeps a new key beside the one in force. Once it returns, the key
	// survives a power cut. It refuses where one is staged already.
	Stage(osdp.Key) error
	// Adopt makes the staged key the one in force; the one before is gone then.
	Adopt() error
	// Name says where the key in force is, StagedName where the staged one.
	Name() string
	StagedName() string
}

const stagedSuffix = ".new"

// KeyFile keeps a reader's key in a file of 32 hexadecimal digits, and a staged
// one beside it with .new at the end of its name.
type KeyFile struct{ Path string }

var _ Keys = KeyFile{}

// Name implements Keys.
func (k KeyFile) Name() string { return k.Path }

// StagedName implements Keys.
func (k KeyFile) StagedName() string { return k.Path + stagedSuffix }

// Load implements Keys.
func (k KeyFile) Load() (current, staged *osdp.Key, err error) {
	if current, err = ReadKeyFile(k.Name()); err == nil {
		staged, err = ReadKeyFile(k.StagedName())
	}
	return current, staged, err
}

// ReadKeyFile returns the key in a file, nil where there is no such file. A
// weak key is refused. The error names the file and the next step.
func ReadKeyFile(path string) (*osdp.Key, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	text, err := keyfile.Read(path)
	if err != nil {
		return nil, err
	}
	key, err := osdp.ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w; move it away, and if a reader had that key, reset the reader", path, err)
	}
	if key.Weak() {
		return nil, fmt.Errorf("key file %s holds a key that everybody tries; move it away, reset its reader to install mode and commission it anew", path)
	}
	return &key, nil
}

// owner is whom a key file belongs to and who may use it.
type owner struct {
	uid, gid int
	mode     fs.FileMode
	change   bool // they are not what this process's new files get
}

// owner of a key file: as the one that is replaced; of a first one, root gives
// it to the folder's owner, so that the box's user can read it.
func (k KeyFile) owner() (owner, error) {
	o := owner{mode: 0o600}
	info, err := os.Stat(k.Path)
	switch {
	case err == nil:
		o.mode = info.Mode().Perm() & 0o640
	case !errors.Is(err, fs.ErrNotExist):
		return o, fmt.Errorf("key file: %w; see to its folder", err)
	case os.Geteuid() != 0:
		return o, nil
	default:
		if info, err = os.Stat(filepath.Dir(k.Path)); err != nil {
			return o, fmt.Errorf("folder of the key file: %w; make it, owned by the box's user, mode 0700", err)
		}
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		o.uid, o.gid = int(st.Uid), int(st.Gid)
		o.change = o.uid != os.Geteuid() || o.gid != os.Getegid()
	}
	return o, nil
}

// Ready implements Keys: it writes a file that is no key beside the key file
// and removes it.
func (k KeyFile) Ready() error {
	path, err := k.write("not a key\n")
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return fmt.Errorf("no key can be kept in %s: %w; make that folder, owned by the box's user, mode 0700, and run this as that user or as root", filepath.Dir(k.Path), err)
	}
	return nil
}

// Stage implements Keys. The key appears under its name whole or not at all.
func (k KeyFile) Stage(key osdp.Key) error {
	path, err := k.write(fmt.Sprintf("%x\n", key[:]))
	if err == nil {
		// Unlike a rename, a link refuses to take the place of a key.
		err = errors.Join(os.Link(path, k.StagedName()), os.Remove(path))
	}
	if err == nil {
		err = syncFolder(k.Path)
	}
	if err != nil {
		return fmt.Errorf("keep the new key in %s: %w; the reader has not been given it: see to the folder and run this again", k.StagedName(), err)
	}
	return nil
}

// write makes a file beside the key file, on the disk when it returns, with the
// owner and the mode that the key file gets.
func (k KeyFile) write(text string) (path string, err error) {
	o, err := k.owner()
	if err != nil {
		return "", err
	}
	// CreateTemp makes it with mode 0600 and under a name that nobody has.
	f, err := os.CreateTemp(filepath.Dir(k.Path), "."+filepath.Base(k.Path)+".tmp-*")
	if err != nil {
		return "", err
	}
	if o.change {
		err = f.Chown(o.uid, o.gid)
	}
	if err == nil {
		err = f.Chmod(o.mode)
	}
	if err == nil {
		_, err = io.WriteString(f, text)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// Adopt implements Keys.
func (k KeyFile) Adopt() error {
	err := os.Rename(k.StagedName(), k.Path)
	if err == nil {
		err = syncFolder(k.Path)
	}
	if err != nil {
		return fmt.Errorf("put the reader's new key from %s into %s: %w; keep both files, see to the folder and run this again", k.StagedName(), k.Path, err)
	}
	return nil
}

// syncFolder makes what happened to names in path's folder survive a power cut.
func syncFolder(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// freshKey draws a key that nobody would guess.
func freshKey(random io.Reader) (key osdp.Key, err error) {
	const draws = 16 // a weak one is all but impossible; more of them are a broken source
	for range draws {
		if _, err := io.ReadFull(random, key[:]); err != nil {
			return osdp.Key{}, fmt.Errorf("draw a key: %w", err)
		}
		if !key.Weak() {
			return key, nil
		}
	}
	return osdp.Key{}, fmt.Errorf("draw a key: %d weak ones in a row; the source of random numbers is broken, replace the machine", draws)
}
