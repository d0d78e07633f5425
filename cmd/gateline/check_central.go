package main

import (
	"errors"
	"io"
	"strings"
	"time"

	"gateline/central"
	"gateline/central/rules"
	"gateline/gateway/station"
)

// checkCentral checks the configuration of a centre and the files that it names,
// without opening ledger or feed: it may be run beside the running centre.
func checkCentral(out io.Writer, env environment, path string) error {
	file, err := loadCentral(env, path)
	if err != nil {
		return printFindings(out, faultsOf(err))
	}
	found := []station.Finding{{Level: station.LevelOK, Thing: "configuration", Text: path}}
	add := func(thing string, err error, ok string) {
		if err == nil {
			found = append(found, station.Finding{Level: station.LevelOK, Thing: thing, Text: ok})
			return
		}
		for line := range strings.Lines(err.Error()) {
			found = append(found, station.Finding{Level: station.LevelFault, Thing: thing, Text: strings.TrimSpace(line)})
		}
	}
	r, err := file.Rules()
	said := ""
	if err == nil {
		said = rulesSaid(file, r, time.Now())
	}
	add("rules", err, said)
	file.RulesFile = "" // its faults are told already
	_, err = file.Config()
	add("keys and lists", err, "can be read")
	return printFindings(out, found)
}

// rulesSaid says in a line which rules a centre would be started with.
func rulesSaid(file central.FileConfig, r *rules.Rules, now time.Time) string {
	from := "built in"
	if file.RulesFile != "" {
		from = file.RulesFile
	}
	later := len(r.Quotas.After(now)) + len(r.Kinds.After(now)) + len(r.Channels.After(now)) + len(r.Consents.After(now)) + len(r.DayRules.After(now))
	return from + ", " + counted(later, "term") + " pre-staged"
}

// errOneOf refuses a check of a box and of a centre at once.
var errOneOf = errUsage{errors.New("--config is a box's and --central a centre's: give one of them")}
