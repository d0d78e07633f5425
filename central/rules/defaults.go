package rules

import (
	"maps"
	"slices"
	"time"

	"gateline/gateway"
)

// The dates of the public notices, all at 00:00 in Asia/Shanghai.
type dates struct {
	service   time.Time // TIME-01
	metro     time.Time // commemorative metro tickets (KIND-01)
	partners  time.Time // ride codes of others (RC-01), concession cards by their holders
	notice    time.Time // one of each medium (QTA-01), concession cards by the back office
	gate      time.Time // TIME-02
	healthKit time.Time // UPG-11
	night     time.Time // IMP-16
}

func publicDates() dates {
	day := func(month time.Month, day int) time.Time {
		return time.Date(2022, month, day, 0, 0, 0, 0, gateway.Zone)
	}
	return dates{service: day(5, 17), metro: day(5, 19), partners: day(5, 23), notice: day(5, 31),
		gate: day(6, 1), healthKit: day(6, 3), night: day(7, 2)}
}

// DefaultRules returns the state of the public notice of 2022-05-31 with what
// was public before it (QTA-05) and is known of the weeks after it. Ranges of
// numbers and codes of issuers are invented, but that a T-Union number begins
// with 310: an operator replaces them by the issuers' own lists.
func DefaultRules() *Rules {
	d := publicDates()
	return &Rules{
		Quotas: Terms[Quotas]{
			// "One physical or one NFC card" at first, "and" since the notice.
			{From: d.service, Value: Quotas{Physical: 1, NFC: 1, Total: 1, Helper: 5, HelperMode: HelperActive}},
			{From: d.notice, Value: Quotas{Physical: 1, NFC: 1, Total: 2, Helper: 5, HelperMode: HelperActive}},
		},
		Kinds:       defaultKinds(d),
		Channels:    defaultChannels(d),
		Consents:    Terms[[]uint16]{{From: d.service, Value: []uint16{1}}},
		DayRules:    Terms[DayRule]{{From: d.service, Value: DayRuleResult}, {From: d.night, Value: DayRuleNight}},
		TopUpFrom:   d.gate,
		NewCardFrom: d.gate,
	}
}

// Codes of the kinds of DefaultRules.
const (
	KindMunicipal KindCode = iota + 1
	KindInteroperable
	KindCommemorative
	KindSuburban
	KindOutOfTown
	KindMunicipalNFC
	KindInteroperableNFC
	KindJDFinance
	KindCCBLowCarbon
	KindWearable
	KindElectronicStudent
	KindECNYWearable
	KindElderly
	KindCivilAffairs
	KindDisabled
	KindStudent
	KindMetroTicket
	KindRideYikatong
	KindRideYitongxing
	KindRideBus
	KindRideAlipay
	KindRideUnionPay
	KindRideCMB
	KindRidePartner
)

func defaultKinds(d dates) Terms[[]Kind] {
	first := append(cardKinds(), concessionKinds(false)...)
	first = append(first, rideKind(KindRideYikatong, "ride-yikatong", "北京一卡通乘车码", "ride:1001", ChannelApp))
	metro := append(slices.Clone(first), Kind{Code: KindMetroTicket, Name: "metro-commemorative-ticket", ZH: "地铁纪念票",
		Medium: MediumPhysical, Ranges: []string{"tunion:3104777"}, Upgrade: BySelf, Channels: []Channel{ChannelMetro}})
	partners := append(slices.Clone(metro), partnerRideKinds()...)
	return Terms[[]Kind]{
		{From: d.service, Value: first},
		{From: d.metro, Value: metro},
		{From: d.partners, Value: withKinds(partners, concessionKinds(true))},
		{From: d.notice, Value: partners},
	}
}

// withKinds returns a copy in which rows of the same code are replaced.
func withKinds(kinds, others []Kind) []Kind {
	kinds = slices.Clone(kinds)
	for i := range kinds {
		for _, other := range others {
			if other.Code == kinds[i].Code {
				kinds[i] = other
			}
		}
	}
	return kinds
}

// cardKinds are the cards that are not concession cards.
func cardKinds() []Kind {
	self := func(code KindCode, name, zh string, medium Medium, ranges ...string) Kind {
		return Kind{Code: code, Name: name, ZH: zh, Medium: medium, Ranges: ranges, Upgrade: BySelf}
	}
	outOfTown := self(KindOutOfTown, "out-of-town", "外地交通联合卡", MediumPhysical, "tunion:310")
	outOfTown.Channels = []Channel{ChannelApp} // UPG-08
	eCNY := self(KindECNYWearable, "ecny-wearable", "数字人民币可穿戴设备", MediumNFC, "tunion:31047749")
	eCNY.Upgrade = ByNobody // KIND-08
	return []Kind{
		self(KindMunicipal, "municipal", "北京市政交通一卡通", MediumPhysical, "tunion:3104771", "chip:"),
		self(KindInteroperable, "interoperable", "北京互通卡", MediumPhysical, "tunion:310477"),
		self(KindCommemorative, "commemorative", "版权纪念卡(含异型)", MediumPhysical, "tunion:3104772"),
		self(KindSuburban, "suburban-railway", "市郊铁路一卡通", MediumPhysical, "tunion:3104773"),
		outOfTown,
		self(KindMunicipalNFC, "municipal-nfc", "北京市政交通一卡通(NFC)", MediumNFC, "tunion:31047740"),
		self(KindInteroperableNFC, "interoperable-nfc", "北京互通卡(NFC)", MediumNFC, "tunion:31047741"),
		self(KindJDFinance, "jd-finance", "京东金融交通卡", MediumNFC, "tunion:31047742"),
		self(KindCCBLowCarbon, "ccb-low-carbon", "建行生活-低碳畅行卡", MediumNFC, "tunion:31047743"),
		self(KindWearable, "wearable", "一卡通穿戴设备", MediumNFC, "tunion:31047744"),
		self(KindElectronicStudent, "student-nfc", "电子学生卡", MediumNFC, "tunion:31047745"),
		eCNY,
		{Code: KindStudent, Name: "student", ZH: "学生卡", Medium: MediumPhysical, Ranges: []string{"tunion:31047760"},
			Upgrade: ByStudents, TopUpExempt: true, Lamp: true},
	}
}

