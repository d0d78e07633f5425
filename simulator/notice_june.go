package simulator

import (
	"gateline/central"
	"gateline/central/rules"
	"gateline/gateway"
)

func (n *teller) suburbanRailway() {
	card := n.card(numberSuburban, riderJiang, 0)
	noConsent := n.upgradeRequest(card, riderJiang)
	noConsent.Consent = 0
	n.step("Q13", "已实名的市郊铁路一卡通", "A suburban railway card that has a name already", "KIND-06", "UPG-09")
	n.enter("The issuer knows Mr Jiang's name, and the gate does not know his card", card, "manual R20")
	n.ask("The name on record is no consent", rules.ChannelApp, central.VerbUpgrade, noConsent, "E111")
	n.upgrade("He upgrades it like any other card", rules.ChannelMini, card, riderJiang, "done")
	n.enter("He taps again", card, "pass R00")
}

func (n *teller) otherCity() {
	card := n.card(numberOutOfTown, riderTang, 0)
	n.step("Q14", "外地交通联合卡", "A card of another city: in the app only", "KIND-07", "UPG-08")
	n.upgrade("Ms Tang tries the mini-program", rules.ChannelMini, card, riderTang, "E110")
	n.upgrade("… and that of the metro", rules.ChannelMetro, card, riderTang, "E110")
	n.upgrade("… and the app", rules.ChannelApp, card, riderTang, "done")
	n.enter("She taps", card, "pass R00")
	n.upgrade("It is her physical card, as any", rules.ChannelApp, n.card(numberMunicipal, riderTang, 1), riderTang, "E101")
}

func (n *teller) impersonation() {
	n.step("Q15", "能否使用他人的卡或码", "Another's card: forbidden, and not for the box to decide", "GATE-10")
	n.enter("A friend taps with Ms Wang's card: the box sees no faces and answers for the card", n.card(numberMunicipal, riderWang, 0), "pass R00")
	n.enter("… Ms Wang herself with her code, at once afterwards: nothing is made of it", n.card(numberRideCode, riderWang, 0), "pass R00")
}

func (n *teller) lastMinuteOfMay() {
	lost, sold := n.card(numberMunicipal, riderQian, 0), n.card(numberMunicipal, riderXu, 0)
	n.at(shanghai(5, 31, 23, 59, 10))
	n.step("S4", "六月一日之前", "Reminders, in the last minute of May: top-ups and new cards as ever", "TOP-01", "TOP-04")
	n.topUp("A card that is not upgraded is topped up in the app", rules.ChannelApp, lost, "done")
	n.topUp("… at a machine", rules.ChannelMachine, lost, "done")
	n.topUp("… at a window", rules.ChannelWindow, lost, "done")
	n.tap("… which asks the station's box", lost, gateway.PurposeTopUp, "pass R02")
	n.ask("Mr Xu buys a card without a document", rules.ChannelWindow, central.VerbCardIssue, central.IssueRequest{Credential: sold}, "done")
	n.enter("It is linked to nobody", sold, "manual R20")
	n.step("S0", "48小时核酸", "48 hours, the day before", "GATE-03", "IMP-01")
	n.healthy("A rider was tested on 29 May", "2022-05-29", riderMidnight)
	n.upgrade("His card is upgraded", rules.ChannelApp, n.card(numberMunicipal, riderMidnight, 0), riderMidnight, "done")
	n.enter("Two days later he passes, until midnight", n.card(numberMunicipal, riderMidnight, 0), "pass R00")
}

