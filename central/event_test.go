package central

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"gateline/central/rules"
	"gateline/gateway"
)

func sampleMessage(t testing.TB) []byte {
	t.Helper()
	schedule, err := (*gateway.Schedule)(nil).Put(gateway.DefaultPolicy(noon), noon)
	if err != nil {
		t.Fatal(err)
	}
	b := appendHeader(nil, 1653969600000000, newKeyCheck(testKey()), 0)
	for _, e := range append(sampleEvents(), event{schedule: schedule}) {
		if b, err = appendEvent(b, &e); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// sampleEvents has every event of the registry.
func sampleEvents() (all []event) {
	ann, bob := Person{1, 2, 3}, Person{9}
	plain := rules.Binding{Card: rules.Card{Token: 0x0123456789abcdef, Kind: 2}, Person: ann, Medium: rules.MediumPhysical, Source: rules.SourceSelf, Slot: true, Since: 1653969600, Consent: 1}
	listed := rules.Binding{Card: rules.Card{Token: 7, Kind: 16}, Person: ann, Medium: rules.MediumPhysical, Source: rules.SourceStudents, Lamp: true, Since: 1,
		Helper: bob, Listing: rules.Listing{List: 255, Run: 1<<32 - 1, ValidTo: 20000, Guardian: bob}}
	for _, e := range []rules.Event{
		rules.Bound{Binding: plain}, rules.Marked{Binding: listed}, rules.Ended{Token: 1},
		rules.Renumbered{Old: 7, New: rules.Card{Token: 1 << 63, Kind: 255}}, rules.Moved{Token: 7, To: bob},
		rules.Seen{Run: 3, Tokens: []gateway.Token{1, 2, 3}},
		rules.CaseOpened{Case: rules.Case{Reason: rules.CaseOwner, Want: listed}}, rules.CaseClosed{Token: 7},
		rules.Reported{Person: ann, Record: gateway.Record{Class: gateway.ClassYellow, Anchor: 19140, HoldThrough: 19143, AnchorMinute: 570}, Revision: 1<<64 - 1},
		rules.Reported{Person: bob, Revision: 1},
		rules.Merged{From: ann, Into: bob}, rules.Forgotten{Person: ann}, rules.HelpedEver{Person: bob, Times: 1<<16 - 1},
		rules.Settled{Request: rules.RequestKey{1}, Print: [8]byte{2}, Outcome: rules.Outcome{Result: rules.ResultDone, Bound: 1, Ended: 2, Conflicts: 3, Rejected: 4, More: true}},
		rules.Settled{Request: rules.RequestKey{2}, Outcome: rules.Outcome{Code: rules.CodePhysicalFull}},
	} {
		all = append(all, event{registry: e})
	}
	return all
}

func encodeMessage(t testing.TB, m ledgerMessage) []byte {
	t.Helper()
	b := appendHeader(nil, m.unixMicro, m.check, m.snapshotEnd)
	var err error
	for i := range m.events {
		if b, err = appendEvent(b, &m.events[i]); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func TestLedgerMessageRoundTrip(t *testing.T) {
	b := sampleMessage(t)
	m, err := decodeMessage(b)
	if err != nil {
		t.Fatal(err)
	}
	want := sampleEvents()
	if len(m.events) != len(want)+1 || m.check != newKeyCheck(testKey()) || m.events[len(want)].schedule == nil {
		t.Fatalf("%d events", len(m.events))
	}
	for i := range want {
		if !reflect.DeepEqual(m.events[i], want[i]) {
			t.Errorf("%T comes back otherwise", want[i].registry)
		}
	}
	if !bytes.Equal(encodeMessage(t, m), b) {
		t.Error("it does not encode to the same bytes")
	}
}

func TestLedgerMessageRefuses(t *testing.T) {
	good := sampleMessage(t)
	header := string(good[:bytes.IndexByte(good, '\n')+1])
	bad := map[string]string{
		"empty":                "",
		"another magic":        "gateline-ledger 1 1 0102030405060708\n",
		"a time with a plus":   "gateline-ledger 2 +1 0102030405060708\n",
		"upper case":           header + "U 00000000000000AB\n",
		"cut off":              string(good[:len(good)-1]),
		"a short token":        header + "U 01\n",
		"a field too many":     header + "U 0123456789abcdef 1\n",
		"a blank at the end":   header + "U 0123456789abcdef \n",
		"a field too few":      header + "V 0123456789abcdef\n",
		"an unknown kind":      header + "Z 0123456789abcdef\n",
		"no fields":            header + "X \n",
		"an empty line":        header + "\n",
		"a number with a zero": header + "N 0123456789abcdef 0123456789abcde0 01\n",
		"a number too large":   header + "N 0123456789abcdef 0123456789abcde0 256\n",
		"nobody in digits":     header + "X 00000000000000000000000000000000\n",
		"a record too long":    header + "S 01020300000000000000000000000000 0000000000000000ff 1\n",
		"a record not minimal": header + "S 01020300000000000000000000000000 000000 1\n",
		"no revision":          header + "S 01020300000000000000000000000000 00\n",
		"a bad schedule":       header + "P {}\n",
	}
	for name, text := range bad {
		if _, err := decodeMessage([]byte(text)); !errors.Is(err, ErrLedger) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzLedgerMessage(f *testing.F) {
	f.Add(sampleMessage(f))
	f.Add([]byte("gateline-ledger 2 -5 0102030405060708\nU 0123456789abcdef\nL 3\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMessage(b)
		if err != nil {
			return
		}
		if again := encodeMessage(t, m); !bytes.Equal(again, b) {
			t.Errorf("accepted %q, which encodes to %q", b, again)
		}
	})
}