// concessionKinds are the cards of KIND-04. From 2022-05-23 until the notice
// their holders were told to upgrade them themselves.
func concessionKinds(bySelf bool) []Kind {
	concession := func(code KindCode, name, zh, prefix string) Kind {
		k := Kind{Code: code, Name: name, ZH: zh, Medium: MediumPhysical, Ranges: []string{prefix}, Upgrade: ByBackOffice, TopUpExempt: true, Lamp: true}
		if bySelf {
			k.Upgrade, k.Listed, k.TopUpExempt = BySelf, true, false
		}
		return k
	}
	return []Kind{
		concession(KindElderly, "elderly-disabled-care", "养老助残卡", "tunion:31047750"),
		concession(KindCivilAffairs, "civil-affairs", "民政一卡通", "tunion:31047751"),
		concession(KindDisabled, "disabled-service", "残疾人服务一卡通", "tunion:31047752"),
	}
}

func rideKind(code KindCode, name, zh, prefix string, channel Channel) Kind {
	return Kind{Code: code, Name: name, ZH: zh, Medium: MediumRide, Ranges: []string{prefix}, Upgrade: BySelf,
		Channels: []Channel{channel}, NoSlot: true}
}

// partnerRideKinds are the ride codes of other issuers (RC-01).
func partnerRideKinds() []Kind {
	return []Kind{
		rideKind(KindRideYitongxing, "ride-yitongxing", "亿通行乘车码", "ride:1002", ChannelYitongxing),
		rideKind(KindRideBus, "ride-bus", "北京公交乘车码", "ride:1003", ChannelBus),
		rideKind(KindRideAlipay, "ride-alipay", "支付宝乘车码", "ride:1004", ChannelAlipay),
		rideKind(KindRideUnionPay, "ride-unionpay", "云闪付乘车码", "ride:1005", ChannelUnionPay),
		rideKind(KindRideCMB, "ride-cmb", "招商银行乘车码", "ride:1006", ChannelCMB),
		rideKind(KindRidePartner, "ride-partner", "合作城市地铁乘车码", "ride:1007", ChannelPartner),
	}
}

// defaultChannels is the matrix CH-01 … CH-10. Unbinding is offered to every
// channel by one word of data (UNB-01); the app and the hotline have it here.
func defaultChannels(d dates) Terms[Matrix] {
	first := Matrix{
		ChannelApp: {FunctionUpgrade, FunctionHelp, FunctionUnbind, FunctionRideCode, FunctionGuardian, FunctionLookUp, FunctionTopUp,
			FunctionNewCard},
		ChannelMini:         {FunctionUpgrade, FunctionHelp, FunctionTopUp},
		ChannelMetro:        {FunctionUpgrade, FunctionHelp},
		ChannelMachine:      {FunctionLookUp, FunctionTopUp},
		ChannelWindow:       {FunctionLookUp, FunctionTopUp, FunctionNewCard},
		ChannelPoint:        {FunctionLookUp, FunctionTopUp, FunctionNewCard, FunctionReturn},
		ChannelHall:         {FunctionLookUp, FunctionReturn},
		ChannelHotline:      {FunctionUnbind},
		ChannelWeChat:       {},
		ChannelBackOffice:   {FunctionBackOffice, FunctionReturn},
		ChannelHealthSource: {FunctionReport},
		ChannelOps: {FunctionUpgrade, FunctionHelp, FunctionUnbind, FunctionRideCode, FunctionLookUp, FunctionReturn, FunctionBackOffice,
			FunctionResolve, FunctionReport, FunctionPersons, FunctionStatistics},
	}
	partners := maps.Clone(first)
	for _, c := range []Channel{ChannelYitongxing, ChannelBus, ChannelAlipay, ChannelUnionPay, ChannelCMB, ChannelPartner} {
		partners[c] = []Function{FunctionRideCode}
	}
	healthKit := maps.Clone(partners)
	healthKit[ChannelHealthKit] = []Function{FunctionUpgrade}
	return Terms[Matrix]{
		{From: d.service, Value: first},
		{From: d.partners, Value: partners},
		{From: d.healthKit, Value: healthKit},
	}
}
