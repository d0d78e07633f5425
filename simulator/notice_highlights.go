package simulator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"gateline/central"
	"gateline/central/rules"
	"gateline/gateway"
)

// Highlight is one line of the notice's story, as the demo shows it.
type Highlight struct {
	// Step is that of the story, such as Q3.
	Step string
	Did  string
	// Got is what came of it, ZH what the rider reads; empty where there is nothing
	// to read.
	Got, ZH string
	OK      bool
}

// noticeHighlights plays what the demo shows of the public notice of 2022-05-31, in a
// world of its own, on one morning of June, so that no clock is set forward: some
// questions to channels and some taps. What did not come as the rules have it is
// returned as surprises.
func noticeHighlights(ctx context.Context, seed uint64, log *slog.Logger, r *rules.Rules) (lines []Highlight, surprises []string, err error) {
	n := &teller{clock: &storyClock{}, report: newReport(ScenarioNotice, seed), seed: seed % 1_000_000}
	n.report.Notice = &Notice{}
	n.clock.set(shanghai(time.June, 1, 8, 0, 0))
	n.w, err = openWorld(ctx, worldConfig{gates: 2, baud: demoBaud, seed: seed, log: log, late: true, now: n.clock.now, rules: r})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, n.w.close()) }()
	n.policy()
	if n.err == nil {
		n.fail("open the station's box", n.w.startBox())
	}
	for _, scene := range []func(*teller){(*teller).sixthCard, (*teller).unbound, (*teller).listed, (*teller).toppedUp, (*teller).rideCode} {
		scene(n)
	}
	if n.err != nil {
		return nil, nil, n.w.cause(n.err)
	}
	for _, s := range n.report.Notice.Steps {
		last := s.Acts[len(s.Acts)-1]
		lines = append(lines, Highlight{Step: s.Step, Did: s.EN, Got: last.Got, ZH: last.ZH, OK: last.OK})
	}
	return lines, n.report.Unmet, nil
}

// Each of these is one line of the demo, told of its last act.

func (n *teller) sixthCard() {
	n.step("Q3", "帮助他人升级", "Ms Zhou upgrades cards for five neighbours; the sixth is one too many", "UPG-06")
	n.healthy("The health source reports everybody's test", "2022-05-31", everybody(riderWang, riderXu)...)
	for i := range 5 {
		n.help(fmt.Sprintf("Card %d for a neighbour", i+1), n.card(numberCommemorative, riderHelped1+i, 0), riderHelped1+i, "done")
	}
	n.help("The sixth", n.card(numberCommemorative, riderHelped6, 0), riderHelped6, "E103")
}

func (n *teller) unbound() {
	n.step("Q8", "如何解绑", "One of the five unbinds his, in the app, and taps with it", "UNB-02")
	card := n.card(numberCommemorative, riderHelped5, 0)
	n.enter("Before", card, "pass R00")
	n.unbind("He unbinds", rules.ChannelApp, card, riderHelped5, "done")
	n.help("Now there is room for the sixth", n.card(numberCommemorative, riderHelped6, 0), riderHelped6, "done")
	n.enter("After", card, "manual R20")
}

func (n *teller) listed() {
	n.step("Q10", "养老助残卡", "Mr Sun, 70, has done nothing: an authority's list has upgraded his card", "BO-01", "GATE-10")
	card := n.card(numberElderly, riderSun, 0)
	n.upgrade("He need not", rules.ChannelApp, card, riderSun, "E107")
	n.ask("The list", rules.ChannelBackOffice, central.VerbListConcession,
		central.ListRequest{List: 1, Rows: []central.ListRow{{Credential: card, Who: n.who(riderSun)}}}, "done, 1 bound")
	n.enter("He taps", card, "pass R00 lamp")
}

func (n *teller) toppedUp() {
	n.step("S4", "自六月一日起充值", "Mr Qian tops up a card that is not upgraded, at the station's machine", "TOP-01")
	card := n.card(numberMunicipal, riderQian, 0)
	n.topUp("The registry", rules.ChannelMachine, card, "T201")
	n.tap("The machine", card, gateway.PurposeTopUp, "manual R20")
}

func (n *teller) rideCode() {
	n.step("Q2", "乘车码", "Mr Liu authorises his ride code, in one step, and holds it up", "RC-01")
	code := n.card(numberRideCode, riderLiu, 0)
	n.ask("He authorises it", rules.ChannelApp, central.VerbRideAuthorise, n.upgradeRequest(code, riderLiu), "done")
	n.enter("He holds it up", code, "pass R00")
}
