package gateway

// Purpose is what a gate asks for. The zero Purpose is an entry, the strictest.
type Purpose uint8

const (
	PurposeEntry Purpose = 0
	PurposeExit  Purpose = 1
	PurposeTopUp Purpose = 2
)

// String returns the purpose's name.
func (p Purpose) String() string {
	switch p {
	case PurposeEntry:
		return "entry"
	case PurposeExit:
		return "exit"
	case PurposeTopUp:
		return "topup"
	}
	return "invalid"
}

// Tap is one question of a gate.
type Tap struct {
	// Gate is the gate's address on its line.
	Gate uint8
	// Number is the gate's own number for this question. A repeat within the
	// verdict's lifetime carries the same number and gets the same answer.
	Number  uint16
	Purpose Purpose
	// Credential is zero where the gate could not read what was presented.
	Credential Credential
}
