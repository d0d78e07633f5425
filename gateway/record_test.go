package gateway

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

func TestRecordEncoding(t *testing.T) {
	for _, c := range []struct {
		r    Record
		want []byte
	}{
		{Record{}, []byte{0x00}},
		{Record{Class: ClassRed, Flags: FlagConcession}, []byte{0x31}},
		{Record{Anchor: 19140}, []byte{0x00, 0xc4, 0x4a}},
		{Record{Anchor: 19140, HoldThrough: 19143}, []byte{0x00, 0xc4, 0x4a, 0xc7, 0x4a}},
		{Record{Class: ClassYellow, Anchor: 19140, AnchorMinute: 570}, []byte{0x20, 0xc4, 0x4a, 0, 0, 0x3a, 0x02}},
	} {
		got := AppendRecord(nil, c.r)
		if !bytes.Equal(got, c.want) {
			t.Errorf("encoded as %x, want %x", got, c.want)
		}
		if back, err := DecodeRecord(got); err != nil || back != c.r {
			t.Errorf("%x decodes to another record, err %v", got, err)
		}
	}
	for _, bad := range [][]byte{nil, {}, {0x40}, {0x02}, {0, 1}, {0, 0, 0}, {0, 0, 0x80}, {0, 1, 0, 0, 0}, {0, 1, 0, 0, 0, 0xa0, 0x05},
		{0, 0, 0, 0, 0, 1, 0}, {0, 1, 0, 1, 0, 1, 0, 1, 0}} {
		if _, err := DecodeRecord(bad); !errors.Is(err, ErrRecord) {
			t.Errorf("%x: err %v", bad, err)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte{0x31})
	f.Add([]byte{0x20, 0xc4, 0x4a, 0, 0, 0x3a, 0x02})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeRecord(b)
		if err != nil {
			return
		}
		if again := AppendRecord(nil, r); !bytes.Equal(again, b) {
			t.Errorf("%x re-encodes to %x", b, again)
		}
	})
}

// Days are those of Asia/Shanghai whatever the zone of the instant (IMP-18).
func TestDayOf(t *testing.T) {
	newYork := time.FixedZone("", -5*60*60)
	for _, c := range []struct {
		at   time.Time
		want Day
	}{
		{at("2022-05-28 00:00:00"), 19140},
		{at("2022-05-27 23:59:59"), 19139},
		{time.Date(2022, 5, 30, 16, 30, 0, 0, time.UTC), 19143},
		{time.Date(2022, 5, 30, 10, 30, 0, 0, newYork), 19142},
		{time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), 0},
		{time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC), 0},
		{time.Date(2059, 9, 18, 12, 0, 0, 0, Zone), 32767},
		{time.Date(2059, 9, 19, 0, 0, 0, 0, Zone), 0},
		{time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), 0},
		{time.Time{}, 0},
	} {
		if got := DayOf(c.at); got != c.want {
			t.Errorf("%v: day %d, want %d", c.at, got, c.want)
		}
	}
	if s := Day(19140).String(); s != "2022-05-28" {
		t.Errorf("19140 prints as %s", s)
	}
	if got := DayOf(Day(19140).Start()); got != 19140 {
		t.Errorf("the start of a day lies in day %d", got)
	}
	if s := Day(0).String(); s != "none" {
		t.Errorf("0 prints as %s", s)
	}
}
