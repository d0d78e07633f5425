package simulator

import (
	"bytes"
	"strconv"

	"gateline/replication"
)

// leafWire reads what a NATS server sends to a leaf node: lines, of which those
// of messages are followed by so many bytes. It tells of each live entry as its
// last byte comes by. The zero leafWire with told set is at the beginning of a
// connection.
type leafWire struct {
	told func(*replication.Signed)

	line []byte
	// header and left are of the message under way: the bytes of its headers, and
	// those that are still to come, with the line's end.
	header, left int
	live         bool
	message      []byte // kept of a live entry only
}

// maxLeafLine bounds a line; a longer one is none of a server's.
const maxLeafLine = 64 << 10

// Write takes the next bytes; it never fails.
func (w *leafWire) Write(p []byte) (int, error) {
	all := len(p)
	for len(p) > 0 {
		if w.left > 0 {
			n := min(w.left, len(p))
			if w.live {
				w.message = append(w.message, p[:n]...)
			}
			p = p[n:]
			if w.left -= n; w.left == 0 && w.live {
				w.entry()
			}
			continue
		}
		line, rest, ended := bytes.Cut(p, []byte("\n"))
		if len(w.line) < maxLeafLine {
			w.line = append(w.line, line...)
		}
		if p = rest; ended {
			w.begin(bytes.Fields(w.line))
			w.line = w.line[:0]
		}
	}
	return all, nil
}

// begin looks at a line: LMSG or HMSG subject [reply …] [header's size] size.
func (w *leafWire) begin(words [][]byte) {
	if len(words) < 3 {
		return
	}
	kind := string(words[0])
	if kind != "LMSG" && kind != "HMSG" {
		return
	}
	size, err := strconv.Atoi(string(words[len(words)-1]))
	if err != nil || size < 0 {
		return
	}
	w.header = 0
	if kind == "HMSG" {
		if w.header, err = strconv.Atoi(string(words[len(words)-2])); err != nil || w.header < 0 || w.header > size {
			return
		}
	}
	w.live = string(words[1]) == replication.SubjectLive
	w.left, w.message = size+len("\r\n"), w.message[:0]
}

func (w *leafWire) entry() {
	e, err := replication.DecodeEntry(w.message[w.header : len(w.message)-len("\r\n")])
	if err == nil {
		w.told(&e)
	}
}
