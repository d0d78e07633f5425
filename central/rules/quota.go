package rules

import (
	"fmt"
)

// HelperMode says which cards count against a helper's quota (UPG-06, OQ-02).
type HelperMode string

const (
	// HelperActive counts the bindings that exist: an unbind frees one.
	HelperActive HelperMode = "active"
	// HelperLifetime counts every binding the helper has ever made.
	HelperLifetime HelperMode = "lifetime"
)

// Quotas are how many bindings one person may have or make (QTA-01, UPG-06).
// Lowering one ends no binding; it refuses new ones (QTA-05).
type Quotas struct {
	Physical int `json:"physical"`
	NFC      int `json:"nfc"`
	// Total is the largest number of both together.
	Total      int        `json:"total"`
	Helper     int        `json:"helper"`
	HelperMode HelperMode `json:"helper_mode"`
}

// slotFor refuses one more binding of a medium that takes a slot. Where the sum
// of both media is in the way, the code names the medium that is bound, since
// that is what has to be unbound.
func (q Quotas) slotFor(h *Holder, medium Medium) *Refusal {
	physical, nfc := h.slots(MediumPhysical), h.slots(MediumNFC)
	full := physical+nfc >= q.Total
	switch {
	case medium == MediumPhysical && physical >= q.Physical && physical > 0:
		return refuse(CodePhysicalFull)
	case medium == MediumNFC && nfc >= q.NFC && nfc > 0:
		return refuse(CodeNFCFull)
	case medium == MediumPhysical && q.Physical == 0, medium == MediumNFC && q.NFC == 0:
		return refuse(CodeUnsupported)
	case full && physical > 0:
		return refuse(CodePhysicalFull)
	case full && nfc > 0:
		return refuse(CodeNFCFull)
	case full:
		return refuse(CodeUnsupported)
	}
	return nil
}

// helperFor refuses one more card to a helper who has had enough (UPG-06).
func (q Quotas) helperFor(h *Holder) *Refusal {
	count := h.Helped
	if q.HelperMode == HelperLifetime {
		count = h.HelpedEver
	}
	if int(count) >= q.Helper {
		return refuse(CodeHelperFull)
	}
	return nil
}

func (q Quotas) faults(fault faultFunc) {
	for _, n := range []struct {
		key   string
		value int
	}{{"physical", q.Physical}, {"nfc", q.NFC}, {"total", q.Total}, {"helper", q.Helper}} {
		fault(n.value >= 0 && n.value <= MaxPerPerson, n.key, fmt.Sprintf("%d is not 0 … %d", n.value, MaxPerPerson))
	}
	fault(q.HelperMode == HelperActive || q.HelperMode == HelperLifetime, "helper_mode", "not one of active, lifetime")
}
