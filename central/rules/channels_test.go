package rules

import (
	"slices"
	"testing"
	"time"
)

// byFunction has one command for each function.
func byFunction() map[Function]Command {
	return map[Function]Command{
		FunctionUpgrade: upgrade(physical(1), ann), FunctionHelp: help(physical(1), ann, bob), FunctionUnbind: unbind(physical(1), ann),
		FunctionRideCode: Withdraw{}, FunctionGuardian: WithdrawStudent{}, FunctionLookUp: LookUp{physical(1)}, FunctionTopUp: CheckTopUp{physical(1)},
		FunctionNewCard: issue(physical(1), ann), FunctionReturn: Return{}, FunctionBackOffice: Expire{}, FunctionResolve: Resolve{},
		FunctionReport: Report{}, FunctionPersons: Delete{}, FunctionStatistics: Statistics{},
	}
}

// may expects a channel to be entitled to these functions and no other.
func may(t *testing.T, c Channel, functions ...Function) {
	t.Helper()
	w := newWorld(t)
	for f, command := range byFunction() {
		_, _, refusal := Decide(w.state, w.data, Request{Channel: c, Command: command}, w.now)
		entitled := refusal == nil || refusal.Code != CodeChannel
		if entitled != slices.Contains(functions, f) {
			t.Errorf("%s is entitled to %s: %v", c, f, entitled)
		}
	}
}

func TestChannels(t *testing.T) {
	t.Run("CH-01 the app", func(t *testing.T) {
		may(t, ChannelApp, FunctionUpgrade, FunctionHelp, FunctionUnbind, FunctionRideCode, FunctionGuardian, FunctionLookUp, FunctionTopUp, FunctionNewCard)
		newWorld(t).does(ChannelApp, upgrade(card(KindOutOfTown, 1), ann))
	})
	t.Run("CH-02 the mini-program", func(t *testing.T) {
		may(t, ChannelMini, FunctionUpgrade, FunctionHelp, FunctionTopUp)
		newWorld(t).refuses(CodeAppOnly, ChannelMini, upgrade(card(KindOutOfTown, 1), ann))
	})
	t.Run("CH-03 the metro's mini-program", func(t *testing.T) {
		may(t, ChannelMetro, FunctionUpgrade, FunctionHelp)
	})
	t.Run("CH-04 machines", func(t *testing.T) {
		may(t, ChannelMachine, FunctionLookUp, FunctionTopUp)
	})
	t.Run("CH-05 windows", func(t *testing.T) {
		may(t, ChannelWindow, FunctionLookUp, FunctionTopUp, FunctionNewCard)
	})
	t.Run("CH-06 top-up points", func(t *testing.T) {
		may(t, ChannelPoint, FunctionLookUp, FunctionTopUp, FunctionNewCard, FunctionReturn)
	})
	t.Run("CH-07 business halls", func(t *testing.T) {
		may(t, ChannelHall, FunctionLookUp, FunctionReturn)
	})
	t.Run("CH-08 the hotline reads out nobody", func(t *testing.T) {
		may(t, ChannelHotline, FunctionUnbind)
		newWorld(t).refuses(CodeChannel, ChannelHotline, Own{ann})
	})
	t.Run("CH-09 the WeChat account", func(t *testing.T) {
		may(t, ChannelWeChat)
	})
	t.Run("CH-10 others", func(t *testing.T) {
		may(t, ChannelHealthKit, FunctionUpgrade)
		for _, c := range []Channel{ChannelYitongxing, ChannelBus, ChannelAlipay, ChannelUnionPay, ChannelCMB, ChannelPartner} {
			may(t, c, FunctionRideCode)
		}
		may(t, ChannelBackOffice, FunctionBackOffice, FunctionReturn)
		may(t, ChannelHealthSource, FunctionReport)
		may(t, ChannelOps, FunctionUpgrade, FunctionHelp, FunctionUnbind, FunctionRideCode, FunctionLookUp, FunctionReturn, FunctionBackOffice,
			FunctionResolve, FunctionReport, FunctionPersons, FunctionStatistics)
	})
}

