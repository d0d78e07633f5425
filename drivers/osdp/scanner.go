package osdp

import (
	"bytes"
	"encoding/binary"
	"time"
)

// InterByte is how long a sender may pause inside a frame. After that the
// receiver calls Scanner.Gap.
const InterByte = 20 * time.Millisecond

// Noise counts what a Scanner passed over.
type Noise struct {
	Skipped int // bytes that belong to no frame; marks are not counted
	Damaged int // times a frame's head was followed by a wrong check
}

// Add adds what another call passed over.
func (n *Noise) Add(o Noise) { n.Skipped += o.Skipped; n.Damaged += o.Damaged }

// Scanner cuts a stream of bytes into frames whose check is right. What looks
// like the start of a frame and is none is given up byte by byte, so that it
// cannot hide a good frame that begins behind it. The zero Scanner is ready.
type Scanner struct {
	// Max is the longest frame to believe in; zero stands for MaxFrame. The
	// smaller, the sooner noise is recognised.
	Max int

	buf     [MaxFrame]byte
	head, n int  // buf[head:n] is not judged yet; buf[head] is a SOM after each hunt
	gap     bool // no byte will complete what is in buf
	mark    bool // the byte before buf[head] is a mark
	marked  bool
}

// Next consumes bytes up to the end of the next frame. frame runs from SOM to
// check and is valid until the next call; it is nil where in holds no whole
// frame any more, and rest is then empty. n is what was passed over meanwhile.
func (s *Scanner) Next(in []byte) (frame, rest []byte, n Noise) {
	for {
		if in = s.hunt(in, &n); s.head == s.n {
			return nil, nil, n
		}
		want, have := s.want(), s.n-s.head
		switch {
		case want == 0 || s.gap && have < want:
			s.drop(&n)
		case have < want && len(in) == 0:
			return nil, nil, n
		case have < want:
			in = s.fill(in, want)
		default:
			frame = s.buf[s.head : s.head+want]
			if !checkRight(frame) {
				n.Damaged++
				s.drop(&n)
				continue
			}
			s.head += want
			s.marked, s.mark = s.mark, false
			return frame, in, n
		}
	}
}

// Gap says that the line was idle for InterByte. What has begun is no frame;
// the following calls of Next, with or without new bytes, first look for
// whole frames in it.
func (s *Scanner) Gap() { s.gap = s.head < s.n }

// Pending reports whether the beginning of a frame waits for its end.
func (s *Scanner) Pending() bool { return s.head < s.n }

// Marked reports whether the frame last returned had a mark before it.
func (s *Scanner) Marked() bool { return s.marked }

// Reset forgets what has begun.
func (s *Scanner) Reset() { s.head, s.n, s.gap, s.mark = 0, 0, false, false }

// hunt makes buf[head] a SOM, from what is buffered or else from in, of which
// it returns the rest. Where there is none, buf is empty afterwards.
func (s *Scanner) hunt(in []byte, n *Noise) []byte {
	if i := bytes.IndexByte(s.buf[s.head:s.n], som); i >= 0 {
		s.skip(s.buf[s.head:s.head+i], n)
		s.head += i
		return in
	}
	s.skip(s.buf[s.head:s.n], n)
	s.head, s.n, s.gap = 0, 0, false
	i := bytes.IndexByte(in, som)
	if i < 0 {
		s.skip(in, n)
		return nil
	}
	s.skip(in[:i], n)
	s.buf[0], s.n = som, 1
	return in[i+1:]
}

func (s *Scanner) skip(b []byte, n *Noise) {
	if len(b) == 0 {
		return
	}
	n.Skipped += len(b)
	for _, c := range b {
		if c == markByte {
			n.Skipped--
		}
	}
	s.mark = b[len(b)-1] == markByte
}

// drop gives up the SOM at the head.
func (s *Scanner) drop(n *Noise) {
	n.Skipped++
	s.head++
	s.mark = false
}

// want is the number of bytes needed to judge what begins at the head: its
// head, then all of it. Zero = it cannot be a frame.
func (s *Scanner) want() int {
	b := s.buf[s.head:s.n]
	if len(b) < headSize {
		return headSize
	}
	longest := s.Max
	if longest <= 0 || longest > MaxFrame {
		longest = MaxFrame
	}
	size := int(binary.LittleEndian.Uint16(b[2:]))
	if size < leastSize(b[4]) || size > longest {
		return 0
	}
	return size
}

// fill takes from in what is missing to want bytes and returns the rest.
func (s *Scanner) fill(in []byte, want int) []byte {
	if s.head+want > len(s.buf) {
		s.n = copy(s.buf[:], s.buf[s.head:s.n])
		s.head = 0
	}
	k := copy(s.buf[s.n:s.head+want], in)
	s.n += k
	return in[k:]
}
