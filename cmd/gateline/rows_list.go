package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gateline/central"
	"gateline/central/rules"
	"gateline/gateway"
)

// listColumns returns the columns that the file of a list may have.
func listColumns() []string {
	return []string{"credential", "person", "document", "number", "valid_to", "guardian", "guardian_document", "guardian_number"}
}

// listReader reads the rows of a list.
type listReader struct {
	*rowReader
	// students tells a school's batch from a list of concession cards.
	students bool
	// rules judge kinds where the centre is not asked; nil = it is.
	rules *rules.Rules
	now   time.Time
}

// listedRow is a row of a list with the line it stands on.
type listedRow struct {
	line int
	row  central.ListRow
	// fault is what is wrong with it. The row then names its card and nobody, so that
	// the centre rejects it, and does not take the card for missing from the list.
	fault error
}

// next returns the next row; io.EOF at the end, a *rowError for a row that names no
// card, after which next may be called again.
func (r *listReader) next() (listedRow, error) {
	fields, err := r.cells()
	if err != nil {
		return listedRow{}, err
	}
	cell := make(map[string]string, len(fields))
	for i, text := range fields {
		cell[r.order[i]] = text
	}
	card, credential, err := canonical(cell["credential"])
	if err != nil {
		return listedRow{}, r.fault("%v", err)
	}
	row := listedRow{line: r.line, row: central.ListRow{Credential: credential}}
	if row.fault = readListRow(cell, &row.row); row.fault == nil && r.rules != nil {
		row.fault = r.judge(card, &row.row)
	}
	if row.fault != nil {
		row.row = central.ListRow{Credential: credential}
	}
	return row, nil
}

func readListRow(cell map[string]string, row *central.ListRow) error {
	var err error
	if row.Who, err = whoOf(cell["person"], cell["document"], cell["number"]); err != nil {
		return fmt.Errorf("person: %w", err)
	}
	if row.ValidTo = cell["valid_to"]; !validDay(row.ValidTo) {
		return errors.New("valid_to: not a day such as 2022-12-31")
	}
	if cell["guardian"]+cell["guardian_document"]+cell["guardian_number"] == "" {
		return nil
	}
	guardian, err := whoOf(cell["guardian"], cell["guardian_document"], cell["guardian_number"])
	if err != nil {
		return fmt.Errorf("guardian: %w", err)
	}
	row.Guardian = &guardian
	return nil
}

// whoOf reads a person: an opaque id, or the type and the number of a document. The
// error repeats none of them.
func whoOf(id, document, number string) (central.Who, error) {
	if document+number == "" {
		if !validPerson(id) {
			return central.Who{}, errors.New("not an id of 1 to 64 of A-Z, a-z, 0-9, '_', '.', '-'")
		}
		return central.ByID(id), nil
	}
	digits := strings.ReplaceAll(number, " ", "")
	switch {
	case id != "":
		return central.Who{}, errors.New("named by an id and by a document; give one of them")
	case !slices.Contains(documentTypes(), document):
		return central.Who{}, fmt.Errorf("the type of the document is not one of %s", strings.Join(documentTypes(), ", "))
	case len(digits) < 4 || len(digits) > 32 || !validPerson(digits) || strings.ContainsAny(digits, "_."):
		return central.Who{}, errors.New("the number of the document is not 4 to 32 of A-Z, a-z, 0-9 and '-'")
	}
	return central.ByDocument(document, digits), nil
}

// judge says what the rules that this program knows have against a row whose form is
// right. Who has the card now is the centre's to say.
func (r *listReader) judge(card gateway.Credential, row *central.ListRow) error {
	kind, known := r.rules.Kind(r.rules.KindOf(card, r.now), r.now)
	may := kind.Upgrade == rules.ByBackOffice || kind.Listed
	if r.students {
		may = kind.Upgrade == rules.ByStudents
	}
	switch {
	case !known:
		return coded(rules.CodeUnsupported, "a card of no kind that is served here")
	case !may:
		return coded(rules.CodeUnsupported, "a card of kind %s stands in no such list", kind.Name)
	case r.students && row.Guardian == nil:
		return coded(rules.CodeConsent, "the guardian is missing")
	case row.ValidTo != "" && row.ValidTo < r.now.In(gateway.Zone).Format(time.DateOnly):
		return coded(rules.CodeUnsupported, "its last day is over")
	}
	return nil
}

// coded is a refusal in the centre's words.
func coded(code rules.Code, format string, args ...any) error {
	zh, en := code.Texts()
	return &central.Refusal{Code: code, ZH: zh, EN: en, Detail: fmt.Sprintf(format, args...)}
}