func TestChannelRules(t *testing.T) {
	t.Run("CH-R1 one code and one text for every channel", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelApp, upgrade(physical(1), ann))
		var first *Refusal
		for _, c := range []Channel{ChannelApp, ChannelMini, ChannelMetro, ChannelHealthKit} {
			_, _, refusal := w.decide(Request{Channel: c, Command: upgrade(physical(1), bob)})
			if first == nil {
				first = refusal
			}
			if refusal == nil || *refusal != *first || refusal.Code != CodeOtherOwner {
				t.Errorf("%s: %v", c, refusal)
			}
		}
	})
	t.Run("CH-R2 entitlement is data", func(t *testing.T) {
		w := newWorld(t)
		w.refuses(CodeChannel, "kiosk", upgrade(physical(1), ann))
		from := w.now.Add(time.Hour)
		w.data.Channels = append(w.data.Channels, Term[Matrix]{From: from, Value: Matrix{"kiosk": {FunctionUpgrade}}})
		w.refuses(CodeChannel, "kiosk", upgrade(physical(1), ann))
		w.now = from
		w.does("kiosk", upgrade(physical(1), ann))
		w.refuses(CodeChannel, ChannelApp, upgrade(physical(2), bob))
	})
	t.Run("NUM-02 a look-up shows a kind and nobody", func(t *testing.T) {
		w := newWorld(t)
		before := w.does(ChannelMachine, LookUp{physical(1)})
		w.does(ChannelApp, upgrade(physical(1), ann))
		for _, c := range []Channel{ChannelMachine, ChannelWindow, ChannelPoint, ChannelHall} {
			after := w.does(c, LookUp{physical(1)})
			if after.Kind != KindInteroperable || after.Kind != before.Kind || after.Bindings != nil || after.Helped != nil || after.Outcome != before.Outcome {
				t.Errorf("%s: the answer tells whether the card is bound", c)
			}
		}
		w.refuses(CodeUnsupported, ChannelHall, LookUp{card(0, 1)})
	})
}

// TestEveryCommandHasAFunction keeps byFunction and commands whole.
func TestEveryCommandHasAFunction(t *testing.T) {
	of := byFunction()
	for _, f := range functions() {
		if c, ok := of[f]; !ok || c.function() != f {
			t.Errorf("no command of function %s", f)
		}
	}
	for _, c := range commands() {
		if _, loss := c.(ReportLoss); !loss && !slices.Contains(functions(), c.function()) {
			t.Errorf("%T has function %q", c, c.function())
		}
	}
}

func TestTime(t *testing.T) {
	t.Run("TIME-01 the service began on 2022-05-17", func(t *testing.T) {
		w := newWorld(t)
		w.now = at(t, "2022-05-16 23:59:59")
		w.refuses(CodeChannel, ChannelApp, upgrade(physical(1), ann))
		w.now = at(t, "2022-05-17 00:00:00")
		w.does(ChannelApp, upgrade(physical(1), ann))
	})
	t.Run("TIME-02 top-ups and new cards from 2022-06-01 00:00", func(t *testing.T) {
		data := DefaultRules()
		if !data.TopUpFrom.Equal(at(t, "2022-06-01 00:00:00")) || !data.NewCardFrom.Equal(data.TopUpFrom) {
			t.Errorf("top-ups from %v, new cards from %v", data.TopUpFrom, data.NewCardFrom)
		}
		w := newWorld(t)
		w.data.TopUpFrom, w.data.NewCardFrom = time.Time{}, time.Time{} // never
		w.changesNothing(ChannelMachine, CheckTopUp{physical(1)})
		w.changesNothing(ChannelPoint, Issue{Card: physical(1)})
	})
	t.Run("TIME-04 persons with a binding", func(t *testing.T) {
		w := newWorld(t)
		persons := func(want int) {
			t.Helper()
			if got := w.does(ChannelOps, Statistics{}).Stats.Persons; got != want {
				t.Errorf("%d persons, want %d", got, want)
			}
		}
		w.does(ChannelHealthSource, Report{Person: cat, Revision: 1}) // a status is no upgrade
		persons(0)
		w.does(ChannelApp, upgrade(physical(1), ann))
		w.does(ChannelApp, upgrade(phone(1), ann))
		w.does(ChannelApp, help(physical(2), bob, eve)) // a helper has none by helping
		persons(2)
		w.does(ChannelApp, unbind(physical(1), ann))
		persons(2)
		w.does(ChannelApp, unbind(phone(1), ann))
		persons(1)
	})
	t.Run("TIME-05 days are those of Shanghai, the first instant included", func(t *testing.T) {
		w := newWorld(t)
		w.now = at(t, "2022-06-01 00:00:00").UTC() // 2022-05-31 16:00 UTC
		w.refuses(CodeTopUp, ChannelMachine, CheckTopUp{physical(1)})
		w.now = w.now.Add(-1)
		w.changesNothing(ChannelMachine, CheckTopUp{physical(1)})
		for _, term := range w.data.Quotas {
			if term.From != at(t, term.From.Format("2006-01-02")+" 00:00:00") {
				t.Errorf("a term begins at %v", term.From)
			}
		}
	})
}
