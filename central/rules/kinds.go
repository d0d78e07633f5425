package rules

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gateline/gateway"
)

// Medium is what a credential is kept in. A wearable counts as NFC (KIND-03).
type Medium string

const (
	MediumPhysical Medium = "physical"
	MediumNFC      Medium = "nfc"
	// MediumRide is a ride-code account (KIND-09).
	MediumRide Medium = "ride"
)

// UpgradeBy says by whom a kind is upgraded.
type UpgradeBy string

const (
	// BySelf lets the holder or a helper upgrade it (KIND-01, KIND-02).
	BySelf UpgradeBy = "self"
	// ByBackOffice leaves it to lists of the authorities (KIND-04).
	ByBackOffice UpgradeBy = "back_office"
	// ByStudents leaves it to batches of the schools (KIND-05).
	ByStudents UpgradeBy = "students"
	// ByNobody marks what cannot be upgraded (KIND-08).
	ByNobody UpgradeBy = "nobody"
)

// KindCode is a kind's number in commands and events; it never changes
// meaning. Zero is an unknown kind, which cannot be upgraded (E106).
type KindCode uint8

// Kind is one row of the kind table.
type Kind struct {
	Code KindCode `json:"code"`
	Name string   `json:"name"`
	ZH   string   `json:"zh"`
	// Medium decides which quota a binding counts against.
	Medium Medium `json:"medium"`
	// Ranges are the numbers of this kind, each a scheme and the first digits,
	// such as "tunion:310477" or "chip:". The longest that fits decides.
	Ranges  []string  `json:"ranges"`
	Upgrade UpgradeBy `json:"upgrade"`
	// Listed lets the lists of the authorities name it although its holder
	// may upgrade it too (BO-02).
	Listed bool `json:"listed,omitempty"`
	// Channels are those that may upgrade it; none = every one that may upgrade
	// at all (UPG-08).
	Channels []Channel `json:"channels,omitempty"`
	// NoSlot exempts a holder's own upgrade from the quota of its medium
	// (OQ-05).
	NoSlot bool `json:"no_slot,omitempty"`
	// TopUpExempt lets it be topped up without a binding (TOP-06).
	TopUpExempt bool `json:"top_up_exempt,omitempty"`
	// Lamp lets a gate light its concession lamp for a binding that the back
	// office has made (GATE-10).
	Lamp bool `json:"lamp,omitempty"`
}

// KindOf returns the kind of a credential at now, by its number; 0 where no
// range holds it (KIND-02).
func (r *Rules) KindOf(c gateway.Credential, now time.Time) KindCode {
	text, err := c.AppendText(nil)
	if err != nil {
		return 0
	}
	var found KindCode
	longest := -1
	for _, k := range r.Kinds.At(now) {
		for _, prefix := range k.Ranges {
			if len(prefix) > longest && strings.HasPrefix(string(text), prefix) {
				found, longest = k.Code, len(prefix)
			}
		}
	}
	return found
}

// Kind returns the row of a code in force at now.
func (r *Rules) Kind(code KindCode, now time.Time) (Kind, bool) {
	kinds := r.Kinds.At(now)
	if i := slices.IndexFunc(kinds, func(k Kind) bool { return k.Code == code && code != 0 }); i >= 0 {
		return kinds[i], true
	}
	return Kind{}, false
}

// listed reports whether a concession list may name the kind.
func (k Kind) listed() bool { return k.Upgrade == ByBackOffice || k.Listed }

// selfUpgradable refuses a kind that its holder cannot upgrade, or not here. Which
// channel has a kind does not concern the operator's own staff.
func (k Kind) selfUpgradable(known bool, channel Channel) *Refusal {
	switch {
	case !known || k.Upgrade == ByNobody:
		return refuse(CodeUnsupported)
	case k.Upgrade == ByBackOffice:
		return refuse(CodeBackOffice)
	case k.Upgrade == ByStudents:
		return refuse(CodeStudentBatch)
	case len(k.Channels) == 0 || slices.Contains(k.Channels, channel) || channel == ChannelOps:
		return nil
	case slices.Contains(k.Channels, ChannelApp):
		return refuse(CodeAppOnly)
	}
	return refuse(CodeChannel)
}

func (k Kind) faults(fault faultFunc) {
	fault(k.Code != 0, "code", "missing, give 1 … 255")
	fault(validName(k.Name), "name", nameForm)
	fault(k.ZH != "" && len(k.ZH) <= maxNameBytes, "zh", fmt.Sprintf("it has %d bytes, not 1 … %d", len(k.ZH), maxNameBytes))
	fault(k.Medium == MediumPhysical || k.Medium == MediumNFC || k.Medium == MediumRide, "medium", "not one of physical, nfc, ride")
	fault(slices.Contains([]UpgradeBy{BySelf, ByBackOffice, ByStudents, ByNobody}, k.Upgrade), "upgrade", "not one of self, back_office, students, nobody")
	fault(len(k.Ranges) <= maxRanges, "ranges", fmt.Sprintf("%d of them, at most %d", len(k.Ranges), maxRanges))
	for i, prefix := range k.Ranges {
		fault(validRange(prefix), fmt.Sprintf("ranges[%d]", i), "not tunion, chip or ride, a colon and the first digits of a number")
	}
	fault(len(k.Channels) <= maxChannels, "channels", fmt.Sprintf("%d of them, at most %d", len(k.Channels), maxChannels))
	for i, c := range k.Channels {
		fault(validName(string(c)), fmt.Sprintf("channels[%d]", i), nameForm)
	}
}

// validRange reports whether some credential has a text form that begins so.
func validRange(prefix string) bool {
	scheme, digits, found := strings.Cut(prefix, ":")
	longest := map[string]int{"tunion": 19, "chip": 16, "ride": gateway.MaxDigits}[scheme]
	if !found || len(digits) > longest {
		return false
	}
	for i := range len(digits) {
		if b := digits[i]; (b < '0' || b > '9') && (scheme != "chip" || b < 'A' || b > 'F') {
			return false
		}
	}
	return longest > 0
}
