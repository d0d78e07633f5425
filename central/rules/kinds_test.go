package rules

import (
	"testing"

	"gateline/gateway"
)

func TestKinds(t *testing.T) {
	t.Run("KIND-01 physical kinds", func(t *testing.T) {
		for _, kind := range []KindCode{KindMunicipal, KindInteroperable, KindCommemorative, KindSuburban} {
			w := newWorld(t)
			c := card(kind, 1)
			w.unbound(c)
			w.does(ChannelApp, upgrade(c, ann))
			if b := w.bound(c, ann); b.Medium != MediumPhysical || !b.Slot || b.Source != SourceSelf {
				t.Errorf("kind %d: %s, slot %v, source %s", kind, b.Medium, b.Slot, b.Source)
			}
		}
		w := newWorld(t)
		ticket := card(KindMetroTicket, 1)
		w.refuses(CodeChannel, ChannelApp, upgrade(ticket, ann))
		w.does(ChannelMetro, upgrade(ticket, ann))
		w.now = at(t, "2022-05-18 23:59:59")
		w.refuses(CodeUnsupported, ChannelMetro, upgrade(card(KindMetroTicket, 2), bob))
	})
	t.Run("KIND-02 phone kinds and unknown numbers", func(t *testing.T) {
		for _, kind := range []KindCode{KindMunicipalNFC, KindInteroperableNFC, KindJDFinance, KindCCBLowCarbon} {
			w := newWorld(t)
			w.does(ChannelMini, upgrade(card(kind, 1), ann))
			if b := w.bound(card(kind, 1), ann); b.Medium != MediumNFC || !b.Slot {
				t.Errorf("kind %d: %s, slot %v", kind, b.Medium, b.Slot)
			}
		}
		newWorld(t).refuses(CodeUnsupported, ChannelApp, upgrade(card(0, 1), ann))
		newWorld(t).refuses(CodeUnsupported, ChannelApp, upgrade(card(200, 1), ann))
	})
	t.Run("KIND-03 wearables take the slot of a phone", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelApp, upgrade(card(KindWearable, 1), ann))
		w.refuses(CodeNFCFull, ChannelApp, upgrade(phone(1), ann))
		w.does(ChannelApp, upgrade(physical(1), ann))
	})
}

func TestBackOfficeKinds(t *testing.T) {
	t.Run("KIND-04 concession kinds are not upgraded by their holders", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelBackOffice, Concessions{List: 1, Rows: []Row{{Card: elderly(1), Person: ann}}})
		for i, kind := range []KindCode{KindElderly, KindCivilAffairs, KindDisabled} {
			w.refuses(CodeBackOffice, ChannelApp, upgrade(card(kind, 1), ann))
			w.refuses(CodeBackOffice, ChannelMini, help(card(kind, 1), ann, bob))
			w.now = at(t, "2022-05-25 12:00:00") // the earlier notice
			w.does(ChannelApp, upgrade(card(kind, 2), someone(string(rune('p'+i)))))
			w.now = at(t, "2022-06-10 12:00:00")
		}
		w.bound(elderly(1), ann)
	})
	t.Run("KIND-05 physical student cards by batch, electronic ones by oneself", func(t *testing.T) {
		w := newWorld(t)
		w.refuses(CodeStudentBatch, ChannelApp, upgrade(card(KindStudent, 1), ann))
		w.refuses(CodeStudentBatch, ChannelApp, help(card(KindStudent, 1), ann, bob))
		w.does(ChannelApp, upgrade(card(KindElectronicStudent, 1), ann))
		w.refuses(CodeNFCFull, ChannelApp, upgrade(phone(1), ann))
	})
	t.Run("KIND-06 an issuer's real name is no consent", func(t *testing.T) {
		w := newWorld(t)
		c := card(KindSuburban, 1)
		answer := w.does(ChannelBackOffice, Concessions{List: 1, Rows: []Row{{Card: c, Person: ann}}})
		if answer.Rejected != 1 || answer.Bound != 0 {
			t.Errorf("a list of real names: %+v", answer)
		}
		named := upgrade(c, ann)
		named.Consent = 0
		w.refuses(CodeConsent, ChannelApp, named)
		w.unbound(c)
	})
}

func TestOtherKinds(t *testing.T) {
	t.Run("KIND-07 cards of other cities", func(t *testing.T) {
		w := newWorld(t)
		if kind := w.data.KindOf(numbered(t, "tunion:3101"), w.now); kind != KindOutOfTown {
			t.Errorf("kind %d", kind)
		}
		w.does(ChannelApp, upgrade(card(KindOutOfTown, 1), ann))
	})
	t.Run("KIND-08 media that cannot be upgraded", func(t *testing.T) {
		w := newWorld(t)
		w.refuses(CodeUnsupported, ChannelApp, upgrade(card(KindECNYWearable, 1), ann))
		if kind := w.data.KindOf(gateway.Credential{}, w.now); kind != 0 {
			t.Errorf("an unreadable credential has kind %d", kind)
		}
		for _, prefix := range []string{"ride:9999", "tunion:62"} {
			if kind := w.data.KindOf(numbered(t, prefix), w.now); kind != 0 {
				t.Errorf("%s: a number of an unknown issuer has kind %d", prefix, kind)
			}
		}
	})
	t.Run("KIND-09 ride codes are a medium of their own", func(t *testing.T) {
		w := newWorld(t)
		code := card(KindRideYikatong, 1)
		w.refuses(CodeUnsupported, ChannelApp, upgrade(code, ann))
		w.does(ChannelApp, Authorise{Account: code, Person: ann, Identified: true, Consent: 1})
		if b := w.bound(code, ann); b.Medium != MediumRide {
			t.Errorf("medium %s", b.Medium)
		}
	})
}

func TestNumbers(t *testing.T) {
	t.Run("NUM-04 no check digit", func(t *testing.T) {
		data, now := DefaultRules(), at(t, "2022-06-10 12:00:00")
		for last := range 10 {
			c, err := gateway.ParsePrinted("3104 7700 1234 5678 90" + string(rune('0'+last)))
			if err != nil || data.KindOf(c, now) != KindInteroperable {
				t.Errorf("with the last digit %d: %v", last, err)
			}
		}
	})
}

// TestKindOf finds every kind by its own ranges, the longest first.
func TestKindOf(t *testing.T) {
	data := DefaultRules()
	for _, term := range data.Kinds {
		for _, k := range term.Value {
			for _, prefix := range k.Ranges {
				if got := data.KindOf(numbered(t, prefix), term.From); got != k.Code {
					t.Errorf("%s: a number of %s has kind %d", prefix, k.Name, got)
				}
			}
		}
	}
	if got := data.KindOf(numbered(t, "tunion:310477"), data.Kinds[0].From.Add(-1)); got != 0 {
		t.Errorf("before the first term a card has kind %d", got)
	}
}
