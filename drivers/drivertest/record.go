package drivertest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Bounds of a Record.
const (
	// MaxChunk is how many bytes one chunk has at most, as many as a line reads
	// at once.
	MaxChunk = 512
	// MaxChunks is how many chunks a record has at most.
	MaxChunks = 1 << 16
	// MaxBytes is how many bytes all chunks have together at most.
	MaxBytes = 1 << 20
	// maxText is the longest text of a record that keeps these bounds.
	maxText = 2*MaxBytes + 32*MaxChunks
	// maxOffset is how long a recorded conversation may last.
	maxOffset = 24 * time.Hour
)

// The lines of a record that are not chunks.
const (
	recordHead = "gateline line record 1; credentials in clear: test cards only"
	recordEnd  = "end"
	recordCut  = "cut"
)

// ErrRecord is wrapped by every error about the form of a record.
var ErrRecord = errors.New("bad record of a line")

// Record is a conversation on a line, as the box's port saw it. Its text form is
// a head, a line for each chunk, and "end", or "cut" where more was said than
// was noted:
//
//	0.001250 < 0411010701
//	0.001391 > 0412010702
//
// seconds since the beginning, '>' for what the box wrote or '<' for what it
// read, and the bytes. '.' without bytes says that the box read until its
// deadline and nothing came.
type Record struct {
	Chunks []Chunk
	// Cut says that the conversation went on.
	Cut bool
}

// Way says what a call did.
type Way byte

const (
	// Read: bytes came from the far end.
	Read Way = '<'
	// Written: the box wrote bytes.
	Written Way = '>'
	// Waited: the box read until its deadline.
	Waited Way = '.'
)

// Chunk is one call of Read or Write.
type Chunk struct {
	// At counts from the beginning of the record, in microseconds.
	At  time.Duration
	Way Way
	// Data is what was moved; nothing where the box waited.
	Data []byte
}

// Format hides the bytes, among which credentials are, whatever the verb.
func (c Chunk) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "%v %c %d bytes hidden", c.At, c.Way, len(c.Data))
}

// wrong says what is wrong with a chunk, if anything is.
func (c Chunk) wrong() string {
	switch c.Way {
	case Waited:
		if len(c.Data) > 0 {
			return "bytes where the box waited"
		}
		return ""
	case Read, Written:
		if len(c.Data) == 0 || len(c.Data) > MaxChunk {
			return fmt.Sprintf("%d bytes, and 1 to %d are allowed", len(c.Data), MaxChunk)
		}
		return ""
	}
	return "the direction is none of > < ."
}

// AppendText appends the text form. It is the one thing that shows the bytes.
func (r Record) AppendText(b []byte) ([]byte, error) {
	b = append(b, recordHead+"\n"...)
	for i, c := range r.Chunks {
		if what := c.wrong(); what != "" {
			return b, fmt.Errorf("%w: chunk %d: %s", ErrRecord, i+1, what)
		}
		micros := c.At.Microseconds()
		b = fmt.Appendf(b, "%d.%06d %c", micros/1e6, micros%1e6, c.Way)
		if len(c.Data) > 0 {
			b = fmt.Appendf(b, " %X", c.Data)
		}
		b = append(b, '\n')
	}
	end := recordEnd
	if r.Cut {
		end = recordCut
	}
	return append(b, end+"\n"...), nil
}

// ParseRecord reads the text form, and nothing that AppendText does not write.
// The error wraps ErrRecord, names the line, and shows nothing of it.
func ParseRecord(from io.Reader) (Record, error) {
	text, err := io.ReadAll(io.LimitReader(from, maxText+1))
	if err != nil {
		return Record{}, fmt.Errorf("read a record of a line: %w", err)
	}
	if len(text) > maxText {
		return Record{}, fmt.Errorf("%w: it is longer than %d bytes; make a shorter one", ErrRecord, maxText)
	}
	lines := strings.Split(string(text), "\n")
	if lines[0] != recordHead || len(lines) < 3 || lines[len(lines)-1] != "" {
		return Record{}, fmt.Errorf("%w: it does not begin with %q or ends within a line; is it one, and whole?", ErrRecord, recordHead)
	}
	var r Record
	switch lines[len(lines)-2] {
	case recordEnd:
	case recordCut:
		r.Cut = true
	default:
		return Record{}, fmt.Errorf("%w: the last line is neither %q nor %q; is it whole?", ErrRecord, recordEnd, recordCut)
	}
	return r, r.parse(lines[1 : len(lines)-2])
}

// parse reads the chunks.
func (r *Record) parse(lines []string) error {
	if len(lines) > MaxChunks {
		return fmt.Errorf("%w: %d chunks, and %d are allowed", ErrRecord, len(lines), MaxChunks)
	}
	var last time.Duration
	bytesLeft := MaxBytes
	for i, line := range lines {
		c, what := parseChunk(line)
		bytesLeft -= len(c.Data)
		switch {
		case what == "" && c.At < last:
			what = "it is earlier than the line before"
		case what == "" && bytesLeft < 0:
			what = fmt.Sprintf("there are more than %d bytes up to here", MaxBytes)
		}
		if what != "" {
			return fmt.Errorf("%w: line %d: %s", ErrRecord, firstChunk+i, what)
		}
		last = c.At
		r.Chunks = append(r.Chunks, c)
	}
	return nil
}

// firstChunk is the number of the line of the first chunk.
const firstChunk = 2

// parseChunk reads one line; what says what is wrong with it.
func parseChunk(line string) (c Chunk, what string) {
	fields := strings.Split(line, " ")
	if len(fields) < 2 || len(fields) > 3 || len(fields[1]) != 1 {
		return c, "it is not a time, a direction and bytes"
	}
	if c.At, what = parseOffset(fields[0]); what != "" {
		return c, what
	}
	c.Way = Way(fields[1][0])
	if len(fields) == 3 {
		data, err := hex.DecodeString(fields[2])
		if err != nil || len(data) == 0 || strings.ToUpper(fields[2]) != fields[2] {
			return c, "the bytes are not upper-case hexadecimal"
		}
		c.Data = data
	}
	return c, c.wrong()
}

// parseOffset reads seconds with six decimals.
func parseOffset(s string) (at time.Duration, what string) {
	const bad = "the time is not seconds with six decimals"
	whole, part, ok := strings.Cut(s, ".")
	seconds, err := strconv.ParseUint(whole, 10, 32)
	micros, err2 := strconv.ParseUint(part, 10, 32)
	if !ok || err != nil || err2 != nil || len(part) != 6 || strconv.FormatUint(seconds, 10) != whole {
		return 0, bad
	}
	at = time.Duration(seconds)*time.Second + time.Duration(micros)*time.Microsecond
	if at > maxOffset {
		return 0, "the time is more than a day"
	}
	return at, ""
}

// around returns the bytes at i and up to three on each side, as they may
// stand in an error.
func around(b []byte, i int) string {
	const side = 3
	from, to := max(i-side, 0), min(i+side+1, len(b))
	if from >= to {
		return "nothing"
	}
	return fmt.Sprintf("% X", bytes.Clone(b[from:to]))
}
