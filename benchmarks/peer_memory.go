package main

import (
	"errors"
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

func mapPeer() peer {
	return peer{
		name:  "Go map",
		about: "map[uint64]uint64 of the right size from the start, under a sync.RWMutex; memory only, updates reach no disk",
		load:  func(dir string, records int, s *source) error { return saveFlat(dir, s) },
		open:  openMap,
	}
}

// mapStore is what a program without a store would begin with.
type mapStore struct {
	mu     sync.RWMutex // guards values
	values map[uint64]uint64
}

func openMap(dir string, records int) (store, error) {
	m := &mapStore{values: make(map[uint64]uint64, records)}
	err := readFlat(dir, func(it item) { m.values[it.token] = it.value })
	return m, err
}

func (m *mapStore) lookup(token uint64) (uint64, bool, error) {
	m.mu.RLock()
	value, found := m.values[token]
	m.mu.RUnlock()
	return value, found, nil
}

func (m *mapStore) update(items []item) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, it := range items {
		m.values[it.token] = it.value
	}
	return nil
}

func (m *mapStore) close() error { return nil }

func flatPeer() peer {
	return peer{
		name:  "flat table",
		about: "the floor: 16-byte slots, 70 % full, on huge pages, no lock; memory only, updates reach no disk",
		load:  func(dir string, records int, s *source) error { return saveFlat(dir, s) },
		open:  openFlat,
	}
}

// flatStore is as little as a lookup can do: one place to go to, and mostly one
// cache line to read.
type flatStore struct {
	memory []byte
	slots  []flatSlot
}

// flatSlot is empty where its token is 0, which is nobody's.
type flatSlot struct{ token, value atomic.Uint64 }

const (
	flatSlotSize = int(unsafe.Sizeof(flatSlot{}))
	// flatFull is how full the table is in percent: 22.9 bytes a record.
	flatFull = 70
	// flatPage is a huge page, of which the table has whole ones.
	flatPage = 2 << 20
)

func openFlat(dir string, records int) (store, error) {
	size := (records*100/flatFull + 1) * flatSlotSize
	size = (size + flatPage - 1) / flatPage * flatPage
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	// Only a hint: a kernel without huge pages refuses it, and the table is then slower.
	_ = unix.Madvise(memory, unix.MADV_HUGEPAGE)
	// The rounding would spread small tables thinner; only so many slots are used.
	slots := unsafe.Slice((*flatSlot)(unsafe.Pointer(&memory[0])), records*100/flatFull+1)
	f := &flatStore{memory: memory, slots: slots}
	err = readFlat(dir, func(it item) {
		slot := f.find(it.token)
		slot.token.Store(it.token)
		slot.value.Store(it.value)
	})
	if err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// find returns the token's slot or the empty one where the search ends; there is
// always one.
func (f *flatStore) find(token uint64) *flatSlot {
	slots := f.slots
	place, _ := bits.Mul64(token, uint64(len(slots)))
	for i := int(place); ; i++ {
		if i == len(slots) {
			i = 0
		}
		if t := slots[i].token.Load(); t == token || t == 0 {
			return &slots[i]
		}
	}
}

func (f *flatStore) lookup(token uint64) (uint64, bool, error) {
	slot := f.find(token)
	return slot.value.Load(), slot.token.Load() == token, nil
}

func (f *flatStore) update(items []item) error {
	for _, it := range items {
		f.find(it.token).value.Store(it.value)
	}
	return nil
}

func (f *flatStore) close() error {
	f.slots = nil
	return unix.Munmap(f.memory)
}
