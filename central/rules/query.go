package rules

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// LookUp answers a number read from a card whose print is worn off: its kind,
// and nothing of anybody's (NUM-02). It needs no login.
type LookUp struct{ Card }

func (LookUp) function() Function { return FunctionLookUp }
func (LookUp) reads()             {}

func (c LookUp) decide(d *draft) (Answer, *Refusal) {
	if _, known := d.kind(c.Kind); !known {
		return Answer{}, refuse(CodeUnsupported)
	}
	answer := done()
	answer.Kind = c.Kind
	return answer, nil
}

// Own shows a person the own bindings and what waits, and the cards bound for
// others, without whose they are. Nobody is shown another person's.
type Own struct{ Person Person }

func (Own) function() Function { return FunctionUpgrade }
func (Own) reads()             {}

func (c Own) decide(d *draft) (Answer, *Refusal) {
	if c.Person == (Person{}) {
		return Answer{}, malformed("person: missing; say who is logged in")
	}
	answer := done()
	h := d.holder(c.Person)
	for _, b := range h.Bindings {
		answer.Bindings = append(answer.Bindings, Shown{Card: b.Card, Medium: b.Medium, Source: b.Source, Since: b.Since})
	}
	for _, waiting := range h.Cases {
		if w := waiting.Want; waiting.Reason == CaseSlot {
			answer.Bindings = append(answer.Bindings, Shown{Card: w.Card, Medium: w.Medium, Source: w.Source, Waiting: true})
		}
	}
	for _, b := range d.view.Helped(c.Person) {
		answer.Helped = append(answer.Helped, b.Card)
	}
	return answer, nil
}

// Statistics returns the counters (TIME-04).
type Statistics struct{}

func (Statistics) function() Function { return FunctionStatistics }
func (Statistics) reads()             {}

func (Statistics) decide(d *draft) (Answer, *Refusal) {
	answer := done()
	answer.Stats = d.view.Stats()
	return answer, nil
}

// CasesPage is the largest number of cases in one answer.
const CasesPage = 250

// ListCases shows what waits (BO-02, TOP-05), the oldest first, CasesPage at a
// time: what kind of card, why, since when and by which list. Nobody is named,
// neither who has the card nor for whom it waits. It is for those who deliver
// lists and those who decide.
type ListCases struct {
	// After is Answer.Next of the page before; zero = the first page.
	After CaseMark
}

func (ListCases) function() Function { return FunctionBackOffice }
func (ListCases) reads()             {}

func (c ListCases) decide(d *draft) (Answer, *Refusal) {
	answer := done()
	cases := d.view.CasesAfter(c.After, CasesPage+1)
	if len(cases) > CasesPage {
		cases = cases[:CasesPage]
		answer.Next = markOf(cases[CasesPage-1])
	}
	for _, one := range cases {
		w := one.Want
		answer.Cases = append(answer.Cases, ShownCase{Kind: w.Kind, Medium: w.Medium, Reason: one.Reason, Since: w.Since,
			List: w.Listing.List, Run: w.Listing.Run})
	}
	return answer, nil
}

// CaseMark is a place in the order of the cases: since when one waits, and a
// hash that orders those of one second. The hash is over the card's token and a
// pseudonym of 128 bits, so that neither can be found from it. A case keeps its
// mark for as long as it waits, unless persons are merged.
type CaseMark [16]byte

func markOf(c Case) (mark CaseMark) {
	binary.BigEndian.PutUint64(mark[:8], uint64(c.Want.Since))
	h := sha256.New()
	h.Write([]byte("gateline case mark v1\x00"))
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(c.Want.Token)))
	h.Write(c.Want.Person[:])
	copy(mark[8:], h.Sum(nil))
	return mark
}

// after returns the first cases behind a mark, at most most of them, in the order of
// their marks.
func (mark CaseMark) after(all func(func(Case) bool), most int) []Case {
	type marked struct {
		mark CaseMark
		c    Case
	}
	var found []marked
	since := int64(binary.BigEndian.Uint64(mark[:8]))
	for c := range all {
		if c.Want.Since < since {
			continue // without the hash
		}
		if m := markOf(c); bytes.Compare(m[:], mark[:]) > 0 {
			found = append(found, marked{m, c})
		}
	}
	slices.SortFunc(found, func(a, b marked) int { return bytes.Compare(a.mark[:], b.mark[:]) })
	var cases []Case
	for _, f := range found[:min(most, len(found))] {
		cases = append(cases, f.c)
	}
	return cases
}
