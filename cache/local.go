package cache

import "fmt"

// Limits of the box's own settings.
const (
	MaxLocalName  = 64
	MaxLocalValue = 64 << 10
)

// SaveLocal stores one of the box's own settings, such as a switch that must
// outlast a reboot; it is on the disk when SaveLocal returns. A name has 1 to
// MaxLocalName bytes of a-z, 0-9, '-', '.' and '/'; a value has at most
// MaxLocalValue bytes, and an empty one removes the setting. What the feed
// brings never touches these. Errors are as for Apply.
func (s *Store) SaveLocal(name string, value []byte) error {
	if err := checkLocal(name); err != nil {
		return err
	}
	if len(value) > MaxLocalValue {
		return fmt.Errorf("save setting %s: %d bytes, at most %d", name, len(value), MaxLocalValue)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writeable(); err != nil {
		return err
	}
	err := s.commit(func(b *batch) error {
		if len(value) == 0 {
			return b.remove(localKey(name))
		}
		return b.set(localKey(name), value)
	})
	if err != nil {
		return fmt.Errorf("save setting %s: %w", name, err)
	}
	return nil
}

// LoadLocal returns what SaveLocal stored under name, nil if there is nothing.
// The slice is the caller's.
func (s *Store) LoadLocal(name string) ([]byte, error) {
	if err := checkLocal(name); err != nil {
		return nil, err
	}
	s.readers.RLock()
	defer s.readers.RUnlock()
	if s.closed.Load() {
		return nil, ErrClosed
	}
	value, err := s.get(string(localKey(name)))
	if err != nil {
		return nil, fmt.Errorf("load setting %s from cache directory %s: %w; start the box again to have the store checked", name, s.home.path, err)
	}
	return value, nil
}

func localKey(name string) []byte { return append([]byte{spaceLocal}, name...) }

func checkLocal(name string) error {
	if name == "" || len(name) > MaxLocalName {
		return fmt.Errorf("name of a setting: %d bytes, not 1 … %d", len(name), MaxLocalName)
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '/' {
			return fmt.Errorf("name of a setting: byte %d is not one of a-z, 0-9, '-', '.', '/'", i+1)
		}
	}
	return nil
}
