package fleet

import (
	"fmt"
	"time"

	"gateline/replication"
)

// Order is the centre's order to erase every record (IMP-10). It is a JSON document of
// the ops service.
type Order struct {
	// Epoch and Number are those of its entry in the feed.
	Epoch  uint64 `json:"epoch"`
	Number uint64 `json:"number"`
	// Ordered is when it was given, which also tells it from others in another epoch.
	Ordered time.Time `json:"ordered"`
}

// Receipt says what a station has told of an order.
type Receipt uint8

const (
	// NoReceipt: it has not said that it has carried it out.
	NoReceipt Receipt = iota
	// Carried: it has carried it out, or a later one.
	Carried
	// BySunset: it has erased its records by itself at the sunset of the policy, and
	// has held none since, so there was nothing left to erase (IMP-11).
	BySunset
)

// String returns the receipt's name.
func (r Receipt) String() string {
	switch r {
	case NoReceipt:
		return "missing"
	case Carried:
		return "erased"
	case BySunset:
		return "erased at sunset"
	}
	return fmt.Sprintf("invalid(%d)", uint8(r))
}

// ReceiptOf returns what a report says of an order.
func ReceiptOf(r *replication.Report, o *Order) Receipt {
	switch {
	case r.Purge == nil:
		return NoReceipt
	case !r.Purge.Ordered.Before(o.Ordered):
		return Carried
	case !r.Purge.Sunset.IsZero():
		return BySunset
	}
	return NoReceipt
}
