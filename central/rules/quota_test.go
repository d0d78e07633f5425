package rules

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestQuota(t *testing.T) {
	t.Run("QTA-01 one physical and one phone card, in any order", func(t *testing.T) {
		for _, order := range [][2]Card{{physical(1), phone(1)}, {phone(1), physical(1)}} {
			w := newWorld(t)
			w.does(ChannelApp, upgrade(order[0], ann))
			w.does(ChannelApp, upgrade(order[1], ann))
			w.refuses(CodePhysicalFull, ChannelApp, upgrade(physical(2), ann))
			w.refuses(CodeNFCFull, ChannelApp, upgrade(phone(2), ann))
		}
	})
	t.Run("QTA-02 concession cards take no slot", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelBackOffice, Concessions{List: 1, Rows: []Row{{Card: elderly(1), Person: ann}, {Card: card(KindDisabled, 1), Person: ann}}})
		w.does(ChannelApp, upgrade(physical(1), ann))
		w.does(ChannelApp, upgrade(phone(1), ann))
		w.refuses(CodePhysicalFull, ChannelApp, upgrade(physical(2), ann))
	})
	t.Run("QTA-03 sequential use", func(t *testing.T) {
		w := newWorld(t)
		for i := range 5 {
			w.does(ChannelApp, upgrade(physical(i), ann))
			w.refuses(CodePhysicalFull, ChannelApp, upgrade(physical(i+1), ann))
			w.does(ChannelApp, unbind(physical(i), ann))
			w.unbound(physical(i))
		}
	})
}

func TestQuotaData(t *testing.T) {
	t.Run("QTA-05 quotas are data with an instant", func(t *testing.T) {
		w := newWorld(t)
		w.now = at(t, "2022-05-30 23:59:59") // one or the other
		w.does(ChannelApp, upgrade(physical(1), ann))
		w.refuses(CodePhysicalFull, ChannelApp, upgrade(phone(1), ann))
		w.does(ChannelApp, upgrade(phone(2), bob))
		w.refuses(CodeNFCFull, ChannelApp, upgrade(physical(2), bob))
		w.now = at(t, "2022-05-31 00:00:00") // and
		w.does(ChannelApp, upgrade(phone(1), ann))
		lower := Quotas{Physical: 0, NFC: 1, Total: 1, Helper: 0, HelperMode: HelperActive}
		w.data.Quotas = append(w.data.Quotas, Term[Quotas]{From: w.now.Add(time.Hour), Value: lower})
		w.now = w.now.Add(time.Hour)
		w.bound(physical(1), ann) // lowering unbinds nothing
		w.changesNothing(ChannelApp, upgrade(physical(1), ann))
		w.refuses(CodeUnsupported, ChannelApp, upgrade(physical(3), cat))
		w.data.Quotas[2].Value.Physical = 1
		w.refuses(CodeHelperFull, ChannelApp, help(physical(3), cat, bob))
	})
	t.Run("QTA-06 ride codes and student batches take no slot", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelApp, Authorise{Account: card(KindRideYikatong, 1), Person: ann, Identified: true, Consent: 1})
		w.does(ChannelBackOffice, Students{List: 2, Rows: []Row{{Card: card(KindStudent, 1), Person: ann, Guardian: bob}}})
		w.does(ChannelApp, upgrade(physical(1), ann))
		w.does(ChannelApp, upgrade(phone(1), ann))
	})
}

func TestAtomic(t *testing.T) {
	t.Run("QTA-07 a thousand channels at once, one binding", func(t *testing.T) {
		const seed = 20220531
		random := rand.New(rand.NewPCG(seed, 0))
		channels := []Channel{ChannelApp, ChannelMini, ChannelMetro}
		w, won := newWorld(t), 0
		for _, i := range random.Perm(1000) {
			_, _, refusal := w.decide(Request{Channel: channels[i%3], Command: upgrade(physical(i), ann)})
			switch {
			case refusal == nil:
				won++
			case refusal.Code != CodePhysicalFull:
				t.Fatal(refusal)
			}
		}
		if won != 1 || w.state.Stats().Bindings != 1 {
			t.Errorf("seed %d: %d won, %d bindings", seed, won, w.state.Stats().Bindings)
		}
	})
	t.Run("QTA-07 a swap is all or nothing", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelApp, upgrade(physical(1), ann))
		w.does(ChannelApp, upgrade(physical(2), bob))
		swap := Swap{Old: physical(1).Token, New: physical(2), Person: ann, Identified: true, Consent: 1}
		w.refuses(CodeOtherOwner, ChannelApp, swap)
		w.bound(physical(1), ann)
		swap.New, swap.Consent = physical(3), 0
		w.refuses(CodeConsent, ChannelApp, swap)
		w.bound(physical(1), ann)
		swap.Consent = 1
		w.refuses(CodeChannel, ChannelMini, swap) // it may not unbind
		w.does(ChannelApp, swap)
		w.unbound(physical(1))
		w.bound(physical(3), ann)
		w.changesNothing(ChannelApp, swap)
		w.refuses(CodeNotBound, ChannelApp, Swap{Old: physical(2).Token, New: physical(4), Person: ann, Identified: true, Consent: 1})
	})
}
