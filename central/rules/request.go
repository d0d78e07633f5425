package rules

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"reflect"
	"time"
)

const (
	// KeptRequests is the number of outcomes that are kept; the oldest is
	// forgotten first. Each takes some 150 bytes.
	KeptRequests = 1 << 18
	// MaxRequestID is the length of the longest request id in bytes.
	MaxRequestID = 64
)

// Request is a command with the channel that brings it.
type Request struct {
	// ID makes a repetition of the request harmless: 1 to MaxRequestID
	// printable ASCII characters, unique within the channel. Without one a
	// repetition is decided anew.
	ID      string
	Channel Channel
	Command Command
}

// Command asks for something. The types of this package are all there are.
type Command interface {
	// function is what the channel must be entitled to; "" = any may.
	function() Function
	// decide adds events to the draft, or refuses.
	decide(*draft) (Answer, *Refusal)
}

// reader is a command that changes nothing; its answers are not kept.
type reader interface{ reads() }

// Result says what an accepted request has come to.
type Result string

const (
	// ResultDone took effect, or found that all is well.
	ResultDone Result = "done"
	// ResultAlready found it so already; nothing has changed.
	ResultAlready Result = "already"
	// ResultPending sold a card whose binding waits for a slot (TOP-05).
	ResultPending Result = "pending"
	// ResultConflict put a row before a human (BO-02).
	ResultConflict Result = "conflict"
	// ResultRejected refused a row; the others of the list went on. Of a whole
	// command: it refused every row.
	ResultRejected Result = "rejected"
	// ResultOlder ignored a report, because a later one is known (IMP-12).
	ResultOlder Result = "older"
)

// Outcome is what is kept of an answer. Its zero value is no outcome.
type Outcome struct {
	Result Result
	// Code is set for a refusal.
	Code Code
	// Bound, Ended, Conflicts and Rejected count the rows of a list; of Reports,
	// Bound counts those that took effect.
	Bound, Ended, Conflicts, Rejected uint16
	// More tells that the command has to be sent again, under another id,
	// until it is complete.
	More bool
}

// Answer is what the asker is told of an accepted request.
type Answer struct {
	Outcome
	// Rows are the rows of a list that were not simply bound.
	Rows []RowAnswer
	// Kind answers LookUp; Bindings and Helped answer Own.
	Kind     KindCode
	Bindings []Shown
	Helped   []Card
	// Cases answers ListCases; Next is where the next page begins, zero = there
	// is none.
	Cases []ShownCase
	Next  CaseMark
	// Stats answers Statistics.
	Stats Stats
}

// RowAnswer is the answer to one row of a list.
type RowAnswer struct {
	Row    int // from 0
	Result Result
	Code   Code // of a rejected row
}

// Shown is what a person may see of an own binding: no helper, no guardian, no
// list, no status.
type Shown struct {
	Card
	Medium  Medium
	Source  Source
	Since   int64 // Unix seconds; 0 while it waits
	Waiting bool  // TOP-05
}

// ShownCase is what may be seen of a card that waits: neither the card nor a
// person.
type ShownCase struct {
	Kind   KindCode
	Medium Medium
	Reason CaseReason
	Since  int64 // Unix seconds
	// List and Run are those of the delivery that named the card; 0 = none, and 0
	// = an incremental one.
	List uint8
	Run  uint32
}

// RequestKey is a hash of a request's channel and id.
type RequestKey [16]byte

func (q Request) key() RequestKey {
	sum := sha256.Sum256([]byte(string(q.Channel) + "\x00" + q.ID))
	return RequestKey(sum[:len(RequestKey{})])
}

func (q Request) malformed() *Refusal {
	if len(q.ID) > MaxRequestID {
		return malformed("request id: it has %d bytes, at most %d; shorten it", len(q.ID), MaxRequestID)
	}
	for i := range len(q.ID) {
		if b := q.ID[i]; b <= ' ' || b > '~' {
			return malformed("request id: byte %d is not a printable ASCII character; use letters and digits", i+1)
		}
	}
	if q.Command == nil {
		return malformed("command: missing; give one")
	}
	return nil
}

// fingerprint is a hash over every field of a command, so that a field that is
// added later is in it too. fmt and JSON would not do: they hide what they
// print.
func fingerprint(c Command) (print [8]byte) {
	h := sha256.New()
	fmt.Fprintf(h, "%T", c)
	digest(h, reflect.ValueOf(c))
	return [8]byte(h.Sum(nil)[:8])
}

func digest(h hash.Hash, v reflect.Value) {
	number := func(n uint64) { h.Write(binary.BigEndian.AppendUint64(nil, n)) }
	if t, ok := v.Interface().(time.Time); ok {
		number(uint64(t.UnixNano()))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			digest(h, v.Field(i))
		}
	case reflect.Slice, reflect.Array:
		number(uint64(v.Len()))
		for i := range v.Len() {
			digest(h, v.Index(i))
		}
	case reflect.String:
		number(uint64(v.Len()))
		h.Write([]byte(v.String()))
	case reflect.Bool:
		if v.Bool() {
			number(1)
		} else {
			number(0)
		}
	case reflect.Int, reflect.Int16:
		number(uint64(v.Int()))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		number(v.Uint())
	default:
		panic("a command has a field of a kind that fingerprint does not know: " + v.Kind().String())
	}
}
