package simulator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"gateline/central"
	"gateline/central/rules"
	"gateline/gateway"
)

// Notice is the story of scenario notice.
type Notice struct {
	Steps []NoticeStep `json:"steps"`
}

// NoticeStep shows one answer or reminder of the public notice of 2022-05-31.
type NoticeStep struct {
	// Step is Q1 … Q15, S0 for the 48 hours in the notice's first lines, or S4 for
	// its reminders.
	Step string `json:"step"`
	// At is when it begins, by the story's clock.
	At time.Time `json:"at"`
	ZH string    `json:"zh"`
	EN string    `json:"en"`
	// Rules are those that the step shows, such as UPG-05.
	Rules []string    `json:"rules"`
	Acts  []NoticeAct `json:"acts"`
}

// NoticeAct is something that was done, and what came of it.
type NoticeAct struct {
	Did string `json:"did"`
	// By is the channel and its verb, or the gate and the purpose of the tap;
	// empty where nobody was asked, in a remark.
	By string `json:"by,omitempty"`
	// Want is what the rules have, Got what came: of a channel a result or a code,
	// of a gate the verdict and its reason, which a rider is not shown.
	Want string `json:"want,omitempty"`
	Got  string `json:"got,omitempty"`
	// ZH and EN are what the rider saw; empty where there is nothing to read.
	ZH string `json:"zh,omitempty"`
	EN string `json:"en,omitempty"`
	OK bool   `json:"ok"`
}

// storyClock is the clock of centre and box in a story: it runs as the machine's
// does, from another instant on, and can be set forward.
type storyClock struct {
	ahead atomic.Int64 // nanoseconds that it is ahead of the machine's
}

func (c *storyClock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *storyClock) set(t time.Time) { c.ahead.Store(int64(time.Until(t))) }

// nudge is how far the clock may be set forward while the centre runs, which does
// not believe one that jumps by a minute.
const nudge = 55 * time.Second

// shanghai is an instant of 2022.
func shanghai(month time.Month, day, hour, minute, second int) time.Time {
	return time.Date(2022, month, day, hour, minute, second, 0, gateway.Zone)
}

// teller plays the story and notes what comes of it. After an error of the world
// it does nothing any more.
type teller struct {
	w      *world
	clock  *storyClock
	report *Report
	err    error

	// number is the feed entry at which all that was asked is complete.
	number uint64
	// silent says that the centre is stopped: the box hears nothing.
	silent bool
	// seed stands in every number.
	seed uint64
}

// runNotice plays the answers and reminders of the public notice of 2022-05-31.
func runNotice(ctx context.Context, cfg Config) (*Report, error) {
	return playNotice(ctx, cfg, rules.DefaultRules())
}

// playNotice is runNotice with rules at the centre that may be others than those
// by which the story goes.
func playNotice(ctx context.Context, cfg Config, r *rules.Rules) (report *Report, err error) {
	n := &teller{clock: &storyClock{}, report: newReport(cfg.Scenario, cfg.Seed), seed: cfg.Seed % 1_000_000}
	n.report.Notice = &Notice{}
	n.clock.set(storyBegins())
	// One gate, and the box's other line is a top-up machine.
	n.w, err = openWorld(ctx, worldConfig{gates: 2, baud: cfg.Baud, seed: cfg.Seed, log: cfg.Log, late: true, now: n.clock.now, rules: r})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.w.close()) }()
	n.policy()
	scenes := noticeScenes()
	for i, scene := range scenes {
		cfg.Progress("scenes", i, len(scenes))
		scene(n)
	}
	if n.err == nil {
		n.err = n.w.caughtUp(n.w.centre.FeedNumber(), catchUpLimit)
	}
	if n.err != nil {
		return nil, n.w.cause(n.err)
	}
	cfg.Progress("scenes", len(scenes), len(scenes))
	n.report.Equal, _, err = n.w.equal()
	return n.report, err
}

// policy stages the document of the story: 48 hours, checked at this station from
// 2022-05-28 on, and top-ups by TOP-01.
func (n *teller) policy() {
	doc := gateway.DefaultPolicy(shanghai(5, 28, 0, 0, 0))
	doc.TopUpFrom = shanghai(6, 1, 0, 0, 0)
	done, err := n.w.client.SetPolicy(n.w.ctx, doc)
	if err != nil {
		n.fail("set the story's policy", err)
	}
	n.number = done.Number
}

func (n *teller) fail(what string, err error) {
	if n.err == nil && err != nil {
		n.err = fmt.Errorf("%s: %w", what, err)
	}
}

// at sets the clock forward to t, stops the centre meanwhile where it has to, and
// waits until the box knows the time.
func (n *teller) at(t time.Time) {
	if n.err != nil {
		return
	}
	if n.silent || t.Sub(n.clock.now()) > nudge {
		n.hush(t)
		n.fail("start the centre again", n.w.startCentre())
		n.silent = false
	} else {
		n.clock.set(t)
	}
	if n.err == nil && n.w.box != nil {
		n.fail("the story at "+t.Format(time.DateTime), n.w.poll(catchUpLimit, "the box to hear the time", func() bool { return !n.w.box.Position().Time().Before(t) }))
	}
}

// hush sets the clock forward to t with the centre stopped, and leaves it so.
func (n *teller) hush(t time.Time) {
	if n.err != nil {
		return
	}
	n.fail("stop the centre", n.w.stopCentre())
	n.clock.set(t)
	n.silent = true
}

// step begins a step.
func (n *teller) step(name, zh, en string, of ...string) {
	n.report.Notice.Steps = append(n.report.Notice.Steps, NoticeStep{Step: name, At: n.clock.now().Truncate(time.Second).In(gateway.Zone), ZH: zh, EN: en, Rules: of})
}

