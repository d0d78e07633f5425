package rules

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
