package central

import (
	"bytes"
	"errors"
	"testing"

	"gateline/gateway"
)

func sampleMessage(t testing.TB) []byte {
	t.Helper()
	schedule, err := (*gateway.Schedule)(nil).Put(gateway.DefaultPolicy(noon), noon)
	if err != nil {
		t.Fatal(err)
	}
	b := appendHeader(nil, 1653969600000000, newKeyCheck(testKey()))
	for _, e := range []event{
		{kind: eventBind, token: 0x0123456789abcdef, person: Person{1, 2, 3}},
		{kind: eventStatus, person: Person{1, 2, 3}, record: gateway.Record{Class: gateway.ClassYellow, Anchor: 19140, HoldThrough: 19143, AnchorMinute: 570}},
		{kind: eventStatus, person: Person{9}},
		{kind: eventUnbind, token: 1},
		{kind: eventSchedule, schedule: schedule},
	} {
		if b, err = appendEvent(b, &e); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func encodeMessage(t testing.TB, m ledgerMessage) []byte {
	t.Helper()
	b := appendHeader(nil, m.unixMicro, m.check)
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
	if len(m.events) != 5 || m.check != newKeyCheck(testKey()) || m.events[1].record.AnchorMinute != 570 {
		t.Fatalf("%d events", len(m.events))
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
		"another magic":        "gateline-ledger 2 1 0102030405060708\n",
		"a time with a plus":   "gateline-ledger 1 +1 0102030405060708\n",
		"upper case":           header + "U 00000000000000AB\n",
		"cut off":              string(good[:len(good)-1]),
		"a short token":        header + "U 01\n",
		"an unknown kind":      header + "X 0123456789abcdef\n",
		"an empty line":        header + "\n",
		"a record too long":    header + "S 01020300000000000000000000000000 0000000000000000ff\n",
		"a record not minimal": header + "S 01020300000000000000000000000000 000000\n",
		"no record":            header + "S 01020300000000000000000000000000 \n",
		"a bad schedule":       header + "P {}\n",
		"no separator":         header + "B 0123456789abcdef_01020300000000000000000000000000\n",
	}
	for name, text := range bad {
		if _, err := decodeMessage([]byte(text)); !errors.Is(err, ErrLedger) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzLedgerMessage(f *testing.F) {
	f.Add(sampleMessage(f))
	f.Add([]byte("gateline-ledger 1 -5 0102030405060708\nU 0123456789abcdef\n"))
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
