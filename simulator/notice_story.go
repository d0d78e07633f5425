package simulator

import (
	"strings"
	"time"

	"gateline/central"
	"gateline/central/rules"
	"gateline/gateway"
)

// storyBegins is when concession cards were still upgraded by their holders.
func storyBegins() time.Time { return shanghai(5, 25, 10, 0, 0) }

// noticeScenes are the parts of the story in their order.
func noticeScenes() []func(*teller) {
	return []func(*teller){
		(*teller).beforeTheNotice,
		(*teller).oneTap, (*teller).channels, (*teller).helping, (*teller).notUpgraded, (*teller).numbers,
		(*teller).manyCards, (*teller).twoMedia, (*teller).unbinding, (*teller).lostCard,
		(*teller).concession, (*teller).besideConcession, (*teller).students, (*teller).suburbanRailway, (*teller).otherCity, (*teller).impersonation,
		(*teller).lastMinuteOfMay, (*teller).firstOfJune, (*teller).newCards, (*teller).unaffected,
		(*teller).fortyEightHours, (*teller).staleData, (*teller).centreBack,
	}
}

func (n *teller) beforeTheNotice() {
	n.step("Q10", "通知之前", "Before the notice: concession cards, upgraded by their holders", "BO-02", "QTA-05")
	n.upgrade("Ms Ma upgrades her concession card herself, as was asked for then", rules.ChannelApp, n.card(numberElderly, riderMa, 0), riderMa, "done")
	n.upgrade("She may have one physical or one phone card then, so her phone's card is one too many", rules.ChannelApp, n.card(numberPhone, riderMa, 0), riderMa, "E101")
	n.upgrade("Mr Hu upgrades a concession card that is not his", rules.ChannelApp, n.card(numberCivilAffairs, riderHe, 0), riderHu, "done")
	n.at(shanghai(5, 31, 10, 0, 0))
	if n.err == nil {
		n.fail("open the station's box", n.w.startBox())
	}
}

func (n *teller) oneTap() {
	n.step("Q1", "为什么要升级", "Why: one tap pays and checks", "UPG-03", "RC-02", "GATE-02", "IMP-27")
	n.healthy("The health source reports yesterday's test of everybody in the story", "2022-05-30", everybody(riderWang, riderXu)...)
	n.upgrade("Ms Wang upgrades her card", rules.ChannelApp, n.card(numberMunicipal, riderWang, 0), riderWang, "done")
	n.upgrade("… the card in her phone", rules.ChannelApp, n.card(numberPhone, riderWang, 0), riderWang, "done")
	n.ask("… and her ride code", rules.ChannelApp, central.VerbRideAuthorise, n.upgradeRequest(n.card(numberRideCode, riderWang, 0), riderWang), "done")
	n.enter("She taps with the card", n.card(numberMunicipal, riderWang, 0), "pass R00")
	n.enter("… with the phone", n.card(numberPhone, riderWang, 0), "pass R00")
	n.enter("… and holds up the code", n.card(numberRideCode, riderWang, 0), "pass R00")
	n.health("A pop-up comes into her health code", "done, 1 accepted", central.HealthReport{Who: n.who(riderWang), Class: gateway.ClassPopup.String(), Anchor: "2022-05-30"})
	n.enter("All three are checked: the card", n.card(numberMunicipal, riderWang, 0), "refuse R11")
	n.enter("… the phone", n.card(numberPhone, riderWang, 0), "refuse R11")
	n.enter("… and the code", n.card(numberRideCode, riderWang, 0), "refuse R11")
	n.healthy("It was a mistake and is taken away", "2022-05-30", riderWang)
	n.enter("She taps with the card", n.card(numberMunicipal, riderWang, 0), "pass R00")
}

