package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"gateline/drivers"
	"gateline/drivers/osdp"
)

// Bounds of one exchange.
const (
	// writeLimit is how long a port may take for one frame.
	writeLimit = 2 * time.Second
	// chunkPause is how long an answer may pause before its end. It is longer
	// than the standard's 20 ms because adapters and device servers hand bytes on
	// in pieces; it costs nothing where the answer is whole.
	chunkPause = 50 * time.Millisecond
	// longest bounds an answer, and so what a line that never falls silent can
	// take: a frame of osdp.MaxFrame bytes lasts 1.5 s at 9600 baud.
	longest = 2 * time.Second
	// calmLimit is how long a command waits for a line that is not silent.
	calmLimit = 250 * time.Millisecond
	// leastAnswer is how many bytes that are no frame look like an answer; fewer
	// are the line that is turned round.
	leastAnswer = 3
)

// Config is what a Bus needs.
type Config struct {
	// Open opens the port at a speed in bits per second. Its error names the
	// port and the next step.
	Open func(ctx context.Context, baud int) (drivers.Port, error)
	// Now is the clock that the port's deadlines go by.
	Now func() time.Time
	// Random is a cryptographically secure source of keys and challenges.
	Random io.Reader
}

// lineError says that the port failed, or that the caller wants no more: it is
// no reader's, and nothing more can be asked.
type lineError struct{ error }

func (e lineError) Unwrap() error { return e.error }

// endsAll reports whether an error is a lineError, or wraps one.
func endsAll(err error) bool {
	var line lineError
	return errors.As(err, &line)
}

// Bus is the line in a technician's hands: one port, at one speed at a time.
// Not safe for concurrent use.
type Bus struct {
	cfg  Config
	port drivers.Port // nil = not open
	baud int
	scan osdp.Scanner
	buf  [512]byte
}

// NewBus returns a Bus whose port is not open yet.
func NewBus(cfg Config) *Bus { return &Bus{cfg: cfg} }

// At brings the line to a speed in bits per second: the port is opened, or
// opened again where it has another.
func (b *Bus) At(ctx context.Context, baud int) error {
	if b.port != nil && b.baud == baud {
		return nil
	}
	if err := b.Close(); err != nil {
		return lineError{err}
	}
	port, err := b.cfg.Open(ctx, baud)
	if err != nil {
		return lineError{err}
	}
	b.port, b.baud = port, baud
	return nil
}

// Close gives the port back. A Bus may be used again after it.
func (b *Bus) Close() error {
	if b.port == nil {
		return nil
	}
	err := b.port.Close()
	b.port = nil
	return err
}

// wire is how long n bytes take on the line: ten bits each.
func (b *Bus) wire(n int) time.Duration {
	return time.Duration(n) * 10 * time.Second / time.Duration(b.baud)
}

// gap is how long the line is left idle before a command: the two characters
// of the standard and what a timer needs.
func (b *Bus) gap() time.Duration { return b.wire(2) + time.Millisecond }

// heard is what came after a command.
type heard struct {
	ok    bool       // a good frame of the reader that was asked
	frame osdp.Frame // it, pointing into raw
	raw   []byte
	noise osdp.Noise
	more  int // bytes behind the good frame, marks not counted
	// others are the addresses of good answers that nobody asked for.
	others []byte
}

// damaged reports whether something answered that cannot be read.
func (h *heard) damaged() bool {
	return !h.ok && (h.noise.Damaged > 0 || h.noise.Skipped >= leastAnswer)
}

// exchange sends raw and listens for the answer of a reader, wait long from the
// last byte on. osdp.ConfigAddress stands for whoever answers. The error is a
// lineError.
func (b *Bus) exchange(ctx context.Context, raw []byte, address byte, wait time.Duration) (heard, error) {
	if err := b.calm(ctx, b.gap()); err != nil {
		return heard{}, err
	}
	b.scan.Reset()
	if err := b.port.SetWriteDeadline(b.cfg.Now().Add(writeLimit)); err != nil {
		return heard{}, lineError{err}
	}
	if _, err := b.port.Write(raw); err != nil {
		return heard{}, lineError{fmt.Errorf("send to the line: %w", err)}
	}
	return b.listen(ctx, address, b.cfg.Now().Add(b.wire(len(raw))).Add(wait))
}

// listen returns at the first good answer of the reader, or when until has
// passed and nothing is under way any more.
func (b *Bus) listen(ctx context.Context, address byte, until time.Time) (h heard, err error) {
	limit := until.Add(longest)
	for {
		n, err := b.read(ctx, until)
		if err != nil {
			return h, err
		}
		if n == 0 {
			b.scan.Gap() // what has begun may hide a good frame
		}
		if b.sift(&h, b.buf[:n], address) || n == 0 {
			return h, nil
		}
		if more := b.cfg.Now().Add(chunkPause); more.After(until) && until.Before(limit) {
			until = more
		}
	}
}

// sift takes bytes from the line and reports whether the answer is among them.
func (b *Bus) sift(h *heard, in []byte, address byte) bool {
	for {
		raw, rest, noise := b.scan.Next(in)
		h.noise.Add(noise)
		if in = rest; raw == nil {
			return false
		}
		f, err := osdp.ParseFrame(raw)
		switch {
		case !f.Reply: // our own voice, on an adapter that hears itself
		case f.Address != address && address != osdp.ConfigAddress:
			h.others = append(h.others, f.Address)
		case err != nil:
			h.noise.Damaged++
		default:
			h.ok, h.raw, h.more = true, append([]byte(nil), raw...), unmarked(rest)
			h.frame, _ = osdp.ParseFrame(h.raw) // the same bytes parse again
			return true
		}
	}
}

func unmarked(b []byte) (n int) {
	for _, c := range b {
		if c != 0xff {
			n++
		}
	}
	return n
}

// calm returns once nothing has been heard for d, or after calmLimit more.
func (b *Bus) calm(ctx context.Context, d time.Duration) error {
	until := b.cfg.Now().Add(d)
	for limit := until.Add(calmLimit); !until.After(limit); until = b.cfg.Now().Add(d) {
		if n, err := b.read(ctx, until); err != nil || n == 0 {
			return err
		}
	}
	return nil
}

// read waits for bytes until an instant; none came = 0.
func (b *Bus) read(ctx context.Context, until time.Time) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, lineError{err}
	}
	if err := b.port.SetReadDeadline(until); err != nil {
		return 0, lineError{err}
	}
	n, err := b.port.Read(b.buf[:])
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, lineError{fmt.Errorf("hear the line: %w", err)}
	}
	return n, nil
}
