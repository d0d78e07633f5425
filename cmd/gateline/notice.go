package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"gateline/simulator"
)

// noticeColumns is the width of a terminal that shows the story of scenario
// notice without breaking its lines.
const noticeColumns = 100

// printNotice prints the story of scenario notice, step by step.
func printNotice(out io.Writer, r *simulator.Report) {
	const about = "The public notice of 2022-05-31, played in a virtual city: channels ask the registry of a real centre, riders tap at a gate of a real box. " +
		"Both go by the story's clock: it runs as the machine's does and is set forward between scenes, the centre being stopped where that is more than a minute. " +
		"The station has checked since 2022-05-28, as one of the first; the others begin in June."
	for _, line := range wrap(about, noticeColumns) {
		fmt.Fprintln(out, line)
	}
	acts := 0
	for _, s := range r.Notice.Steps {
		fmt.Fprintln(out)
		name := s.Step
		for _, line := range append(wrap(s.ZH+" "+s.EN, noticeColumns-4), wrap(s.At.Format("2006-01-02 15:04")+" "+strings.Join(s.Rules, " "), noticeColumns-4)...) {
			fmt.Fprintf(out, "%-4s%s\n", name, line)
			name = ""
		}
		for _, a := range s.Acts {
			printAct(out, a)
			if a.By != "" {
				acts++
			}
		}
	}
	fmt.Fprintln(out)
	row := rowsTo(out)
	row(r.Scenario, "%d steps: %d questions to channels and %d taps", len(r.Notice.Steps), acts-r.Taps, r.Taps)
	row("differences", "%d from the rules", len(r.Unmet))
	row("box = centre", "%v", r.Equal)
}

// printAct prints what was done, and below it what came of it.
func printAct(out io.Writer, a simulator.NoticeAct) {
	for _, line := range wrap(a.Did, noticeColumns-2) {
		fmt.Fprintf(out, "  %s\n", line)
	}
	if a.By == "" {
		return
	}
	came := fmt.Sprintf("%s → %s", a.By, a.Got)
	if !a.OK {
		came += ", EXPECTED " + a.Want
	}
	lines := wrap(came, noticeColumns-6)
	for _, text := range []string{a.ZH, a.EN} {
		switch last := &lines[len(lines)-1]; {
		case text == "":
		case width(*last)+2+width(text) <= noticeColumns-6:
			*last += "  " + text
		default:
			for _, line := range wrap(text, noticeColumns-8) {
				lines = append(lines, "  "+line)
			}
		}
	}
	for _, line := range lines {
		fmt.Fprintf(out, "      %s\n", line)
	}
}

// wrap breaks a text at blanks into lines of so many columns.
func wrap(text string, most int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && width(line)+1+width(word) > most {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// width is how many columns of a terminal a text takes: two for each Chinese
// character and wide sign.
func width(text string) (n int) {
	for _, r := range text {
		if n++; unicode.Is(unicode.Han, r) || r >= '\u3000' && r <= '\u303f' || r >= '\uff00' && r <= '\uff60' {
			n++
		}
	}
	return n
}
