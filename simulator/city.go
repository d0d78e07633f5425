package simulator

import (
	"fmt"
	"math/rand/v2"

	"gateline/central"
	"gateline/gateway"
)

// A virtual city: every person has a ride-code account, four of five also a
// card, so that more than half of the credentials are accounts. Numbers are
// made from an index, so that nothing needs to be remembered of them.
const (
	credentialsPerFive = 9 // of five persons: five accounts and four cards
	cardPrefix         = 3104770
	rideIssuer         = 1001
)

// city is the people and credentials of a run.
type city struct {
	credentials int
	persons     int
}

func newCity(credentials int) city {
	return city{credentials: credentials, persons: credentials/credentialsPerFive*5 + min(credentials%credentialsPerFive, 5)}
}

// owner returns the person of credential i, and whether it is the card.
func owner(i int) (person int, card bool) {
	group, rest := i/credentialsPerFive, i%credentialsPerFive
	if rest < 5 {
		return group*5 + rest, false
	}
	return group*5 + rest - 5, true
}

// text returns credential i as ops commands name it.
func credentialText(i int) string {
	if _, card := owner(i); card {
		return fmt.Sprintf("tunion:%d%012d", cardPrefix, i)
	}
	return fmt.Sprintf("ride:%d%012d", rideIssuer, i)
}

// credential returns credential i as a gate reads it.
func credential(i int) gateway.Credential {
	c, err := gateway.ParseCredential(credentialText(i))
	if err != nil {
		panic("simulator: a made-up credential is not one: " + err.Error()) // a fault of this file
	}
	return c
}

func personID(p int) string { return fmt.Sprintf("person-%d", p) }

// status is what the city knows of a person's health.
type status struct {
	class  gateway.Class
	anchor gateway.Day
	hold   gateway.Day
}

// someStatus draws a status: nine of ten riders have a test that is good today
// under a window of two days.
func someStatus(r *rand.Rand, today gateway.Day) status {
	switch n := r.IntN(100); {
	case n < 90:
		return status{anchor: today - gateway.Day(r.IntN(3))}
	case n < 93:
		return status{anchor: today - 3}
	case n < 95:
		return status{anchor: today - gateway.Day(4+r.IntN(30))}
	case n < 96:
		return status{anchor: today - 4, hold: today + 1}
	case n < 98:
		return status{}
	case n < 99:
		return status{class: gateway.ClassPopup, anchor: today}
	default:
		return status{class: gateway.Class(2 + r.IntN(2)), anchor: today - 1}
	}
}

// wire returns the status as ops commands name it.
func (s status) wire() central.Status {
	return central.StatusOf(gateway.Record{Class: s.class, Anchor: s.anchor, HoldThrough: s.hold})
}
