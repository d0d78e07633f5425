package rules

import (
	"fmt"
	"reflect"
	"testing"
	"time"
)

func TestListCases(t *testing.T) {
	t.Run("BO-02 what waits is listed with its list and its reason, and nobody in it", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelBackOffice, Concessions{List: 3, Run: 7, Rows: []Row{{Card: elderly(1), Person: ann}}})
		w.now = w.now.Add(time.Minute)
		w.does(ChannelBackOffice, Concessions{List: 3, Run: 8, Rows: []Row{{Card: elderly(1), Person: bob}}})
		first := w.now.Unix()
		w.does(ChannelPoint, issue(physical(1), ann))
		w.now = w.now.Add(time.Minute)
		w.does(ChannelPoint, issue(physical(2), ann))
		want := []ShownCase{
			{Kind: KindElderly, Medium: MediumPhysical, Reason: CaseOwner, Since: first, List: 3, Run: 8},
			{Kind: KindInteroperable, Medium: MediumPhysical, Reason: CaseSlot, Since: w.now.Unix()},
		}
		for _, c := range []Channel{ChannelBackOffice, ChannelOps} {
			if a := w.does(c, ListCases{}); !reflect.DeepEqual(a.Cases, want) || a.Next != (CaseMark{}) {
				t.Errorf("%s sees %+v", c, a.Cases)
			}
		}
		for _, c := range []Channel{ChannelApp, ChannelPoint, ChannelHotline, ChannelHealthSource} {
			w.refuses(CodeChannel, c, ListCases{})
		}
		w.does(ChannelOps, Resolve{Token: elderly(1).Token})
		w.does(ChannelPoint, Return{physical(1).Token})
		if a := w.does(ChannelOps, ListCases{}); len(a.Cases) != 0 {
			t.Errorf("what is settled is listed: %+v", a.Cases)
		}
	})
	t.Run("BO-02 what waits comes in pages, each case once", func(t *testing.T) {
		w := newWorld(t)
		const cases = 2*CasesPage + 3 // most of them of one second
		for i := range cases {
			if i == 5 || i == cases-2 {
				w.now = w.now.Add(time.Second)
			}
			w.does(ChannelBackOffice, list(1, Row{Card: elderly(i), Person: rider("ann", i)}))
			w.does(ChannelBackOffice, Concessions{List: 1, Run: uint32(i + 2), Rows: []Row{{Card: elderly(i), Person: rider("bob", i)}}})
		}
		seen := map[uint32]bool{}
		before := int64(0)
		var q ListCases
		var sizes []int
		for more := true; more; {
			a := w.does(ChannelOps, q)
			for _, c := range a.Cases {
				if c.Since < before || seen[c.Run] {
					t.Fatalf("the case of run %d is shown twice, or before an older one", c.Run)
				}
				before, seen[c.Run] = c.Since, true
			}
			sizes = append(sizes, len(a.Cases))
			q.After, more = a.Next, a.Next != CaseMark{}
			// What is settled in between moves no other case to another page.
			w.does(ChannelOps, Resolve{Token: elderly(0).Token})
		}
		if len(seen) != cases || fmt.Sprint(sizes) != fmt.Sprint([]int{CasesPage, CasesPage, 3}) {
			t.Errorf("%d of %d cases, in pages of %v", len(seen), cases, sizes)
		}
	})
}

// rider returns one of many persons.
func rider(name string, i int) Person { return someone(fmt.Sprintf("%s %d", name, i)) }
