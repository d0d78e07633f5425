package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"gateline/gateway"
)

// Limits of the data.
const (
	// MaxRulesSize is the largest encoded Rules in bytes.
	MaxRulesSize = 256 << 10

	maxTerms     = 64
	maxKinds     = 255
	maxRanges    = 256
	maxChannels  = 256
	maxConsents  = 64
	maxNameBytes = 64

	nameForm = "not 1 to 64 of a-z, 0-9, '-'"
)

// ErrRules is wrapped by every error about the data of the rules.
var ErrRules = errors.New("bad rules")

// EncodeRules returns the data as JSON. The error wraps ErrRules.
func EncodeRules(r *Rules) ([]byte, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRules, err)
	}
	if len(b) > MaxRulesSize {
		return nil, fmt.Errorf("%w: %d bytes, at most %d; leave out terms that ended long ago", ErrRules, len(b), MaxRulesSize)
	}
	return b, nil
}

// DecodeRules reads what EncodeRules writes. It refuses unknown keys, text
// after the document and whatever Validate refuses; the error wraps ErrRules.
func DecodeRules(b []byte) (*Rules, error) {
	if len(b) > MaxRulesSize {
		return nil, fmt.Errorf("%w: %d bytes, at most %d; leave out terms that ended long ago", ErrRules, len(b), MaxRulesSize)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	r := &Rules{}
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf("%w: %w; correct the document", ErrRules, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("%w: there is text after the document; remove it", ErrRules)
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	return r, nil
}

// faultFunc notes a fault of a key unless ok.
type faultFunc func(ok bool, key, what string)

// keyFault is one thing that is wrong, by its key such as quotas[0].value.nfc.
type keyFault struct{ key, what string }

// Error implements error.
func (f keyFault) Error() string { return f.key + ": " + f.what }

// faultList gathers faults, each by its key.
type faultList []keyFault

// under returns a faultFunc for the keys below a key.
func (l *faultList) under(parent string) faultFunc {
	return func(ok bool, key, what string) {
		if ok {
			return
		}
		if key != "" && key[0] != '[' && parent != "" {
			key = "." + key
		}
		key = parent + key
		*l = append(*l, keyFault{key, what})
	}
}

// Validate reports every fault of the data at once, each by its key. The error
// wraps ErrRules.
func (r *Rules) Validate() error {
	var all []error
	for _, f := range r.faults() {
		all = append(all, f)
	}
	if len(all) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrRules, errors.Join(all...))
}

func (r *Rules) faults() faultList {
	var l faultList
	validateTerms(&l, "quotas", r.Quotas, func(q Quotas, fault faultFunc) { q.faults(fault) })
	validateTerms(&l, "channels", r.Channels, func(m Matrix, fault faultFunc) { m.faults(fault) })
	validateTerms(&l, "kinds", r.Kinds, kindTableFaults)
	validateTerms(&l, "consents", r.Consents, func(versions []uint16, fault faultFunc) {
		fault(len(versions) > 0 && len(versions) <= maxConsents, "", fmt.Sprintf("%d versions, not 1 … %d", len(versions), maxConsents))
		for i, v := range versions {
			fault(v != 0, fmt.Sprintf("[%d]", i), "version 0 stands for no consent")
		}
	})
	validateTerms(&l, "day_rules", r.DayRules, func(d DayRule, fault faultFunc) {
		fault(d == DayRuleResult || d == DayRuleNight, "", "not one of 1, 2")
	})
	fault := l.under("")
	fault(r.TopUpFrom.IsZero() || validInstant(r.TopUpFrom), "top_up_from", instantForm)
	fault(r.NewCardFrom.IsZero() || validInstant(r.NewCardFrom), "new_card_from", instantForm)
	return l
}

const instantForm = "not an instant between 1970-01-02 and 2059-09-18"

func validInstant(t time.Time) bool { return gateway.DayOf(t) != 0 }

// validateTerms checks a list of terms and, with check, each value.
func validateTerms[T any](l *faultList, key string, terms Terms[T], check func(T, faultFunc)) {
	fault := l.under(key)
	fault(len(terms) > 0 && len(terms) <= maxTerms, "", fmt.Sprintf("%d terms, not 1 … %d", len(terms), maxTerms))
	for i, t := range terms {
		place := fmt.Sprintf("%s[%d]", key, i)
		fault := l.under(place)
		fault(validInstant(t.From), "from", instantForm)
		fault(i == 0 || t.From.After(terms[i-1].From), "from", "not after the term before")
		check(t.Value, l.under(place+".value"))
	}
}

// kindTableFaults checks the rows of a kind table and that no two share a code,
// a name or a range.
func kindTableFaults(kinds []Kind, fault faultFunc) {
	fault(len(kinds) > 0 && len(kinds) <= maxKinds, "", fmt.Sprintf("%d kinds, not 1 … %d", len(kinds), maxKinds))
	codes, names, ranges := map[KindCode]bool{}, map[string]bool{}, map[string]bool{}
	for i, k := range kinds {
		row := func(ok bool, key, what string) { fault(ok, fmt.Sprintf("[%d].%s", i, key), what) }
		k.faults(row)
		row(!codes[k.Code], "code", "another kind has it")
		row(!names[k.Name], "name", "another kind has it")
		codes[k.Code], names[k.Name] = true, true
		for j, prefix := range k.Ranges {
			row(!ranges[prefix], fmt.Sprintf("ranges[%d]", j), "another kind has it, or this one twice")
			ranges[prefix] = true
		}
	}
}

func validName(s string) bool {
	if s == "" || len(s) > maxNameBytes {
		return false
	}
	for i := range len(s) {
		if b := s[i]; (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' {
			return false
		}
	}
	return true
}
