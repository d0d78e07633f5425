package simulator

import (
	"fmt"
	"slices"

	"gateline/central"
	"gateline/central/rules"
	"gateline/gateway"
)

// noticeTexts are the public wordings (GATE-04) and the proposed ones, by verdict
// or by code, written down here a second time so that they are checked.
func noticeTexts() map[string]string {
	return map[string]string{
		"pass": "", "refuse": "健康码异常", "manual": "未查询到健康码信息",
		"pass top-up": "", "manual top-up": "该卡尚未升级,请先完成一卡通升级再充值",
		"E101": "您名下已绑定一张实体卡,请先解绑后再绑定",
		"E102": "您名下已绑定一张手机NFC卡,请先解绑后再绑定",
		"E103": "您代办的实体卡已达5张上限",
		"E104": "该卡已由其他用户绑定",
		"E105": "卡号有误,请核对卡面19位数字",
		"E106": "该卡种暂不支持升级",
		"E107": "该卡种由后台统一升级,无需自行办理",
		"E108": "身份信息核验未通过",
		"E109": "代办仅限实体卡",
		"E110": `请通过"北京一卡通"APP办理该卡`,
		"E111": "请先阅读并同意授权",
		"E112": "未找到可解绑的绑定关系",
		"E113": "学生卡由学校组织家长授权后统一升级",
		"T201": "该卡尚未升级,请先完成一卡通升级再充值",
		"T202": "首次充值须提供本人有效身份证件",
		"L301": "一卡通不支持挂失,请妥善保管",
	}
}

// The persons of the story. The health source reports a test of 30 May for all up
// to riderXu; those behind have statuses of their own, or none.
const (
	riderWang    = iota // upgrades card, phone and ride code
	riderLiu            // upgrades in one channel and looks in the others
	riderZhou           // helps
	riderHelped1        // … and five behind: whom Zhou helps
	riderHelped2
	riderHelped3
	riderHelped4
	riderHelped5
	riderHelped6
	riderQian   // has upgraded nothing
	riderFeng   // cannot read the number on the card any more
	riderChen   // has many cards
	riderMa     // has a concession card, upgraded by herself before the notice
	riderHu     // has upgraded somebody else's concession card
	riderHe     // … whose card it is
	riderSun    // has a concession card and has done nothing
	riderMing   // a pupil whose parent has agreed
	riderHong   // a pupil whose parent has not
	riderJiang  // has a suburban railway card with a name
	riderTang   // has a card of another city
	riderXu     // buys new cards
	riderParent // Ming's
	riderUntested
	riderToday    // tested on 1 June
	riderTwoDays  // … on 30 May
	riderMidnight // … on 29 May
	riderFourDays // … on 28 May
	riderPopup    // tested in time, with a pop-up
	riderRed      // … and positive
)

// who names a person by an identity document. No region has the number 000000.
func (n *teller) who(person int) central.Who {
	return central.ByDocument(central.DocumentResident, fmt.Sprintf("000000%06d%06d", n.seed, person))
}

// The first digits of numbers, by kind (rules.DefaultRules).
const (
	numberMunicipal     = "tunion:31047710"
	numberInteroperable = "tunion:31047790"
	numberCommemorative = "tunion:31047720"
	numberSuburban      = "tunion:31047730"
	numberOutOfTown     = "tunion:31058100"
	numberPhone         = "tunion:31047740"
	numberJDPhone       = "tunion:31047742"
	numberWearable      = "tunion:31047744"
	numberDigitalCash   = "tunion:31047749"
	numberElderly       = "tunion:31047750"
	numberCivilAffairs  = "tunion:31047751"
	numberStudentCard   = "tunion:31047760"
	numberRideCode      = "ride:1001"
)

// card returns the credential of a kind that a person has; which tells several of
// one kind apart.
func (n *teller) card(kind string, person, which int) string {
	return fmt.Sprintf("%s%06d%03d%02d", kind, n.seed, person, which)
}

// upgradeRequest is what the holder of a card gives: identity and consent.
func (n *teller) upgradeRequest(credential string, person int) central.UpgradeRequest {
	return central.UpgradeRequest{Credential: credential, Who: n.who(person), Identified: true, Consent: 1}
}

// upgrade lets a person upgrade a card or a phone's card in a channel.
func (n *teller) upgrade(did string, channel rules.Channel, credential string, person int, want string) {
	n.ask(did, channel, central.VerbUpgrade, n.upgradeRequest(credential, person), want)
}

// help lets Zhou upgrade a card for somebody.
func (n *teller) help(did, credential string, person int, want string) {
	n.ask(did, rules.ChannelApp, central.VerbHelp, central.HelpRequest{UpgradeRequest: n.upgradeRequest(credential, person), Helper: n.who(riderZhou)}, want)
}

func (n *teller) unbind(did string, channel rules.Channel, credential string, person int, want string) {
	n.ask(did, channel, central.VerbUnbind, central.UnbindRequest{Credential: credential, Who: n.who(person), Identified: true}, want)
}

func (n *teller) own(did string, channel rules.Channel, person int, want string) {
	n.ask(did, channel, central.VerbOwn, central.OwnRequest{Who: n.who(person)}, want)
}

func (n *teller) lookUp(did string, channel rules.Channel, credential, want string) {
	n.ask(did, channel, central.VerbCardLookUp, central.LookRequest{Credential: credential}, want)
}

func (n *teller) topUp(did string, channel rules.Channel, credential, want string) {
	n.ask(did, channel, central.VerbTopUpCheck, central.LookRequest{Credential: credential}, want)
}

func (n *teller) giveBack(did string, channel rules.Channel, credential, want string) {
	n.ask(did, channel, central.VerbCardReturn, central.CardRequest{Credential: credential}, want)
}

// enter lets a rider tap at the gate on the way in.
func (n *teller) enter(did, credential, want string) {
	n.tap(did, credential, gateway.PurposeEntry, want)
}

// healthy reports a test of a day for each of the persons.
func (n *teller) healthy(did, anchor string, of ...int) {
	var reports []central.HealthReport
	for _, p := range of {
		reports = append(reports, central.HealthReport{Who: n.who(p), Class: gateway.ClassNormal.String(), Anchor: anchor})
	}
	n.health(did, fmt.Sprintf("done, %d accepted", len(of)), reports...)
}

func (n *teller) health(did, want string, reports ...central.HealthReport) {
	n.ask(did, rules.ChannelHealthSource, central.VerbHealthReport, central.HealthRequest{Reports: reports}, want)
}

// everybody returns the persons from one to another, both among them.
func everybody(from, to int) []int {
	var all []int
	for p := from; p <= to; p++ {
		all = append(all, p)
	}
	return slices.Clip(all)
}