func (n *teller) firstOfJune() {
	lost := n.card(numberMunicipal, riderQian, 0)
	n.at(shanghai(6, 1, 0, 0, 0))
	n.step("S0", "48小时核酸", "48 hours, from midnight on", "GATE-03", "IMP-01")
	n.enter("The rider tested on 29 May", n.card(numberMunicipal, riderMidnight, 0), "refuse R10")
	n.step("S4", "自六月一日起充值", "Reminders, from 1 June 00:00 on: a top-up needs an upgraded card", "TOP-01", "TOP-02", "TOP-03", "TOP-06")
	for _, c := range []rules.Channel{rules.ChannelApp, rules.ChannelMini, rules.ChannelMachine, rules.ChannelWindow, rules.ChannelPoint} {
		n.topUp("A card that is not upgraded", c, lost, "T201")
	}
	n.tap("… at a machine that asks the station's box", lost, gateway.PurposeTopUp, "manual R20")
	n.topUp("The metro's mini-program tops up nothing", rules.ChannelMetro, lost, "E116")
	n.topUp("Ms Wang's card is upgraded", rules.ChannelApp, n.card(numberMunicipal, riderWang, 0), "done")
	n.tap("… so the station's machine takes it too", n.card(numberMunicipal, riderWang, 0), gateway.PurposeTopUp, "pass R02")
	n.topUp("So are concession cards", rules.ChannelWindow, n.card(numberElderly, riderSun, 0), "done")
	n.upgrade("Mr Qian has found his card and upgrades it in the metro's mini-program", rules.ChannelMetro, lost, riderQian, "done")
	n.topUp("… and tops it up", rules.ChannelMachine, lost, "done")
	n.tap("… at the station", lost, gateway.PurposeTopUp, "pass R02")
}

func (n *teller) newCards() {
	first, second, handset := n.card(numberMunicipal, riderXu, 1), n.card(numberCommemorative, riderXu, 2), n.card(numberPhone, riderXu, 1)
	issue := func(did string, channel rules.Channel, credential string, want string) {
		n.ask(did, channel, central.VerbCardIssue, central.IssueRequest{Credential: credential, Who: n.who(riderXu), Identified: true}, want)
	}
	n.at(shanghai(6, 1, 8, 0, 0))
	n.step("S4", "自六月一日起新办卡", "Reminders: a new card needs an identity and is linked by itself", "TOP-04", "TOP-05", "OQ-06")
	n.ask("Mr Xu buys a card without a document", rules.ChannelWindow, central.VerbCardIssue, central.IssueRequest{Credential: first}, "T202")
	issue("He shows his identity card", rules.ChannelWindow, first, "done")
	n.own("It is his without an upgrade", rules.ChannelApp, riderXu, "done, municipal ISSUE")
	n.enter("He taps", first, "pass R00")
	issue("A phone's card, online", rules.ChannelApp, handset, "done")
	n.enter("He taps with the phone", handset, "pass R00")
	issue("He buys a second physical card: it is sold, and waits for its place", rules.ChannelPoint, second, "pending")
	n.own("He sees why", rules.ChannelApp, riderXu, "done, commemorative waiting, municipal ISSUE, municipal-nfc ISSUE")
	n.enter("It goes to the manual lane until then", second, "manual R20")
	n.unbind("He unbinds the first one", rules.ChannelApp, first, riderXu, "done")
	n.enter("The second one is linked by itself", second, "pass R00")
	n.enter("… and the first one is not any more", first, "manual R20")
}

func (n *teller) unaffected() {
	card := n.card(numberCommemorative, riderHelped1, 0)
	n.step("S4", "已升级的卡不受影响", "Reminders: an upgraded card is tapped, topped up and given back as before", "TOP-02", "TOP-03", "UNB-05")
	n.enter("A neighbour's card from Q3", card, "pass R00")
	n.topUp("It is topped up", rules.ChannelPoint, card, "done")
	n.giveBack("It is given back at the hall", rules.ChannelHall, card, "done")
	n.enter("Nobody can use it for him any more", card, "manual R20")
	n.giveBack("A card that was never upgraded is given back as well", rules.ChannelHall, n.card(numberMunicipal, riderXu, 0), "already")
}

