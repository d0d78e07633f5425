package rules

import "fmt"

// Code names a refusal. Codes never change meaning, and every channel gets the
// same ones (CH-R1); what it shows for them is its own.
type Code string

// Codes E101 … E114, T201, T202 and L301 are public; the others are the
// centre's own.
const (
	CodeMalformed     Code = "E100" // the request's form is wrong
	CodePhysicalFull  Code = "E101" // QTA-01
	CodeNFCFull       Code = "E102" // QTA-01
	CodeHelperFull    Code = "E103" // UPG-06
	CodeOtherOwner    Code = "E104" // UPG-10
	CodeBadNumber     Code = "E105" // NUM-01; given by the door, never here
	CodeUnsupported   Code = "E106" // KIND-02, KIND-08
	CodeBackOffice    Code = "E107" // KIND-04
	CodeIdentity      Code = "E108" // UPG-02
	CodeHelpPhysical  Code = "E109" // UPG-05
	CodeAppOnly       Code = "E110" // UPG-08
	CodeConsent       Code = "E111" // UPG-02
	CodeNotBound      Code = "E112" // UNB-03
	CodeStudentBatch  Code = "E113" // KIND-05
	CodeBusy          Code = "E114" // given by the service, never here
	CodeTooMany       Code = "E115" // MaxPerPerson
	CodeChannel       Code = "E116" // CH-R2
	CodeNoPolicy      Code = "E120" // as the next ones, given by the centre, never here: no policy is set
	CodeBadPolicy     Code = "E121" // a policy document cannot be used
	CodeNoKey         Code = "E122" // the centre has not got that key of the feed
	CodeNoStation     Code = "E123" // no such station has reported
	CodeNotOver       Code = "E124" // the policy has not ended, so nothing is erased (IMP-10)
	CodeTopUp         Code = "T201" // TOP-01
	CodeFirstTopUp    Code = "T202" // TOP-04
	CodeNoLossReports Code = "L301" // TOP-08
)

// Refusal is a coded no, in both languages. It never names a card or a person,
// so that E101 shows a helper nothing of the helped person's card (UPG-07).
type Refusal struct {
	Code Code
	ZH   string
	EN   string
	// Detail says what is wrong with this request and what to do next, where
	// the code does not say it all.
	Detail string
}

// Error returns code, both texts and the detail in one line.
func (r *Refusal) Error() string {
	text := fmt.Sprintf("%s %s (%s)", r.Code, r.ZH, r.EN)
	if r.Detail != "" {
		text += ": " + r.Detail
	}
	return text
}

// ofForm reports a refusal that says nothing of the state: it is not kept, so
// that a channel that may do nothing cannot push out what others have settled.
func (r *Refusal) ofForm() bool {
	return r != nil && (r.Code == CodeMalformed || r.Code == CodeChannel)
}

func refuse(code Code) *Refusal {
	zh, en := code.Texts()
	return &Refusal{Code: code, ZH: zh, EN: en}
}

func malformed(format string, args ...any) *Refusal {
	r := refuse(CodeMalformed)
	r.Detail = fmt.Sprintf(format, args...)
	return r
}

// Texts returns the proposed public wording of the code.
func (c Code) Texts() (zh, en string) {
	for _, t := range texts() {
		if t.code == c {
			return t.zh, t.en
		}
	}
	return "服务繁忙,请稍后再试", "the centre is busy, please try again later"
}

type codeText struct {
	code   Code
	zh, en string
}

// texts is the one table of wordings.
func texts() []codeText {
	return []codeText{
		{CodeMalformed, "请求格式有误", "malformed request"},
		{CodePhysicalFull, "您名下已绑定一张实体卡,请先解绑后再绑定", "a physical card is bound already, unbind it first"},
		{CodeNFCFull, "您名下已绑定一张手机NFC卡,请先解绑后再绑定", "a phone NFC card is bound already, unbind it first"},
		{CodeHelperFull, "您代办的实体卡已达5张上限", "you have reached the limit of five cards upgraded for others"},
		{CodeOtherOwner, "该卡已由其他用户绑定", "the card is bound by another person, who has to unbind it first"},
		{CodeBadNumber, "卡号有误,请核对卡面19位数字", "wrong number, please check the 19 digits on the card"},
		{CodeUnsupported, "该卡种暂不支持升级", "this kind of card cannot be upgraded"},
		{CodeBackOffice, "该卡种由后台统一升级,无需自行办理", "this kind of card is upgraded for you, there is nothing to do"},
		{CodeIdentity, "身份信息核验未通过", "the identity could not be verified"},
		{CodeHelpPhysical, "代办仅限实体卡", "only physical cards can be upgraded for others"},
		{CodeAppOnly, "请通过\"北京一卡通\"APP办理该卡", "please use the Beijing Yikatong app for this card"},
		{CodeConsent, "请先阅读并同意授权", "please read and give the authorisation first"},
		{CodeNotBound, "未找到可解绑的绑定关系", "there is no such binding to end"},
		{CodeStudentBatch, "学生卡由学校组织家长授权后统一升级", "student cards are upgraded by the school once parents have authorised it"},
		{CodeBusy, "服务繁忙,请稍后再试", "the centre is busy, please try again later"},
		{CodeTooMany, "该用户绑定数量已达上限", "the person has as many credentials as the centre holds"},
		{CodeChannel, "该渠道不提供此功能", "this channel does not offer that"},
		{CodeNoPolicy, "尚未设置策略", "no policy has been set yet"},
		{CodeBadPolicy, "策略文件有误", "the policy cannot be used"},
		{CodeNoKey, "中心没有该密钥,或该密钥已停用", "the centre has no such key, or it is retired"},
		{CodeNoStation, "没有收到过该车站的报告", "no station of this name has reported"},
		{CodeNotOver, "策略尚未终止,数据未清除", "the policy has not ended, nothing was erased"},
		{CodeTopUp, "该卡尚未升级,请先完成一卡通升级再充值", "card not upgraded: please upgrade it before topping up"},
		{CodeFirstTopUp, "首次充值须提供本人有效身份证件", "the first top-up needs your own valid identity document"},
		{CodeNoLossReports, "一卡通不支持挂失,请妥善保管", "a lost card cannot be reported, please keep it safe"},
	}
}
