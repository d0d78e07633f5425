package drivertest

import (
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"gateline/drivers"
)

// Recorder is a drivers.Port that notes what passes through another one.
type Recorder struct {
	drivers.Port
	now   func() time.Time
	begun time.Time
	most  int

	mu     sync.Mutex // guards what follows
	record Record
	bytes  int
}

// NewRecorder returns a Recorder around port. It notes up to most bytes, at
// least 1 and at most MaxBytes, in up to MaxChunks chunks; what comes after
// passes without being noted, and the record is marked as cut.
func NewRecorder(port drivers.Port, now func() time.Time, most int) *Recorder {
	return &Recorder{Port: port, now: now, begun: now(), most: min(max(most, 1), MaxBytes)}
}

// Read implements io.Reader.
func (r *Recorder) Read(b []byte) (int, error) {
	n, err := r.Port.Read(b)
	if now := r.now(); n > 0 {
		r.note(now, Read, b[:n])
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		r.add(Chunk{At: r.offset(now), Way: Waited})
	}
	return n, err
}

// Write implements io.Writer.
func (r *Recorder) Write(b []byte) (int, error) {
	at := r.now() // before the far end can answer
	n, err := r.Port.Write(b)
	r.note(at, Written, b[:max(n, 0)])
	return n, err
}

// note notes bytes that passed.
func (r *Recorder) note(now time.Time, way Way, b []byte) {
	for part := range slices.Chunk(b, MaxChunk) {
		r.add(Chunk{At: r.offset(now), Way: way, Data: slices.Clone(part)})
	}
}

func (r *Recorder) offset(now time.Time) time.Duration {
	return min(max(now.Sub(r.begun), 0), maxOffset).Truncate(time.Microsecond)
}

// add appends a chunk, or marks the record as cut. Times do not go back.
func (r *Recorder) add(c Chunk) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.record.Chunks)
	if r.record.Cut = r.record.Cut || r.bytes+len(c.Data) > r.most || n == MaxChunks; r.record.Cut {
		return
	}
	if n > 0 {
		c.At = max(c.At, r.record.Chunks[n-1].At)
	}
	r.bytes += len(c.Data)
	r.record.Chunks = append(r.record.Chunks, c)
}

// Record returns what was noted so far. The caller does not change the chunks.
func (r *Recorder) Record() Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Record{Chunks: slices.Clone(r.record.Chunks), Cut: r.record.Cut}
}
