package rules

import (
	"reflect"
	"strings"
	"testing"
)

func issue(c Card, p Person) Issue { return Issue{Card: c, Person: p, Identified: true} }

func TestTopUp(t *testing.T) {
	t.Run("TOP-01 from 2022-06-01 an upgraded card is needed", func(t *testing.T) {
		w := newWorld(t)
		for _, c := range []Channel{ChannelApp, ChannelMini, ChannelMachine, ChannelWindow, ChannelPoint} {
			for _, some := range []Card{physical(1), phone(1)} {
				w.now = at(t, "2022-05-31 23:59:59")
				w.changesNothing(c, CheckTopUp{some})
				w.now = at(t, "2022-06-01 00:00:00")
				w.refuses(CodeTopUp, c, CheckTopUp{some})
			}
		}
		w.does(ChannelMetro, upgrade(physical(1), ann)) // an upgrade made there counts
		w.changesNothing(ChannelMachine, CheckTopUp{physical(1)})
	})
	t.Run("TOP-02 an upgraded card is topped up and returned as ever", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelApp, upgrade(physical(1), ann))
		w.changesNothing(ChannelPoint, CheckTopUp{physical(1)})
		w.does(ChannelPoint, Return{physical(1).Token})
	})
	t.Run("TOP-03 a card without upgrade may be returned", func(t *testing.T) {
		newWorld(t).changesNothing(ChannelHall, Return{physical(1).Token})
	})
}

func TestNewCards(t *testing.T) {
	t.Run("TOP-04 a new card's first top-up needs an identity", func(t *testing.T) {
		w := newWorld(t)
		nobody := issue(physical(1), ann)
		nobody.Identified = false
		for _, c := range []Channel{ChannelPoint, ChannelWindow, ChannelApp} {
			w.now = at(t, "2022-05-31 23:59:59")
			w.changesNothing(c, nobody)
			w.now = at(t, "2022-06-01 00:00:00")
			w.refuses(CodeFirstTopUp, c, nobody)
			w.refuses(CodeFirstTopUp, c, issue(physical(1), Person{}))
		}
	})
	t.Run("TOP-05 a new card is linked by itself", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelPoint, issue(physical(1), ann))
		if b := w.bound(physical(1), ann); b.Source != SourceIssue || !b.Slot {
			t.Errorf("source %s, slot %v", b.Source, b.Slot)
		}
		w.changesNothing(ChannelPoint, issue(physical(1), ann))
		w.refuses(CodeOtherOwner, ChannelPoint, issue(physical(1), bob))
		w.changesNothing(ChannelPoint, issue(elderly(1), ann)) // the list links it
		w.refuses(CodeUnsupported, ChannelPoint, issue(card(KindECNYWearable, 1), ann))
		unread := issue(physical(2), bob)
		unread.Consent = 9
		w.refuses(CodeConsent, ChannelPoint, unread)
	})
	t.Run("TOP-05 a new card waits where one of its medium is bound", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelApp, upgrade(physical(1), ann))
		for _, n := range []int{2, 3} {
			if a := w.does(ChannelPoint, issue(physical(n), ann)); a.Result != ResultPending {
				t.Errorf("%+v", a)
			}
		}
		w.bound(physical(1), ann) // the card in the pocket still works
		w.unbound(physical(2))
		w.changesNothing(ChannelPoint, issue(physical(2), ann))
		w.refuses(CodeOtherOwner, ChannelApp, upgrade(physical(2), bob))
		w.refuses(CodePhysicalFull, ChannelApp, upgrade(physical(2), ann))
		if own := w.does(ChannelApp, Own{ann}).Bindings; len(own) != 3 || !own[1].Waiting {
			t.Error("the rider is not shown what waits")
		}
		w.does(ChannelApp, upgrade(phone(1), ann)) // another medium frees nothing
		w.does(ChannelApp, unbind(phone(1), ann))
		w.unbound(physical(2))
		w.now = at(t, "2022-06-12 08:00:00")
		w.does(ChannelApp, unbind(physical(1), ann))
		if b := w.bound(physical(2), ann); b.Source != SourceIssue || b.Since != w.now.Unix() {
			t.Errorf("source %s, since %d", b.Source, b.Since)
		}
		w.unbound(physical(3))
		w.does(ChannelApp, unbind(physical(3), ann)) // not waited for any more
		if w.state.Stats().Cases != 0 {
			t.Error("a case is still open")
		}
	})
	t.Run("TOP-05 a swap into another medium lets in what waits", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelApp, upgrade(physical(1), ann))
		w.does(ChannelPoint, issue(physical(2), ann))
		w.does(ChannelApp, Swap{Old: physical(1).Token, New: phone(1), Person: ann, Identified: true, Consent: 1})
		w.bound(phone(1), ann)
		w.bound(physical(2), ann)
	})
}

func TestTopUpExempt(t *testing.T) {
	t.Run("TOP-06 exempt kinds", func(t *testing.T) {
		w := newWorld(t)
		for _, kind := range []KindCode{KindElderly, KindCivilAffairs, KindDisabled, KindStudent} {
			w.changesNothing(ChannelMachine, CheckTopUp{card(kind, 1)})
		}
	})
	t.Run("TOP-08 no loss report and nothing that blocks a card", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelApp, upgrade(physical(1), ann))
		for _, c := range []Channel{ChannelApp, ChannelMini, ChannelMetro, ChannelMachine, ChannelHotline, ChannelWeChat, ChannelHall} {
			w.refuses(CodeNoLossReports, c, ReportLoss{})
		}
		w.bound(physical(1), ann)
		for _, c := range commands() {
			name := strings.ToLower(reflect.TypeOf(c).Name())
			if strings.Contains(name, "block") || strings.Contains(name, "freeze") || strings.Contains(name, "hotlist") {
				t.Errorf("there is a command %s", name)
			}
		}
		w.does(ChannelApp, unbind(physical(1), ann)) // a lost card is unbound, its purse goes on
	})
}
