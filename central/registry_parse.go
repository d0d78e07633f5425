package central

import (
	"encoding/json"

	"gateline/central/rules"
	"gateline/gateway"
)

// asked is a request for the registry as it has been read: tokens and pseudonyms
// but for the claim, which nothing but a Verifier sees.
type asked struct {
	id      string
	command rules.Command
	// who and identified are whose identity the channel vouches for; nil = the
	// command asks for nobody's.
	who        *Who
	identified bool
	// faults are what is wrong with rows of a list, from 0. Those rows stand in the
	// command without a person or a card, so that the rules reject them.
	faults map[int]*Refusal
}

// Largest batches in bytes.
const (
	maxListRequest   = maxImportRequest
	maxHealthRequest = 256 << 10
)

// The fields of requests, for refusals.
const (
	fieldsWho     = "person or document (type, number)"
	fieldsUpgrade = "id, credential, " + fieldsWho + ", identified, consent"
)

func parseUpgrade(d *door, data []byte) (asked, *Refusal) {
	var q UpgradeRequest
	if refusal := decodeRequest(data, maxSmallRequest, fieldsUpgrade, &q); refusal != nil {
		return asked{}, refusal
	}
	return d.upgrade(q, func(c rules.Card, p Person) rules.Command {
		return rules.Upgrade{Card: c, Person: p, Identified: q.Identified, Consent: q.Consent}
	})
}

func parseHelp(d *door, data []byte) (asked, *Refusal) {
	var q HelpRequest
	if refusal := decodeRequest(data, maxSmallRequest, fieldsUpgrade+", helper (as a person)", &q); refusal != nil {
		return asked{}, refusal
	}
	helper, refusal := d.who(q.Helper)
	if refusal != nil {
		return asked{}, inField(refusal, "helper")
	}
	return d.upgrade(q.UpgradeRequest, func(c rules.Card, p Person) rules.Command {
		return rules.Help{Card: c, Person: p, Helper: helper, Identified: q.Identified, Consent: q.Consent}
	})
}

func parseAuthorise(d *door, data []byte) (asked, *Refusal) {
	var q RideRequest
	if refusal := decodeRequest(data, maxSmallRequest, fieldsUpgrade, &q); refusal != nil {
		return asked{}, refusal
	}
	return d.upgrade(q, func(c rules.Card, p Person) rules.Command {
		return rules.Authorise{Account: c, Person: p, Identified: q.Identified, Consent: q.Consent}
	})
}

func parseIssue(d *door, data []byte) (asked, *Refusal) {
	var q IssueRequest
	if refusal := decodeRequest(data, maxSmallRequest, fieldsUpgrade, &q); refusal != nil {
		return asked{}, refusal
	}
	if q.Who == (Who{}) { // the rules say what a card without a buyer is
		card, refusal := d.card(q.Credential)
		return asked{id: q.ID, command: rules.Issue{Card: card}}, refusal
	}
	return d.upgrade(q, func(c rules.Card, p Person) rules.Command {
		return rules.Issue{Card: c, Person: p, Identified: q.Identified, Consent: q.Consent}
	})
}

// upgrade reads what requests about a card and its holder share.
func (d *door) upgrade(q UpgradeRequest, make func(rules.Card, Person) rules.Command) (asked, *Refusal) {
	card, refusal := d.card(q.Credential)
	if refusal != nil {
		return asked{}, refusal
	}
	person, refusal := d.who(q.Who)
	if refusal != nil {
		return asked{}, refusal
	}
	return asked{id: q.ID, command: make(card, person), who: &q.Who, identified: q.Identified}, nil
}

func parseSwap(d *door, data []byte) (asked, *Refusal) {
	var q SwapRequest
	if refusal := decodeRequest(data, maxSmallRequest, "id, old, new, "+fieldsWho+", identified, consent", &q); refusal != nil {
		return asked{}, refusal
	}
	cards, refusal := d.cards(q.Old, q.New)
	if refusal != nil {
		return asked{}, refusal
	}
	person, refusal := d.who(q.Who)
	if refusal != nil {
		return asked{}, refusal
	}
	c := rules.Swap{Old: cards[0].Token, New: cards[1], Person: person, Identified: q.Identified, Consent: q.Consent}
	return asked{id: q.ID, command: c, who: &q.Who, identified: q.Identified}, nil
}

