package drivertest

import (
	"fmt"
	"time"

	"gateline/gateway"
)

// patience is how long a rider waits for a sign before a check gives up.
const patience = 6 * time.Second

// afterwards is how long a gate is watched for signs that ought not to come.
const afterwards = 300 * time.Millisecond

// credential returns the nth made-up credential, of each scheme in turn.
func credential(n int) gateway.Credential {
	scheme, number := gateway.SchemeTUnion, fmt.Sprintf("31047700%011d", n)
	switch n % 3 {
	case 1:
		scheme, number = gateway.SchemeChip, fmt.Sprintf("0123AB%010X", n)
	case 2:
		scheme, number = gateway.SchemeRide, fmt.Sprintf("1001%012d", n)
	}
	c, err := gateway.NewCredential(scheme, []byte(number))
	if err != nil {
		panic("drivertest: a made-up credential is none: " + err.Error()) // a fault of the lines above
	}
	return c
}

// answers returns one of every kind: advisory ones and the lamp among them.
func answers() []gateway.Answer {
	return []gateway.Answer{
		{Verdict: gateway.VerdictPass, Reason: gateway.R00, Open: true, TTL: lifetime},
		{Verdict: gateway.VerdictRefuse, Reason: gateway.R10, TTL: lifetime},
		{Verdict: gateway.VerdictManual, Reason: gateway.R20, TTL: lifetime},
		{Verdict: gateway.VerdictRefuse, Reason: gateway.R13, Open: true, TTL: lifetime},
		{Verdict: gateway.VerdictPass, Reason: gateway.R01, Open: true, Lamp: true, TTL: lifetime},
		{Verdict: gateway.VerdictManual, Reason: gateway.R22, Open: true, TTL: lifetime},
		{Verdict: gateway.VerdictManual, Reason: gateway.R26, TTL: lifetime},
	}
}

// expect lets the station answer a credential of gate i.
func (w *world) expect(i int, c gateway.Credential, a gateway.Answer) *visit {
	p := w.posts[i]
	v := &visit{post: p, at: w.now, credential: c, answer: a, signed: len(p.signs)}
	p.visits = append(p.visits, v)
	return v
}

// present lays a credential on the reader of gate i.
func (w *world) present(i int, c gateway.Credential, a gateway.Answer) *visit {
	v := w.expect(i, c, a)
	v.post.gate.Present(w.now, c)
	v.post.wake = w.now
	return v
}

// visit presents a credential and checks how it is answered.
func (w *world) visit(i int, c gateway.Credential, a gateway.Answer) *visit {
	v := w.present(i, c, a)
	w.conclude(v)
	return v
}

// conclude waits until the visits are answered and checks that each was asked
// once and got exactly its own answer.
func (w *world) conclude(visits ...*visit) {
	if !w.wait("every tap is answered at its gate", patience, func() bool { return all(visits, (*visit).answered) }) {
		return
	}
	w.live(afterwards)
	for _, v := range visits {
		doors, verdicts := v.counts()
		wanted := 0
		if v.answer.Open {
			wanted = 1
		}
		if v.asked != 1 || doors != wanted || verdicts != 1 {
			w.fault("a tap at gate %d was asked %d times, opened the door %d times instead of %d, and %d verdicts were shown",
				v.post.index, v.asked, doors, wanted, verdicts)
		}
		if !v.told() {
			w.fault("a tap at gate %d that was answered %v, open %v, was shown another verdict", v.post.index, v.answer.Verdict, v.answer.Open)
		}
	}
}

func all(visits []*visit, ok func(*visit) bool) bool {
	for _, v := range visits {
		if !ok(v) {
			return false
		}
	}
	return true
}

// signs returns what the gate has done since the visit began.
func (v *visit) signs() []shown { return v.post.signs[v.signed:] }

func (v *visit) counts() (doors, verdicts int) {
	for _, s := range v.signs() {
		if s.sign.Door {
			doors++
		} else {
			verdicts++
		}
	}
	return doors, verdicts
}

// answered reports whether the gate has done all that its answer asks for.
func (v *visit) answered() bool {
	doors, verdicts := v.counts()
	return verdicts > 0 && (doors > 0 || !v.answer.Open)
}

// told reports whether every sign is one of the visit's own answer.
func (v *visit) told() bool {
	for _, s := range v.signs() {
		if !s.sign.fits(v.answer) {
			return false
		}
	}
	return true
}
