package replication

// bitWriter appends bits to bytes, the most significant bit of a byte first.
type bitWriter struct {
	b []byte
	// open holds, at its low end, the left-over bits that do not fill a byte
	// yet; above them is what was written before.
	open uint64
	left uint
}

// write appends the low n bits of v, at most 64; the others must be zero.
func (w *bitWriter) write(v uint64, n uint) {
	if n > 32 {
		w.write(v>>32, n-32)
		v, n = v&(1<<32-1), 32
	}
	w.open = w.open<<n | v
	for w.left += n; w.left >= 8; {
		w.left -= 8
		w.b = append(w.b, byte(w.open>>w.left))
	}
}

// unary appends n bits of 1 and one of 0.
func (w *bitWriter) unary(n uint64) {
	for ; n > 31; n -= 31 {
		w.write(1<<31-1, 31)
	}
	w.write(1<<(n+1)-2, uint(n+1))
}

// end fills the last byte with zeros and returns all bytes.
func (w *bitWriter) end() []byte {
	if w.left > 0 {
		w.write(0, 8-w.left)
	}
	return w.b
}

// bitReader is the inverse of bitWriter. Past the end of b it reads zeros, and
// end tells.
type bitReader struct {
	b     []byte // not touched yet
	open  uint64
	left  uint // bits of open, at its low end, that were not read yet
	short bool
}

// read returns the next n bits, at most 64.
func (r *bitReader) read(n uint) uint64 {
	if n > 32 {
		high := r.read(n - 32)
		return high<<32 | r.read(32)
	}
	for ; r.left < n; r.left += 8 {
		r.open <<= 8
		if len(r.b) == 0 {
			r.short = true
			continue
		}
		r.open |= uint64(r.b[0])
		r.b = r.b[1:]
	}
	r.left -= n
	return r.open >> r.left & (1<<n - 1)
}

// unary returns the number of bits of 1 before the next 0, at most most + 1.
func (r *bitReader) unary(most uint64) (n uint64) {
	for n <= most && r.read(1) == 1 {
		n++
	}
	return n
}

// end returns what follows the last byte that was read. It is not well where
// bits were missing or the rest of that byte is not zero.
func (r *bitReader) end() (rest []byte, well bool) {
	return r.b, !r.short && r.open&(1<<r.left-1) == 0
}