// cards reads an old and a new credential.
func (d *door) cards(before, after string) (cards [2]rules.Card, refusal *Refusal) {
	if cards[0], refusal = d.card(before); refusal != nil {
		return cards, inField(refusal, "old")
	}
	if cards[1], refusal = d.card(after); refusal != nil {
		return cards, inField(refusal, "new")
	}
	return cards, nil
}

func parseRegistryUnbind(d *door, data []byte) (asked, *Refusal) {
	var q UnbindRequest
	if refusal := decodeRequest(data, maxSmallRequest, "id, credential, "+fieldsWho+", identified", &q); refusal != nil {
		return asked{}, refusal
	}
	card, refusal := d.card(q.Credential)
	if refusal != nil {
		return asked{}, refusal
	}
	c := rules.Unbind{Token: card.Token, Identified: q.Identified}
	if q.Who == (Who{}) {
		return asked{id: q.ID, command: c}, nil
	}
	if c.By, refusal = d.who(q.Who); refusal != nil {
		return asked{}, refusal
	}
	return asked{id: q.ID, command: c, who: &q.Who, identified: q.Identified}, nil
}

func parseRideWithdraw(d *door, data []byte) (asked, *Refusal) {
	var q RideWithdrawRequest
	if refusal := decodeRequest(data, maxSmallRequest, "id, credential, "+fieldsWho, &q); refusal != nil {
		return asked{}, refusal
	}
	card, refusal := d.card(q.Credential)
	if refusal != nil {
		return asked{}, refusal
	}
	person, refusal := d.who(q.Who)
	return asked{id: q.ID, command: rules.Withdraw{Account: card.Token, Person: person}}, refusal
}

func parseReturn(d *door, data []byte) (asked, *Refusal) {
	var q CardRequest
	if refusal := decodeRequest(data, maxSmallRequest, "id, credential", &q); refusal != nil {
		return asked{}, refusal
	}
	card, refusal := d.card(q.Credential)
	return asked{id: q.ID, command: rules.Return{Token: card.Token}}, refusal
}

func parseReplace(d *door, data []byte) (asked, *Refusal) {
	var q ReplaceRequest
	if refusal := decodeRequest(data, maxSmallRequest, "id, old, new", &q); refusal != nil {
		return asked{}, refusal
	}
	cards, refusal := d.cards(q.Old, q.New)
	return asked{id: q.ID, command: rules.Replace{Old: cards[0].Token, New: cards[1]}}, refusal
}

func parseLookUp(d *door, data []byte) (asked, *Refusal) {
	card, refusal := d.look(data)
	return asked{command: rules.LookUp{Card: card}}, refusal
}

func parseTopUp(d *door, data []byte) (asked, *Refusal) {
	card, refusal := d.look(data)
	return asked{command: rules.CheckTopUp{Card: card}}, refusal
}

func (d *door) look(data []byte) (rules.Card, *Refusal) {
	var q LookRequest
	if refusal := decodeRequest(data, maxSmallRequest, "credential", &q); refusal != nil {
		return rules.Card{}, refusal
	}
	return d.card(q.Credential)
}

func parseOwn(d *door, data []byte) (asked, *Refusal) {
	var q OwnRequest
	if refusal := decodeRequest(data, maxSmallRequest, fieldsWho, &q); refusal != nil {
		return asked{}, refusal
	}
	person, refusal := d.who(q.Who)
	return asked{command: rules.Own{Person: person}}, refusal
}

func parseLoss(_ *door, data []byte) (asked, *Refusal) {
	return asked{command: rules.ReportLoss{}}, decodeEmpty(data)
}

func parseStatistics(_ *door, data []byte) (asked, *Refusal) {
	return asked{command: rules.Statistics{}}, decodeEmpty(data)
}

func parseConcession(d *door, data []byte) (asked, *Refusal) {
	q, rows, faults, refusal := d.list(data)
	return asked{id: q.ID, command: rules.Concessions{List: q.List, Run: q.Run, Rows: rows}, faults: faults}, refusal
}

func parseStudents(d *door, data []byte) (asked, *Refusal) {
	q, rows, faults, refusal := d.list(data)
	return asked{id: q.ID, command: rules.Students{List: q.List, Run: q.Run, Rows: rows}, faults: faults}, refusal
}

