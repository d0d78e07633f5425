package rules

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"gateline/gateway"
)

func TestUpgrade(t *testing.T) {
	t.Run("UPG-01 three channels, one truth", func(t *testing.T) {
		three := []Channel{ChannelApp, ChannelMini, ChannelMetro}
		for _, c := range three {
			w := newWorld(t)
			w.does(c, upgrade(physical(1), ann))
			for _, other := range three {
				shown := w.does(other, Own{Person: ann}).Bindings
				if len(shown) != 1 || shown[0].Token != physical(1).Token {
					t.Errorf("bound in %s, not shown in %s", c, other)
				}
				w.changesNothing(other, upgrade(physical(1), ann))
			}
		}
	})
	t.Run("UPG-02 identity and consent first", func(t *testing.T) {
		w := newWorld(t)
		for _, version := range []uint16{0, 2} {
			c := upgrade(physical(1), ann)
			c.Consent = version
			w.refuses(CodeConsent, ChannelApp, c)
		}
		unknown := upgrade(physical(1), ann)
		unknown.Identified = false
		w.refuses(CodeIdentity, ChannelApp, unknown)
		if h := w.state.Holder(ann); !h.empty() {
			t.Error("something was stored")
		}
		w.does(ChannelApp, upgrade(physical(1), ann))
		if b := w.bound(physical(1), ann); b.Consent != 1 || b.Since != w.now.Unix() {
			t.Errorf("consent %d at %d", b.Consent, b.Since)
		}
	})
	t.Run("UPG-03 a binding is a change for boxes at once", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelHealthSource, Report{Person: ann, Revision: 1, Anchor: 19150})
		w.does(ChannelApp, upgrade(physical(1), ann))
		if got := w.box[physical(1).Token]; got != (gateway.Record{Anchor: 19150}) {
			t.Error("the box has another status")
		}
	})
	t.Run("UPG-04 no money", func(t *testing.T) {
		for _, v := range shapes() {
			walk(reflect.TypeOf(v), func(name string) {
				for _, money := range []string{"balance", "amount", "fare", "money", "purse", "debit", "price"} {
					if strings.Contains(strings.ToLower(name), money) {
						t.Errorf("%T has a field %s", v, name)
					}
				}
			})
		}
	})
}

func TestUpgradeLimits(t *testing.T) {
	t.Run("UPG-08 cards of other cities through the app", func(t *testing.T) {
		w := newWorld(t)
		c := card(KindOutOfTown, 1)
		w.refuses(CodeAppOnly, ChannelMini, upgrade(c, ann))
		w.refuses(CodeAppOnly, ChannelMetro, help(c, ann, bob))
		w.does(ChannelApp, upgrade(c, ann))
		w.refuses(CodePhysicalFull, ChannelApp, upgrade(physical(1), ann)) // OQ-05: it takes the slot
	})
	t.Run("UPG-09 suburban railway cards are physical cards", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelMetro, upgrade(card(KindSuburban, 1), ann))
		w.refuses(CodePhysicalFull, ChannelMini, upgrade(physical(1), ann))
	})
	t.Run("UPG-10 one card, one person", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelApp, upgrade(physical(1), ann))
		w.refuses(CodeOtherOwner, ChannelMini, upgrade(physical(1), bob))
		w.refuses(CodeOtherOwner, ChannelMini, help(physical(1), bob, cat))
		w.does(ChannelApp, unbind(physical(1), ann))
		w.does(ChannelMini, upgrade(physical(1), bob))
		w.bound(physical(1), bob)
	})
	t.Run("UPG-11 riders from elsewhere by the health kit", func(t *testing.T) {
		w := newWorld(t)
		w.now = at(t, "2022-06-02 23:59:59")
		w.refuses(CodeChannel, ChannelHealthKit, upgrade(physical(1), ann))
		w.now = at(t, "2022-06-03 00:00:00")
		w.does(ChannelHealthKit, upgrade(physical(1), ann))
		w.refuses(CodePhysicalFull, ChannelHealthKit, upgrade(physical(2), ann))
	})
}

func TestHelp(t *testing.T) {
	t.Run("UPG-05 physical cards of others", func(t *testing.T) {
		for _, c := range []Channel{ChannelApp, ChannelMini, ChannelMetro} {
			w := newWorld(t)
			w.refuses(CodeHelpPhysical, c, help(phone(1), ann, bob))
			w.refuses(CodeHelpPhysical, c, help(card(KindRideYikatong, 1), ann, bob))
			w.does(c, help(physical(1), ann, bob))
			if b := w.bound(physical(1), ann); b.Source != SourceHelper || b.Helper != bob {
				t.Errorf("source %s", b.Source)
			}
			own := w.does(c, Own{Person: bob})
			if len(own.Bindings) != 0 || len(own.Helped) != 1 || own.Helped[0] != physical(1) {
				t.Error("the helper is not shown the card he helped with, or as his own")
			}
		}
	})
	t.Run("UPG-06 at most five", func(t *testing.T) {
		for _, mode := range []HelperMode{HelperActive, HelperLifetime} {
			w := newWorld(t)
			w.data.Quotas[1].Value.HelperMode = mode
			w.does(ChannelApp, upgrade(physical(99), eve))
			w.does(ChannelApp, help(phone(98), eve, eve)) // an own card, whichever way
			for i := range 5 {
				w.does(ChannelApp, help(physical(i), someone(string(rune('a'+i))), eve))
			}
			w.refuses(CodeHelperFull, ChannelMini, help(physical(5), bob, eve))
			w.does(ChannelApp, unbind(physical(2), someone("c")))
			if mode == HelperLifetime {
				w.refuses(CodeHelperFull, ChannelApp, help(physical(5), bob, eve))
				continue
			}
			w.does(ChannelApp, help(physical(5), bob, eve))
			w.refuses(CodeHelperFull, ChannelApp, help(physical(6), cat, eve))
		}
	})
	t.Run("UPG-07 the helped person's quota, without a word of that card", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelApp, upgrade(physical(1), ann))
		w.refuses(CodePhysicalFull, ChannelApp, help(physical(2), ann, bob))
		walk(reflect.TypeOf(Refusal{}), func(name string) {
			if !slices.Contains([]string{"Code", "ZH", "EN", "Detail"}, name) {
				t.Errorf("a refusal has a field %s", name)
			}
		})
	})
}

// walk calls f with the name of every field of a type, in depth.
func walk(of reflect.Type, f func(name string)) {
	switch of.Kind() {
	case reflect.Slice, reflect.Array, reflect.Pointer:
		walk(of.Elem(), f)
	case reflect.Struct:
		for i := range of.NumField() {
			f(of.Field(i).Name)
			walk(of.Field(i).Type, f)
		}
	}
}