func (n *teller) channels() {
	card := n.card(numberInteroperable, riderLiu, 0)
	n.step("Q2", "通过什么途径升级", "Three channels for a card, one step for a ride code", "UPG-01", "UPG-02", "UPG-10", "RC-01")
	noConsent, unknown := n.upgradeRequest(card, riderLiu), n.upgradeRequest(card, riderLiu)
	noConsent.Consent, unknown.Identified = 0, false
	n.ask("Mr Liu does not tick the consent", rules.ChannelApp, central.VerbUpgrade, noConsent, "E111")
	n.ask("His name and number do not match", rules.ChannelApp, central.VerbUpgrade, unknown, "E108")
	n.upgrade("He upgrades in the app", rules.ChannelApp, card, riderLiu, "done")
	n.own("He sees it in the mini-program", rules.ChannelMini, riderLiu, "done, interoperable SELF")
	n.own("… and in that of the metro", rules.ChannelMetro, riderLiu, "done, interoperable SELF")
	n.upgrade("There he upgrades the same card again, which changes nothing", rules.ChannelMetro, card, riderLiu, "already")
	n.upgrade("His phone's card he upgrades in the mini-program", rules.ChannelMini, n.card(numberJDPhone, riderLiu, 0), riderLiu, "done")
	n.upgrade("Somebody else cannot have his card", rules.ChannelMetro, card, riderQian, "E104")
	code := n.upgradeRequest(n.card(numberRideCode, riderLiu, 0), riderLiu)
	n.ask("A ride code is authorised in the app only", rules.ChannelMini, central.VerbRideAuthorise, code, "E116")
	n.ask("… there in one step, without a card's number", rules.ChannelApp, central.VerbRideAuthorise, code, "done")
	n.enter("He holds up the code", n.card(numberRideCode, riderLiu, 0), "pass R00")
}

func (n *teller) helping() {
	card := func(person int) string { return n.card(numberCommemorative, person, 0) }
	n.step("Q3", "帮助他人升级", "Helping others, up to five cards", "UPG-05", "UPG-06", "UPG-07", "UNB-03")
	n.upgrade("Ms Zhou upgrades her own card, which is no help", rules.ChannelApp, card(riderZhou), riderZhou, "done")
	n.help("She upgrades a card for a neighbour", card(riderHelped1), riderHelped1, "done")
	n.help("… for a second", card(riderHelped2), riderHelped2, "done")
	n.help("… a third", card(riderHelped3), riderHelped3, "done")
	n.help("… a fourth", card(riderHelped4), riderHelped4, "done")
	n.help("A phone's card cannot be upgraded for others", n.card(numberPhone, riderHelped5, 0), riderHelped5, "E109")
	n.help("The fourth has a card now; a second one is refused, and she does not learn which he has", n.card(numberMunicipal, riderHelped4, 1), riderHelped4, "E101")
	n.help("A fifth", card(riderHelped5), riderHelped5, "done")
	n.help("The sixth is one too many", card(riderHelped6), riderHelped6, "E103")
	n.own("She sees her own card and how many she has upgraded for others", rules.ChannelApp, riderZhou, "done, commemorative SELF, 5 helped")
	n.unbind("She takes the fifth back within a day", rules.ChannelApp, card(riderHelped5), riderZhou, "done")
	n.help("Now there is room for the sixth", card(riderHelped6), riderHelped6, "done")
	n.enter("The sixth neighbour taps", card(riderHelped6), "pass R00")
	n.enter("… and the fifth, whose card is not upgraded any more", card(riderHelped5), "manual R20")
}

func (n *teller) notUpgraded() {
	card := n.card(numberMunicipal, riderQian, 0)
	n.step("Q4", "何时启用自动核验", "Who has not upgraded goes to the manual lane and is never refused", "GATE-01", "GATE-06", "GATE-08", "KIND-08")
	n.enter("Mr Qian taps with a card that is not upgraded", card, "manual R20")
	n.health("His health code turns yellow", "done, 1 accepted", central.HealthReport{Who: n.who(riderQian), Class: gateway.ClassYellow.String(), Anchor: "2022-05-30"})
	n.enter("The gate does not know whose card it is, and accuses nobody", card, "manual R20")
	n.enter("A bank card, which the reader makes nothing of", "", "manual R25")
	n.upgrade("A wristband of digital cash cannot be upgraded", rules.ChannelApp, n.card(numberDigitalCash, riderQian, 1), riderQian, "E106")
	n.tap("Nobody is checked on the way out", card, gateway.PurposeExit, "pass R02")
	n.healthy("The code is green again", "2022-05-30", riderQian)
	n.upgrade("He upgrades on the spot", rules.ChannelApp, card, riderQian, "done")
	n.enter("… and taps again", card, "pass R00")
}

