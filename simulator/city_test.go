package simulator

import (
	"math/rand/v2"
	"slices"
	"testing"

	"gateline/gateway"
)

// Whatever its size, a city's credentials and persons belong together: owner
// and owned are inverse, every person has an account, most credentials are
// accounts, and each has a number of its own.
func TestCity(t *testing.T) {
	for size := 100; size < 100+2*credentialsPerFive; size++ {
		c := newCity(size)
		accounts, owned := 0, 0
		for i := range size {
			person, card := owner(i)
			if person < 0 || person >= c.persons {
				t.Fatalf("city of %d: credential %d belongs to person %d of %d", size, i, person, c.persons)
			}
			if !slices.Contains(c.owned(person), i) {
				t.Errorf("city of %d: person %d owns %v, not %d", size, person, c.owned(person), i)
			}
			if !card {
				accounts++
			}
		}
		for person := range c.persons {
			for _, i := range c.owned(person) {
				owned++
				if p, _ := owner(i); i < 0 || i >= size || p != person {
					t.Errorf("city of %d: person %d owns %d, which belongs to %d", size, person, i, p)
				}
			}
		}
		if owned != size || accounts != c.persons || 2*accounts <= size {
			t.Errorf("city of %d: %d persons with %d credentials, %d accounts", size, c.persons, owned, accounts)
		}
	}
}

func TestCredentials(t *testing.T) {
	seen := map[gateway.Credential]bool{}
	for _, from := range []int{0, 99_999, MaxCards} { // riders unknown to a city come after its last
		for i := from; i < from+1000; i++ {
			c := credential(i)
			_, card := owner(i)
			if want := map[bool]gateway.Scheme{false: gateway.SchemeRide, true: gateway.SchemeTUnion}[card]; c.Scheme() != want || seen[c] {
				t.Fatalf("credential %d: scheme %v, seen %v", i, c.Scheme(), seen[c])
			}
			seen[c] = true
		}
	}
}

// Most riders can pass, and every class is there.
func TestSomeStatus(t *testing.T) {
	r, classes := rand.New(rand.NewPCG(1, 2)), map[gateway.Class]int{}
	const today, n = gateway.Day(20000), 10_000
	good := 0
	for range n {
		s := someStatus(r, today)
		classes[s.class]++
		if s.class == gateway.ClassNormal && s.anchor >= today-2 {
			good++
		}
		if s.anchor > today || !(gateway.Record{Class: s.class, Anchor: s.anchor, HoldThrough: s.hold}).Valid() {
			t.Fatalf("a status out of range")
		}
	}
	if good < n*85/100 || good > n*95/100 || len(classes) != 4 {
		t.Errorf("%d of %d can pass, %d classes", good, n, len(classes))
	}
}

// owned returns the credentials of a person: the account and, for four of
// five, the card.
func (c city) owned(person int) []int {
	group, rest := person/5, person%5
	own := []int{group*credentialsPerFive + rest}
	if card := group*credentialsPerFive + 5 + rest; rest < 4 && card < c.credentials {
		own = append(own, card)
	}
	return own
}