// list reads a part of a list. What is wrong with a row is a fault of that row
// alone.
func (d *door) list(data []byte) (ListRequest, []rules.Row, map[int]*Refusal, *Refusal) {
	var q ListRequest
	if refusal := decodeBatch(data, maxListRequest, "id, list, run, rows; of a row: credential, "+fieldsWho+", valid_to, guardian (as a person)", "rows", &q, ListRow{}); refusal != nil {
		return q, nil, nil, refusal
	}
	if len(q.Rows) == 0 || len(q.Rows) > rules.MaxRows {
		return q, nil, nil, refuse(CodeMalformed, "%d rows, not 1 … %d; send the list in parts", len(q.Rows), rules.MaxRows)
	}
	rows := make([]rules.Row, len(q.Rows))
	faults := map[int]*Refusal{}
	for i := range q.Rows {
		var refusal *Refusal
		if rows[i], refusal = d.listRow(&q.Rows[i]); refusal != nil {
			faults[i] = refusal
		}
	}
	return q, rows, faults, nil
}

// listRow reads a row. One that is wrong still names its card where that can be
// read: a full delivery does not take it for missing.
func (d *door) listRow(in *ListRow) (rules.Row, *Refusal) {
	card, refusal := d.card(in.Credential)
	if refusal != nil {
		return rules.Row{}, refusal
	}
	named := rules.Row{Card: card}
	person, refusal := d.who(in.Who)
	if refusal != nil {
		return named, refusal
	}
	day, ok := parseDay(in.ValidTo)
	if !ok {
		return named, refuse(CodeMalformed, "valid_to: not a day such as 2022-12-31 between 1970-01-02 and 2059-09-18")
	}
	row := rules.Row{Card: card, Person: person, ValidTo: day}
	if in.Guardian != nil {
		if row.Guardian, refusal = d.who(*in.Guardian); refusal != nil {
			return named, inField(refusal, "guardian")
		}
	}
	return row, nil
}

func parseListEnd(_ *door, data []byte) (asked, *Refusal) {
	var q ListEndRequest
	refusal := decodeRequest(data, maxSmallRequest, "id, list, run, most", &q)
	if refusal == nil && q.Most < 0 {
		refusal = refuse(CodeMalformed, "most: below zero; give how many bindings may end")
	}
	return asked{id: q.ID, command: rules.EndOfList{List: q.List, Run: q.Run, Most: q.Most}}, refusal
}

func parseListExpire(_ *door, data []byte) (asked, *Refusal) {
	var q ListExpireRequest
	if len(data) == 0 {
		return asked{command: rules.Expire{}}, nil
	}
	refusal := decodeRequest(data, maxSmallRequest, "id", &q)
	return asked{id: q.ID, command: rules.Expire{}}, refusal
}

func parseGuardian(d *door, data []byte) (asked, *Refusal) {
	var q GuardianRequest
	if refusal := decodeRequest(data, maxSmallRequest, "id, credential, guardian (as a person)", &q); refusal != nil {
		return asked{}, refusal
	}
	card, refusal := d.card(q.Credential)
	if refusal != nil {
		return asked{}, refusal
	}
	guardian, refusal := d.who(q.Guardian)
	return asked{id: q.ID, command: rules.WithdrawStudent{Token: card.Token, Guardian: guardian}}, inField(refusal, "guardian")
}

func parseConflicts(_ *door, data []byte) (asked, *Refusal) {
	var q ConflictsRequest
	if len(data) == 0 {
		return asked{command: rules.ListCases{}}, nil
	}
	refusal := decodeRequest(data, maxSmallRequest, "after", &q)
	var c rules.ListCases
	if refusal == nil && q.After != "" && !decodeHex(c.After[:], []byte(q.After)) {
		refusal = refuse(CodeMalformed, "after: not the next of an answer; leave it out for the first page")
	}
	return asked{command: c}, refusal
}

func parseResolve(d *door, data []byte) (asked, *Refusal) {
	var q ResolveRequest
	if refusal := decodeRequest(data, maxSmallRequest, "id, credential, grant", &q); refusal != nil {
		return asked{}, refusal
	}
	card, refusal := d.card(q.Credential)
	return asked{id: q.ID, command: rules.Resolve{Token: card.Token, Grant: q.Grant}}, refusal
}

func parseHealth(d *door, data []byte) (asked, *Refusal) {
	var q HealthRequest
	const fields = "id, reports; of a report: " + fieldsWho + ", revision, class, anchor or result_at, minute, hold_through"
	if refusal := decodeBatch(data, maxHealthRequest, fields, "reports", &q, HealthReport{}); refusal != nil {
		return asked{}, refusal
	}
	if len(q.Reports) == 0 || len(q.Reports) > rules.MaxReports {
		return asked{}, refuse(CodeMalformed, "%d reports, not 1 … %d; send them in parts", len(q.Reports), rules.MaxReports)
	}
	reports := make([]rules.Report, len(q.Reports))
	faults := map[int]*Refusal{}
	for i := range q.Reports {
		var refusal *Refusal
		if reports[i], refusal = d.healthReport(&q.Reports[i]); refusal != nil {
			reports[i], faults[i] = rules.Report{}, refusal
		}
	}
	return asked{id: q.ID, command: rules.Reports{Rows: reports}, faults: faults}, nil
}