func (n *teller) numbers() {
	card := n.card(numberMunicipal, riderFeng, 0)
	printed := card[len("tunion:"):]
	blanks := printed[:4] + " " + printed[4:8] + " " + printed[8:12] + " " + printed[12:16] + " " + printed[16:]
	n.step("Q5", "卡号如何查询", "The number: 19 digits on the card, or asked for without a login", "NUM-01", "NUM-02", "NUM-03")
	n.upgrade("Mr Feng types a digit too few", rules.ChannelMini, printed[:18], riderFeng, "E105")
	n.upgrade("… an O for a zero", rules.ChannelMini, printed[:18]+"O", riderFeng, "E105")
	n.upgrade("… the digits of an input method that makes them wide", rules.ChannelMini, strings.Map(func(r rune) rune { return r - '0' + '\uff10' }, printed), riderFeng, "E105")
	n.lookUp("The print is worn off. The station's machine reads the card", rules.ChannelMachine, card, "done, municipal")
	n.lookUp("… and so does the ticket window", rules.ChannelWindow, card, "done, municipal")
	n.lookUp("… a top-up point", rules.ChannelPoint, card, "done, municipal")
	n.lookUp("… and the business hall", rules.ChannelHall, card, "done, municipal")
	n.upgrade("The machine offers the number only, no upgrade", rules.ChannelMachine, card, riderFeng, "E116")
	n.upgrade("He types the 19 digits, with blanks", rules.ChannelMini, blanks, riderFeng, "done")
	n.enter("The gate reads the same card", card, "pass R00")
	n.lookUp("Whose card it is the window does not say", rules.ChannelWindow, card, "done, municipal")
}

func (n *teller) manyCards() {
	first, second, third := n.card(numberMunicipal, riderChen, 0), n.card(numberCommemorative, riderChen, 1), n.card(numberInteroperable, riderChen, 2)
	n.step("Q6", "有多张卡怎么办", "One physical card and one phone card a person, others one after another", "QTA-01", "QTA-03", "QTA-07", "KIND-03", "UNB-05", "TOP-07")
	n.upgrade("Mr Chen upgrades a card", rules.ChannelMini, first, riderChen, "done")
	n.upgrade("… and the card in his phone", rules.ChannelMini, n.card(numberPhone, riderChen, 0), riderChen, "done")
	n.upgrade("A second physical card", rules.ChannelMini, second, riderChen, "E101")
	n.upgrade("… and a watch, which counts as a phone", rules.ChannelMini, n.card(numberWearable, riderChen, 1), riderChen, "E102")
	n.unbind("He does not use the first card any more", rules.ChannelApp, first, riderChen, "done")
	n.upgrade("Now the second one", rules.ChannelApp, second, riderChen, "done")
	n.enter("It passes", second, "pass R00")
	n.enter("… and the first one is a card like any that is not upgraded", first, "manual R20")
	n.ask("Back to the first one, both at once", rules.ChannelApp, central.VerbSwap,
		central.SwapRequest{Old: second, New: first, Who: n.who(riderChen), Identified: true, Consent: 1}, "done")
	n.giveBack("He gives it back at a top-up point", rules.ChannelPoint, first, "done")
	n.upgrade("… which makes room for a third one", rules.ChannelApp, third, riderChen, "done")
	n.enter("The card that was given back", first, "manual R20")
	n.enter("The third one", third, "pass R00")
	n.remark("What is left on one card is moved to another at an outlet; the registry knows no money")
}

func (n *teller) twoMedia() {
	n.step("Q7", "为什么限制数量", "Why so few: to know who rides; two media, because habits differ", "QTA-04")
	n.own("Mr Chen has one of each", rules.ChannelApp, riderChen, "done, interoperable SELF, municipal-nfc SELF")
	n.enter("He may tap with the card", n.card(numberInteroperable, riderChen, 2), "pass R00")
	n.enter("… or with the phone", n.card(numberPhone, riderChen, 0), "pass R00")
}

func (n *teller) unbinding() {
	card := n.card(numberJDPhone, riderLiu, 0)
	n.step("Q8", "如何解绑", "Unbinding, in the app", "UNB-01", "UNB-02")
	n.unbind("The mini-program does not offer it", rules.ChannelMini, card, riderLiu, "E116")
	n.unbind("… nor does that of the metro", rules.ChannelMetro, card, riderLiu, "E116")
	n.unbind("Nobody unbinds what is another's", rules.ChannelApp, card, riderChen, "E112")
	n.unbind("Mr Liu unbinds his phone's card in the app", rules.ChannelApp, card, riderLiu, "done")
	n.enter("It is not upgraded any more", card, "manual R20")
	n.enter("His card still is", n.card(numberInteroperable, riderLiu, 0), "pass R00")
}

func (n *teller) lostCard() {
	card := n.card(numberMunicipal, riderQian, 0)
	n.step("Q9", "能否挂失", "No loss reports: a card is as cash, and unbinding leaves its purse alone", "TOP-08", "UPG-04", "UNB-02")
	n.ask("Mr Qian has lost his card and reports it", rules.ChannelApp, central.VerbLossReport, struct{}{}, "L301")
	n.ask("He calls the hotline", rules.ChannelHotline, central.VerbLossReport, struct{}{}, "L301")
	n.unbind("He may unbind it", rules.ChannelApp, card, riderQian, "done")
	n.topUp("Its purse works as ever: who finds it can top it up, before June", rules.ChannelPoint, card, "done")
	n.tap("… at the station too", card, gateway.PurposeTopUp, "pass R02")
	n.tap("… and leave with it", card, gateway.PurposeExit, "pass R02")
	n.enter("Nobody is checked by what Mr Qian's test says", card, "manual R20")
}

