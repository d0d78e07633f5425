package cache

import (
	"fmt"
	"math/bits"
	"unsafe"

	"golang.org/x/sys/unix"
)

// arena is the memory of an index, apart from Go's heap so that it lies in huge
// pages and no garbage collection looks at it: a lookup among millions of records
// waits for the memory, and in pages of 4 kB twice. Blocks are of 1, 2, 4 … buckets
// (buddies): freed ones join, so that a city that grows finds room for larger
// tables in what smaller ones had. A block is known by the number of its first bucket.
//
// A freed block may be in use again while a lookup still reads it; index says why that
// does no harm. Memory stays mapped as long as the index is reachable; what is free in
// huge pages is given back to the kernel at once.
type arena struct {
	// memory is where bucket 0 is. Addresses for all of it are reserved from the start,
	// and memory is taken chunk by chunk.
	memory unsafe.Pointer
	size   int // bytes of addresses
	mapped bool
	// top is the class of the largest block, which a chunk is.
	top    int
	chunks []chunk
	inUse  int // buckets
}

// chunk has the free blocks of a part of the memory, by their classes.
type chunk []freeBlocks

// freeBlocks are the free blocks of one class in one chunk, a bit for each block
// that there could be.
type freeBlocks struct {
	n    int
	bits []uint64
}

const (
	// arenaTop makes chunks of 32 MB, of which small stores touch the first 2 MB only.
	arenaTop = 19
	// arenaMost is the addresses that are reserved, for a thousand million records, and
	// arenaLeast as many as it takes where a process may not have that much.
	arenaMost, arenaLeast = 16 << 30, 256 << 20
	// heapMost is an arena's size on Go's heap.
	heapMost = 8 << 20

	hugePage = 2 << 20
	// hugeClass is the class of a block of one huge page.
	hugeClass = 15
)

// newArena returns an arena and what unmaps it in the end, when nothing leads to its
// memory any more. Chunks smaller than a huge page, which only tests have, are Go's
// heap: there the race detector sees them.
func newArena(top int) (arena, func()) {
	a := arena{top: top, size: heapMost}
	if top < hugeClass {
		a.memory = unsafe.Pointer(&make([]bucket, heapMost/bucketSize)[0])
		return a, func() {}
	}
	var all []byte
	var err error
	for a.size = arenaMost; a.size >= arenaLeast; a.size /= 2 {
		if all, err = unix.Mmap(-1, 0, a.size+hugePage, unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE); err == nil {
			break
		}
	}
	if err != nil {
		panic(fmt.Sprintf("cache: no addresses for the index: %v; ulimit -v bounds them", err))
	}
	a.memory, a.mapped = unsafe.Pointer(&all[-uintptr(unsafe.Pointer(&all[0]))%hugePage]), true
	return a, func() { _ = unix.Munmap(all) } // of what was mapped it cannot fail
}

// alloc returns an empty block of 1<<class buckets, of the lowest chunk that has
// one.
func (a *arena) alloc(class int) uint32 {
	a.inUse += 1 << class
	for {
		for have := class; have <= a.top; have++ {
			for i, c := range a.chunks {
				if c[have].n > 0 {
					return uint32(i<<a.top + c.take(have, class))
				}
			}
		}
		a.open()
	}
}

// open takes one chunk more. Where there is no memory the process ends, as it does
// when Go finds none.
func (a *arena) open() {
	i := len(a.chunks)
	if (i+1)*bucketSize<<a.top > a.size {
		panic("cache: more records than the addresses that could be reserved for them; ulimit -v bounds those")
	}
	if a.mapped {
		memory := a.bytesOf(i<<a.top, a.top)
		if err := unix.Mprotect(memory, unix.PROT_READ|unix.PROT_WRITE); err != nil {
			panic(fmt.Sprintf("cache: out of memory: %v", err))
		}
		// Hints: a kernel without huge pages refuses the first, and lookups are slower then.
		// Health data stays out of core dumps.
		_ = unix.Madvise(memory, unix.MADV_HUGEPAGE)
		_ = unix.Madvise(memory, unix.MADV_DONTDUMP)
	}
	c := make(chunk, a.top+1)
	for class := range c {
		c[class].bits = make([]uint64, max(1, 1<<(a.top-class)/64))
	}
	c[a.top].put(0)
	a.chunks = append(a.chunks, c)
}

// block returns the buckets of a block.
func (a *arena) block(first uint32, class int) []bucket {
	return unsafe.Slice((*bucket)(unsafe.Add(a.memory, uintptr(first)*uintptr(bucketSize))), 1<<class)
}

func (a *arena) bytesOf(first, class int) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(a.memory, first*bucketSize)), bucketSize<<class)
}

// release frees a block of 1<<class buckets, which nobody finds any more, and
// empties it.
func (a *arena) release(block uint32, class int) {
	buckets := a.block(block, class)
	for i := range buckets {
		for k := range buckets[i] {
			buckets[i][k].Store(0)
		}
	}
	a.inUse -= 1 << class
	if class > hugeClass {
		a.toKernel(int(block), class)
	}
	// It joins its free neighbours. A huge page that is free as a whole goes back.
	c := a.chunks[block>>a.top]
	for first := int(block) & (1<<a.top - 1); ; class++ {
		if class == hugeClass {
			a.toKernel(int(block)>>a.top<<a.top+first, class)
		}
		other := first>>class ^ 1
		if class == a.top || !c[class].has(other) {
			c[class].put(first >> class)
			return
		}
		c[class].drop(other)
		first &^= 1 << class
	}
}

// toKernel gives the memory of a block back. It is empty when it is used again.
func (a *arena) toKernel(first, class int) {
	if a.mapped {
		_ = unix.Madvise(a.bytesOf(first, class), unix.MADV_DONTNEED) // where it fails, the index keeps it
	}
}

// drop gives the kernel everything back but the addresses, which lookups may be
// reading. The arena is not used any more.
func (a *arena) drop() {
	for i := range a.chunks {
		a.toKernel(i<<a.top, a.top)
	}
	a.chunks, a.inUse = nil, 0
}

// bytes is how much of the arena is in use.
func (a *arena) bytes() int { return a.inUse * bucketSize }

// take takes the lowest free block of class have, cuts it down to the class that
// is wanted and returns the number of its first bucket in the chunk.
func (c chunk) take(have, class int) int {
	first := c[have].lowest() << have
	c[have].drop(first >> have)
	for have > class {
		have--
		c[have].put(first>>have + 1)
	}
	return first
}

func (f *freeBlocks) has(n int) bool { return f.bits[n/64]>>(n%64)&1 != 0 }

func (f *freeBlocks) put(n int) {
	f.bits[n/64] |= 1 << (n % 64)
	f.n++
}

func (f *freeBlocks) drop(n int) {
	f.bits[n/64] &^= 1 << (n % 64)
	f.n--
}

// lowest returns the lowest block; there is one.
func (f *freeBlocks) lowest() int {
	for i, word := range f.bits {
		if word != 0 {
			return i*64 + bits.TrailingZeros64(word)
		}
	}
	return -1
}