func (d *door) healthReport(in *HealthReport) (rules.Report, *Refusal) {
	person, refusal := d.who(in.Who)
	if refusal != nil {
		return rules.Report{}, refusal
	}
	status := Status{Class: in.Class, Anchor: in.Anchor, Minute: in.Minute, HoldThrough: in.HoldThrough}
	record, refusal := status.record()
	if refusal != nil {
		return rules.Report{}, refusal
	}
	switch {
	case in.ResultAt.IsZero():
	case in.Anchor != "":
		return rules.Report{}, refuse(CodeMalformed, "result_at: given beside an anchor day; give one of both")
	case gateway.DayOf(in.ResultAt) <= 0:
		return rules.Report{}, refuse(CodeMalformed, "result_at: not an instant between 1970-01-02 and 2059-09-18")
	}
	return rules.Report{Person: person, Revision: in.Revision, Class: record.Class, Anchor: record.Anchor, Result: in.ResultAt,
		Minute: record.AnchorMinute, HoldThrough: record.HoldThrough}, nil
}

// parsePerson reads a request that is about a person alone.
func parsePerson(make func(Person) rules.Command) func(*door, []byte) (asked, *Refusal) {
	return func(d *door, data []byte) (asked, *Refusal) {
		var q PersonRequest
		if refusal := decodeRequest(data, maxSmallRequest, "id, "+fieldsWho, &q); refusal != nil {
			return asked{}, refusal
		}
		person, refusal := d.who(q.Who)
		return asked{id: q.ID, command: make(person)}, refusal
	}
}

func parseMerge(d *door, data []byte) (asked, *Refusal) {
	var q MergeRequest
	if refusal := decodeRequest(data, maxSmallRequest, "id, from, into (each as a person)", &q); refusal != nil {
		return asked{}, refusal
	}
	persons, refusal := d.two(q.From, q.Into)
	return asked{id: q.ID, command: rules.Merge{From: persons[0], Into: persons[1]}}, refusal
}

func (d *door) two(from, into Who) (persons [2]Person, refusal *Refusal) {
	if persons[0], refusal = d.who(from); refusal != nil {
		return persons, inField(refusal, "from")
	}
	persons[1], refusal = d.who(into)
	return persons, inField(refusal, "into")
}

func parseSplit(d *door, data []byte) (asked, *Refusal) {
	var q SplitRequest
	if refusal := decodeRequest(data, maxSmallRequest, "id, from, into (each as a person), credentials", &q); refusal != nil {
		return asked{}, refusal
	}
	persons, refusal := d.two(q.From, q.Into)
	if refusal != nil {
		return asked{}, refusal
	}
	if len(q.Credentials) == 0 || len(q.Credentials) > rules.MaxPerPerson {
		return asked{}, refuse(CodeMalformed, "%d credentials, not 1 … %d", len(q.Credentials), rules.MaxPerPerson)
	}
	c := rules.Split{From: persons[0], Into: persons[1]}
	for i, text := range q.Credentials {
		card, refusal := d.card(text)
		if refusal != nil {
			return asked{}, inRow(refusal, i, len(q.Credentials))
		}
		c.Tokens = append(c.Tokens, card.Token)
	}
	return asked{id: q.ID, command: c}, nil
}

// decodeBatch is decodeRequest for a request with rows. Where a row's form is
// wrong it is read again, so that the refusal says which: row is one to try each
// with, and name the field that holds them.
func decodeBatch[Row any](data []byte, limit int, fields, name string, into any, row Row) *Refusal {
	refusal := decodeRequest(data, limit, fields, into)
	if refusal == nil || len(data) > limit {
		return refusal
	}
	var loose map[string]json.RawMessage
	var rows []json.RawMessage
	if json.Unmarshal(data, &loose) != nil || json.Unmarshal(loose[name], &rows) != nil {
		return refusal
	}
	for i, text := range rows {
		one := row
		if fault := decodeRequest(text, limit, fields, &one); fault != nil {
			return inRow(fault, i, len(rows))
		}
	}
	return refusal
}