func (n *teller) concession() {
	hers, his, theirs := n.card(numberElderly, riderMa, 0), n.card(numberElderly, riderSun, 0), n.card(numberCivilAffairs, riderHe, 0)
	list := central.ListRequest{List: 1, Rows: []central.ListRow{{Credential: his, Who: n.who(riderSun)}, {Credential: hers, Who: n.who(riderMa)}, {Credential: theirs, Who: n.who(riderHe)}}}
	n.step("Q10", "养老助残卡等如何升级", "Concession cards: the back office upgrades them", "KIND-04", "BO-01", "BO-02", "UNB-04")
	n.upgrade("Mr Sun, 70, tries to upgrade his", rules.ChannelApp, his, riderSun, "E107")
	n.ask("The authority's list names him, Ms Ma, and Mr He, whose card Mr Hu has upgraded", rules.ChannelBackOffice, central.VerbListConcession, list,
		"done, 2 bound, 1 in conflict, row 3 conflict")
	n.ask("The list comes again, which changes nothing", rules.ChannelBackOffice, central.VerbListConcession, list, "already, 1 in conflict, row 3 conflict")
	n.enter("Mr Sun has done nothing and taps", his, "pass R00 lamp")
	n.enter("Ms Ma's own upgrade is as good as ever", hers, "pass R00 lamp")
	n.upgrade("… and takes no place any more: she upgrades another card", rules.ChannelApp, n.card(numberMunicipal, riderMa, 1), riderMa, "done")
	n.unbind("What the back office has bound nobody unbinds in a channel", rules.ChannelApp, his, riderSun, "E112")
	n.enter("The disputed card works as it did until somebody decides", theirs, "pass R00")
	n.ask("Staff decide for Mr He", rules.ChannelOps, central.VerbConflictResolve, central.ResolveRequest{Credential: theirs, Grant: true}, "done")
	n.enter("His card, as the list has it", theirs, "pass R00 lamp")
}

func (n *teller) besideConcession() {
	card, handset := n.card(numberInteroperable, riderSun, 1), n.card(numberPhone, riderSun, 1)
	n.step("Q11", "还能否升级其他卡", "Beside a concession card: one physical and one phone card", "QTA-02", "BO-04", "GATE-10")
	n.upgrade("Mr Sun upgrades an ordinary card", rules.ChannelApp, card, riderSun, "done")
	n.upgrade("… and the card in his phone", rules.ChannelMetro, handset, riderSun, "done")
	n.upgrade("A second ordinary one is one too many", rules.ChannelApp, n.card(numberMunicipal, riderSun, 2), riderSun, "E101")
	n.enter("The concession card lights the lamp", n.card(numberElderly, riderSun, 0), "pass R00 lamp")
	n.enter("The ordinary card has no concession and lights none", card, "pass R00")
	n.enter("… nor does the phone", handset, "pass R00")
}

func (n *teller) students() {
	first, second, guardian := n.card(numberStudentCard, riderMing, 0), n.card(numberStudentCard, riderHong, 0), n.who(riderParent)
	n.step("Q12", "学生卡", "Pupils' cards: in batches, each with a parent's authorisation", "KIND-05", "BO-03")
	n.upgrade("A parent tries to upgrade Ming's card", rules.ChannelApp, first, riderMing, "E113")
	n.ask("The school's batch: Ming, whose parent has agreed, and Hong, whose parent has not", rules.ChannelBackOffice, central.VerbListStudents,
		central.ListRequest{List: 2, Rows: []central.ListRow{{Credential: first, Who: n.who(riderMing), Guardian: &guardian}, {Credential: second, Who: n.who(riderHong)}}},
		"done, 1 bound, 1 rejected, row 2 rejected E111")
	n.enter("Ming taps", first, "pass R00 lamp")
	n.enter("Hong taps", second, "manual R20")
	n.ask("Another parent cannot withdraw it", rules.ChannelApp, central.VerbGuardianWithdraw, central.GuardianRequest{Credential: first, Guardian: n.who(riderWang)}, "E112")
	n.ask("Ming's parent withdraws", rules.ChannelApp, central.VerbGuardianWithdraw, central.GuardianRequest{Credential: first, Guardian: guardian}, "done")
	n.enter("Ming taps again", first, "manual R20")
}
