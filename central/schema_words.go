package central

import (
	"slices"

	"github.com/google/jsonschema-go/jsonschema"

	"gateline/central/rules"
	"gateline/gateway"
)

// tighten adds to a field of a request what its Go type does not say, as far as the
// service refuses the whole request for it, and says the rest in words.
func tighten(name string, s *jsonschema.Schema) {
	describe(name, s)
	if i := slices.Index(s.Types, "null"); i >= 0 && len(s.Types) == 2 {
		// Optional fields are left out.
		s.Type, s.Types = s.Types[1-i], nil
	}
	bounds := func(most int) { s.MinItems, s.MaxItems = jsonschema.Ptr(1), jsonschema.Ptr(most) }
	switch name {
	case "id":
		s.Pattern = "^[!-~]{1,64}$"
	case "rows":
		bounds(gateway.MaxChanges)
	case "reports":
		bounds(rules.MaxReports)
	case "credentials":
		bounds(rules.MaxPerPerson)
	case "most":
		s.Minimum = jsonschema.Ptr(0.0)
	case "list":
		s.Minimum = jsonschema.Ptr(1.0)
	case "mode":
		if s.Enum == nil {
			s.Enum = append(modeWords(), ModeDefault)
		}
	}
}

// describe says in words what a field is.
func describe(name string, s *jsonschema.Schema) {
	words := fieldWords()
	if s.Description == "" {
		s.Description = words[name]
	}
	if document := s.Properties["number"]; name == "document" && document != nil {
		document.Description = words["document.number"]
	}
}

// fieldWords has the fields of requests and replies. Those of policies and of a
// station's report stand in the documents of the two.
func fieldWords() map[string]string {
	const person = "an opaque id, 1 to 64 of A-Z a-z 0-9 _ . -"
	const day = "a day in Asia/Shanghai, such as 2022-05-28"
	return map[string]string{
		"id":              "unique within the channel: a repetition has one effect and the same answer",
		"credential":      "tunion:, chip: or ride: with the number, or the 19 printed digits; blanks allowed",
		"credentials":     "credentials, each as credential",
		"old":             "the card before, as credential",
		"new":             "the card that takes its place, as credential",
		"person":          person,
		"document":        "an identity document, instead of person; it is hashed and kept nowhere",
		"document.number": "4 to 32 of A-Z a-z 0-9 -; blanks and the case of letters do not count",
		"type":            "one of resident-card, hk-macao-permit, taiwan-permit, residence-permit, foreigner-permit, passport",
		"identified":      "the channel's word that the person is the one named",
		"consent":         "version of the text that was agreed to",
		"helper":          "who upgrades the card for the person",
		"guardian":        "who has authorised a student's card",
		"list":            "number of the list, from 1",
		"run":             "number of the full delivery, from 1; left out: an incremental one",
		"most":            "how many bindings may end",
		"valid_to":        "the card's last day, " + day,
		"revision":        "orders the reports of one person, from 1",
		"class":           "normal, popup, yellow or red",
		"anchor":          "the day from which the test counts, " + day + "; left out: no test on record",
		"result_at":       "the instant of the result, RFC 3339, instead of anchor",
		"minute":          "minute of the anchor day at which the sample was taken, 0 to 1439",
		"hold_through":    "the last day on which a pending result keeps the status valid, " + day,
		"grant":           "give the card to the person for whom it waits",
		"after":           "what the page before ended with; left out: the first page",
		"verb":            "a verb such as card.bind; left out: the names of all",
		"key":             "the public part of a feed key",
		"number":          "the feed entry at which the effect is complete",
		"changed":         "how much it changed; left out: it was so already",
		"result":          "what it has come to",
		"code":            "code of a refusal; codes never change meaning",
		"zh":              "the text in Chinese",
		"en":              "the text in English",
		"detail":          "what is wrong with this request and what to do next",
		"bound":           "rows that were bound or changed",
		"ended":           "bindings that have ended",
		"conflicts":       "rows that go before a human",
		"accepted":        "reports that took effect",
		"rejected":        "rows that were rejected",
		"more":            "there is more: ask again",
		"row":             "number of the row, from 1",
		"next":            "the after of the next page; left out: this is the last",
		"reason":          "owner: another person has the card; slot: its buyer has no room for it yet",
		"waiting":         "it waits for a slot",
		"since":           "an instant, RFC 3339",
		"source":          "how the binding came to be",
		"cases":           "what waits",
	}
}