// remark tells something that nobody is asked about.
func (n *teller) remark(text string) { n.note(NoticeAct{Did: text, OK: true}) }

// note adds an act to the step that is played.
func (n *teller) note(a NoticeAct) {
	s := &n.report.Notice.Steps[len(n.report.Notice.Steps)-1]
	s.Acts = append(s.Acts, a)
	n.report.need(a.OK, fmt.Sprintf("%s: %s (%s): expected %s, came %s", s.Step, a.Did, a.By, a.Want, a.Got))
}

// ask lets a channel ask the registry.
func (n *teller) ask(did string, channel rules.Channel, verb string, q any, want string) {
	if n.err != nil {
		return
	}
	reply, err := central.NewChannel(n.w.conn, channel).Do(n.w.ctx, verb, q)
	a := NoticeAct{Did: did, By: string(channel) + " " + verb, Want: want}
	var refusal *central.Refusal
	switch {
	case errors.As(err, &refusal):
		a.Got, a.ZH, a.EN = string(refusal.Code), refusal.ZH, refusal.EN
	case err != nil:
		n.fail(did, err)
		return
	default:
		n.number = max(n.number, reply.Number)
		a.Got = outcomeText(&reply)
		a.ZH = shownKinds(&reply)
	}
	n.judge(a, a.Got)
}

// judge notes an act, with what is shown for it compared to the public wording,
// and reports whether it came as it should.
func (n *teller) judge(a NoticeAct, shown string) bool {
	if text, known := noticeTexts()[shown]; known && text != a.ZH {
		a.Got += " with the text " + a.ZH
	}
	a.OK = a.Got == a.Want
	n.note(a)
	return a.OK
}

// outcomeText is what an accepted request came to, in one line.
func outcomeText(r *central.RegistryReply) string {
	text := string(r.Result)
	for _, c := range []struct {
		n    uint16
		what string
	}{{r.Bound, "bound"}, {r.Ended, "ended"}, {r.Conflicts, "in conflict"}, {r.Accepted, "accepted"}, {r.Rejected, "rejected"}} {
		if c.n > 0 {
			text += fmt.Sprintf(", %d %s", c.n, c.what)
		}
	}
	for _, row := range r.Rows {
		text += fmt.Sprintf(", row %d %s", row.Row, row.Result)
		if row.Code != "" {
			text += " " + string(row.Code)
		}
	}
	if r.Kind != nil {
		text += ", " + r.Kind.Name
	}
	var bindings []string
	for _, b := range r.Bindings {
		state := string(b.Source)
		if b.Waiting {
			state = "waiting"
		}
		bindings = append(bindings, ", "+b.Name+" "+state)
	}
	slices.Sort(bindings)
	for _, b := range bindings {
		text += b
	}
	if len(r.Helped) > 0 {
		text += fmt.Sprintf(", %d helped", len(r.Helped))
	}
	if s := r.Stats; s != nil {
		text += fmt.Sprintf(", %d persons, %d bindings, %d waiting", s.Persons, s.Bindings, s.Cases)
	}
	return text
}

// shownKinds is what the rider reads of kinds of cards, which have Chinese names.
func shownKinds(r *central.RegistryReply) string {
	var names []string
	if r.Kind != nil {
		names = append(names, r.Kind.ZH)
	}
	for _, b := range r.Bindings {
		names = append(names, b.ZH)
	}
	slices.Sort(names)
	return strings.Join(names, "、")
}

// tap lets a rider tap at the gate, or at the station's top-up machine, once the
// box knows all that was asked before, where it can know.
func (n *teller) tap(did, credential string, purpose gateway.Purpose, want string) {
	if n.err != nil {
		return
	}
	if !n.silent {
		n.fail(did, n.w.caughtUp(n.number, catchUpLimit))
	}
	var c gateway.Credential // unreadable
	if credential != "" {
		var err error
		c, err = gateway.ParseCredential(credential)
		n.fail(did, err)
	}
	place := 0
	if purpose == gateway.PurposeTopUp {
		place = 1
	}
	if n.err != nil {
		return
	}
	t := tapRecord{purpose: purpose, before: n.w.box.Position()}
	answer, err := n.w.gates[place].(*gate).present(n.w.ctx, c, &t)
	if err != nil {
		n.fail(did, err)
		return
	}
	n.count(&t)
	a := NoticeAct{Did: did, By: [...]string{"gate ", "top-up machine "}[place] + purpose.String(), Want: want, Got: "no answer"}
	if !t.answered {
		n.judge(a, "")
		return
	}
	texts := gateway.DefaultTexts()
	text := texts.Text(answer, purpose)
	a.Got, a.ZH, a.EN = answer.Verdict.String()+" "+answer.Reason.String(), text.ZH, text.EN
	if a.By == "gate entry" && answer.Verdict == gateway.VerdictPass {
		a.EN = "the door opens"
	}
	shown := answer.Verdict.String()
	if purpose == gateway.PurposeTopUp {
		shown += " top-up"
	}
	if answer.Lamp {
		a.Got += " lamp"
	}
	if answer.Open != (answer.Verdict == gateway.VerdictPass) {
		a.Got += fmt.Sprintf(" with door open %v", answer.Open)
	}
	if !n.judge(a, shown) {
		n.report.Wrong++
	}
}

// count counts a tap in the report.
func (n *teller) count(t *tapRecord) {
	r := n.report
	r.Taps++
	if !t.answered {
		r.Lost++
		return
	}
	r.Answered++
	r.Verdicts[t.got.verdict.String()]++
	r.Reasons[t.got.reason.String()]++
}
