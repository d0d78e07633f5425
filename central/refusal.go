package central

import "fmt"

// Code names a refusal. Codes never change meaning.
type Code string

const (
	// CodeMalformed refuses a request whose form is wrong.
	CodeMalformed Code = "E100"
	// CodeOtherOwner refuses to bind a credential that another person has
	// bound (UPG-10).
	CodeOtherOwner Code = "E104"
	// CodeBadNumber refuses a credential whose number is wrong (NUM-01).
	CodeBadNumber Code = "E105"
	// CodeUnsupported refuses a credential of an unknown scheme (KIND-08).
	CodeUnsupported Code = "E106"
	// CodeNotBound refuses to end a binding that does not exist (UNB-03).
	CodeNotBound Code = "E112"
	// CodeBusy says that the centre cannot take the command now. The outcome
	// of the command is not known; it is safe to send it again.
	CodeBusy Code = "E114"
	// CodeTooMany refuses one more credential for a person who has
	// MaxPerPerson of them.
	CodeTooMany Code = "E115"
	// CodeNoPolicy refuses what needs a policy while none has been set.
	CodeNoPolicy Code = "E120"
	// CodeBadPolicy refuses a policy document, or a schedule that would come
	// of it.
	CodeBadPolicy Code = "E121"
	// CodeNoKey refuses to change the feed to a key that the centre has not got.
	CodeNoKey Code = "E122"
	// CodeNoStation refuses to tell of a station that has never reported.
	CodeNoStation Code = "E123"
)

// Refusal is the centre's coded no, in both languages. Detail says what was
// wrong with this request and what to do next; it never repeats a credential's
// number or a person's id.
type Refusal struct {
	Code   Code
	ZH     string
	EN     string
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

func refuse(code Code, format string, args ...any) *Refusal {
	zh, en := code.texts()
	return &Refusal{Code: code, ZH: zh, EN: en, Detail: fmt.Sprintf(format, args...)}
}

// inRow adds the number of the row, from 1, to a refusal of an import.
func (r *Refusal) inRow(row, rows int) *Refusal {
	if rows > 1 {
		r.Detail = fmt.Sprintf("row %d of %d: %s; no row has taken effect", row+1, rows, r.Detail)
	}
	return r
}

func (c Code) texts() (zh, en string) {
	switch c {
	case CodeMalformed:
		return "请求格式有误", "malformed request"
	case CodeOtherOwner:
		return "该卡已由其他用户绑定", "the credential is bound by another person"
	case CodeBadNumber:
		return "卡号有误,请核对卡面19位数字", "wrong number, please check the 19 digits on the card"
	case CodeUnsupported:
		return "该卡种暂不支持升级", "this kind of credential cannot be upgraded"
	case CodeNotBound:
		return "未找到可解绑的绑定关系", "there is no such binding to end"
	case CodeTooMany:
		return "该用户绑定数量已达上限", "the person has as many credentials as the centre holds"
	case CodeNoPolicy:
		return "尚未设置策略", "no policy has been set yet"
	case CodeBadPolicy:
		return "策略文件有误", "the policy cannot be used"
	case CodeNoKey:
		return "中心没有该密钥,或该密钥已停用", "the centre has no such key, or it is retired"
	case CodeNoStation:
		return "没有收到过该车站的报告", "no station of this name has reported"
	}
	return "服务繁忙,请稍后再试", "the centre is busy, please try again later"
}
