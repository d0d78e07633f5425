package central

import (
	"fmt"

	"gateline/central/rules"
)

// Refusal is the centre's coded no, in both languages. Code names one; codes
// never change meaning.
type (
	Refusal = rules.Refusal
	Code    = rules.Code
)

// Codes that callers of a Client choose by. CodeBusy says that the centre cannot
// take the command now: its outcome is not known, and it is safe to send it again.
const (
	CodeMalformed   = rules.CodeMalformed
	CodeOtherOwner  = rules.CodeOtherOwner
	CodeBadNumber   = rules.CodeBadNumber
	CodeUnsupported = rules.CodeUnsupported
	CodeNotBound    = rules.CodeNotBound
	CodeBusy        = rules.CodeBusy
	CodeTooMany     = rules.CodeTooMany
	CodeNoPolicy    = rules.CodeNoPolicy
	CodeBadPolicy   = rules.CodeBadPolicy
	CodeNoKey       = rules.CodeNoKey
	CodeNoStation   = rules.CodeNoStation
	CodeNotOver     = rules.CodeNotOver
)

// refuse returns a refusal with a detail, which never repeats a credential's
// number or a person's id.
func refuse(code Code, format string, args ...any) *Refusal {
	zh, en := code.Texts()
	return &Refusal{Code: code, ZH: zh, EN: en, Detail: fmt.Sprintf(format, args...)}
}

// inRow adds the number of the row, from 1, to a refusal of an import.
func inRow(r *Refusal, row, rows int) *Refusal {
	if rows > 1 {
		r.Detail = fmt.Sprintf("row %d of %d: %s; no row has taken effect", row+1, rows, r.Detail)
	}
	return r
}

// inField names the field that a refusal of a person or a card is about; nil stays
// nil.
func inField(r *Refusal, field string) *Refusal {
	if r != nil {
		r.Detail = field + ": " + r.Detail
	}
	return r
}
