package rules

import (
	"testing"
	"time"
)

func TestUnbind(t *testing.T) {
	t.Run("UNB-01 in the app, at the hotline, elsewhere by data", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelApp, upgrade(physical(1), ann))
		w.refuses(CodeChannel, ChannelMini, unbind(physical(1), ann))
		w.refuses(CodeIdentity, ChannelHotline, Unbind{Token: physical(1).Token, By: ann})
		w.does(ChannelHotline, unbind(physical(1), ann))
		w.unbound(physical(1))

		w.does(ChannelApp, upgrade(physical(1), ann))
		w.data.Channels[2].Value[ChannelMini] = append(w.data.Channels[2].Value[ChannelMini], FunctionUnbind)
		w.does(ChannelMini, unbind(physical(1), ann))
		w.unbound(physical(1))
	})
	t.Run("UNB-02 then it is a card like any other", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelApp, upgrade(physical(1), ann))
		w.does(ChannelApp, unbind(physical(1), ann))
		w.refuses(CodeTopUp, ChannelApp, CheckTopUp{physical(1)})
		w.does(ChannelApp, upgrade(physical(1), bob))
	})
	t.Run("UNB-03 by the person bound, or for a day by the helper", func(t *testing.T) {
		w := newWorld(t)
		made := w.now
		w.does(ChannelApp, help(physical(1), ann, bob))
		w.refuses(CodeNotBound, ChannelApp, unbind(physical(1), cat))
		w.refuses(CodeNotBound, ChannelApp, unbind(physical(1), Person{}))
		w.refuses(CodeNotBound, ChannelApp, unbind(physical(2), ann))
		w.now = made.Add(24 * time.Hour)
		w.refuses(CodeNotBound, ChannelApp, unbind(physical(1), bob))
		w.now = made.Add(24*time.Hour - time.Second)
		w.does(ChannelApp, unbind(physical(1), bob))
		w.does(ChannelApp, help(physical(1), ann, bob))
		w.now = made.Add(1000 * time.Hour)
		w.does(ChannelApp, unbind(physical(1), ann))
	})
	t.Run("UNB-04 what the back office has made only it ends", func(t *testing.T) {
		w := newWorld(t)
		student := card(KindStudent, 1)
		w.does(ChannelBackOffice, Concessions{List: 1, Rows: []Row{{Card: elderly(1), Person: ann}}})
		w.does(ChannelBackOffice, Students{List: 2, Rows: []Row{{Card: student, Person: bob, Guardian: ann}}})
		for _, c := range []Channel{ChannelApp, ChannelHotline} {
			w.refuses(CodeNotBound, c, unbind(elderly(1), ann))
			w.refuses(CodeNotBound, c, unbind(student, bob))
		}
		w.refuses(CodeNotBound, ChannelApp, Swap{Old: elderly(1).Token, New: physical(1), Person: ann, Identified: true, Consent: 1})
		w.does(ChannelBackOffice, Return{elderly(1).Token})
		w.unbound(elderly(1))
	})
}

func TestReturnAndReplace(t *testing.T) {
	t.Run("UNB-05 a returned card frees the quota", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelApp, help(physical(1), ann, bob))
		w.does(ChannelPoint, Return{physical(1).Token})
		w.unbound(physical(1))
		w.does(ChannelApp, upgrade(physical(2), ann))
		if h := w.state.Holder(bob); h.Helped != 0 || h.HelpedEver != 1 {
			t.Errorf("the helper has %d of %d", h.Helped, h.HelpedEver)
		}
	})
	t.Run("IMP-28 a replaced card, a changed phone", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelApp, help(physical(1), ann, bob))
		w.does(ChannelApp, upgrade(phone(1), ann))
		before := w.bound(physical(1), ann)
		w.does(ChannelBackOffice, Replace{Old: physical(1).Token, New: physical(2)})
		w.does(ChannelBackOffice, Replace{Old: phone(1).Token, New: phone(2)})
		w.changesNothing(ChannelBackOffice, Replace{Old: phone(1).Token, New: phone(2)})
		w.unbound(physical(1))
		w.bound(phone(2), ann)
		after := w.bound(physical(2), ann)
		before.Card = physical(2)
		if after != before || w.state.Holder(bob).HelpedEver != 1 {
			t.Error("more than the card has changed")
		}
		w.refuses(CodeOtherOwner, ChannelBackOffice, Replace{Old: phone(2).Token, New: Card{Token: physical(2).Token, Kind: KindWearable}})
		w.refuses(CodeUnsupported, ChannelBackOffice, Replace{Old: phone(2).Token, New: physical(3)})
		w.refuses(CodeNotBound, ChannelBackOffice, Replace{Old: phone(8).Token, New: phone(9)})
		w.refuses(CodeChannel, ChannelApp, Replace{Old: phone(2).Token, New: phone(9)})
		// The holder does it as a swap, and no quota is in the way.
		w.does(ChannelApp, Swap{Old: phone(2).Token, New: phone(3), Person: ann, Identified: true, Consent: 1})
	})
}

func TestRideCode(t *testing.T) {
	authorise := func(kind KindCode, n int, p Person) Authorise {
		return Authorise{Account: card(kind, n), Person: p, Identified: true, Consent: 1}
	}
	t.Run("RC-01 one step, many issuers", func(t *testing.T) {
		w := newWorld(t)
		for c, kind := range map[Channel]KindCode{
			ChannelApp: KindRideYikatong, ChannelYitongxing: KindRideYitongxing, ChannelBus: KindRideBus, ChannelAlipay: KindRideAlipay,
			ChannelUnionPay: KindRideUnionPay, ChannelCMB: KindRideCMB, ChannelPartner: KindRidePartner,
		} {
			no := authorise(kind, 1, ann)
			no.Consent = 0
			w.refuses(CodeConsent, c, no)
			w.does(c, authorise(kind, 1, ann))
			w.changesNothing(c, authorise(kind, 1, ann))
			w.refuses(CodeOtherOwner, c, authorise(kind, 1, bob))
			if b := w.bound(card(kind, 1), ann); b.Source != SourceRide || b.Slot {
				t.Errorf("%s: source %s, slot %v", c, b.Source, b.Slot)
			}
		}
		w.refuses(CodeChannel, ChannelAlipay, authorise(KindRideCMB, 2, ann)) // another issuer's
		w.now = at(t, "2022-05-22 23:59:59")
		w.refuses(CodeChannel, ChannelAlipay, authorise(KindRideAlipay, 2, ann))
	})
	t.Run("RC-04 withdrawal is an unbind", func(t *testing.T) {
		w := newWorld(t)
		code := card(KindRideYikatong, 1)
		w.does(ChannelApp, authorise(KindRideYikatong, 1, ann))
		w.does(ChannelApp, upgrade(physical(1), ann))
		w.refuses(CodeNotBound, ChannelApp, Withdraw{Account: code.Token, Person: bob})
		w.refuses(CodeNotBound, ChannelApp, Withdraw{Account: physical(1).Token, Person: ann})
		w.does(ChannelApp, Withdraw{Account: code.Token, Person: ann})
		w.unbound(code)
		w.bound(physical(1), ann)
	})
}