func (n *teller) fortyEightHours() {
	card := func(person int) string { return n.card(numberMunicipal, person, 0) }
	n.step("S0", "48小时核酸", "48 hours: who passes on 1 June", "GATE-03", "GATE-04", "GATE-05", "IMP-12")
	n.healthy("Tested today", "2022-06-01", riderToday)
	n.healthy("Tested two days ago", "2022-05-30", riderTwoDays)
	n.healthy("Tested four days ago", "2022-05-28", riderFourDays)
	day := gateway.DayOf(shanghai(6, 1, 0, 0, 0)).String()
	n.health("Tested today, with a pop-up in the health code; and one who is positive", "done, 2 accepted",
		central.HealthReport{Who: n.who(riderPopup), Revision: 7, Class: gateway.ClassPopup.String(), Anchor: day},
		central.HealthReport{Who: n.who(riderRed), Class: gateway.ClassRed.String(), Anchor: day})
	for _, p := range []int{riderToday, riderTwoDays, riderFourDays, riderPopup, riderRed} {
		n.upgrade("One of them upgrades a card", rules.ChannelApp, card(p), p, "done")
	}
	n.upgrade("So does a rider without a test", rules.ChannelApp, card(riderUntested), riderUntested, "done")
	n.enter("Tested today", card(riderToday), "pass R00")
	n.enter("Tested two days ago", card(riderTwoDays), "pass R00")
	n.enter("Tested four days ago", card(riderFourDays), "refuse R10")
	n.enter("With a pop-up", card(riderPopup), "refuse R11")
	n.enter("Positive", card(riderRed), "refuse R13")
	n.enter("No test on record: nobody says that he is ill", card(riderUntested), "manual R21")
	n.health("The pop-up was a mistake and is corrected; an older report comes behind it", "done, 1 accepted, row 2 older",
		central.HealthReport{Who: n.who(riderPopup), Revision: 8, Class: gateway.ClassNormal.String(), Anchor: day},
		central.HealthReport{Who: n.who(riderPopup), Revision: 6, Class: gateway.ClassYellow.String(), Anchor: day})
	n.enter("The rider with the pop-up taps again", card(riderPopup), "pass R00")
	n.health("… and is warned once more", "done, 1 accepted", central.HealthReport{Who: n.who(riderPopup), Class: gateway.ClassPopup.String(), Anchor: day})
	n.enter("… and taps", card(riderPopup), "refuse R11")
}

func (n *teller) staleData() {
	card := func(person int) string { return n.card(numberMunicipal, person, 0) }
	if n.err == nil {
		n.fail("the last changes before the silence", n.w.caughtUp(n.number, catchUpLimit))
	}
	n.hush(shanghai(6, 1, 8, 20, 0))
	n.step("S0", "听不到中心时", "The box has heard nothing for longer than 15 minutes: it accuses nobody", "GATE-05", "IMP-04")
	n.enter("Tested today: the data are old, and good enough to pass", card(riderToday), "pass R01")
	n.enter("Tested four days ago: the test of yesterday may be on its way", card(riderFourDays), "manual R22")
	n.enter("With a pop-up: so may the correction", card(riderPopup), "manual R22")
	n.enter("Positive, which does not lapse", card(riderRed), "refuse R13")
	n.enter("Not upgraded, as ever", n.card(numberMunicipal, riderXu, 1), "manual R20")
	n.tap("Nobody is checked on the way out", card(riderFourDays), gateway.PurposeExit, "pass R02")
}

func (n *teller) centreBack() {
	n.at(shanghai(6, 1, 8, 30, 0))
	n.step("S0", "中心恢复", "The centre is back", "GATE-03", "TIME-04")
	n.enter("Tested today", n.card(numberMunicipal, riderToday, 0), "pass R00")
	n.enter("Tested four days ago", n.card(numberMunicipal, riderFourDays, 0), "refuse R10")
	n.ask("The centre counts who has upgraded, among them nobody whose card was unbound or given back", rules.ChannelOps, central.VerbStatistics, struct{}{}, "done, 23 persons, 31 bindings, 0 waiting")
}
