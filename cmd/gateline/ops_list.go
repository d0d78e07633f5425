package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"gateline/central"
	"gateline/central/rules"
)

// listed is what became of a list.
type listed struct {
	Rows      int  `json:"rows"`    // read, without the header
	Bound     int  `json:"bound"`   // in a dry run: would be sent as they are
	Already   int  `json:"already"` // stood so before
	Conflicts int  `json:"conflicts"`
	Rejected  int  `json:"rejected"`
	DryRun    bool `json:"dry_run,omitempty"`
	// Faults are the rows that were rejected or wait for a human, the first
	// maxRejectsShown.
	Faults []listFault `json:"faults,omitempty"`
}

// listFault is one row that was not taken.
type listFault struct {
	Line   int          `json:"line"`
	Result rules.Result `json:"result"`
	problem
}

func newList(o *ops) *cobra.Command {
	c := group("list", "Deliver lists of authorities and schools",
		newListFile(o, "concession", "Deliver a list of concession cards", "of an authority's concession cards", false),
		newListFile(o, "students", "Deliver a school's batch of student cards", "of a school's student cards, each with a guardian's authorisation", true),
		newListEnd(o), newListExpire(o))
	o.backOffice(c)
	return c
}

const aboutLists = `The first line names the columns, in any order: credential, person (an opaque id) or
document and number (an identity document, such as passport), valid_to (the card's
last day, empty = no end), guardian or guardian_document and guardian_number.

--list is the number of the list, from 1. With --full RUN the file is a full delivery,
RUN counting those of this list from 1; once every row is right, 'gateline ops list
end' ends the bindings that it does not name. A full list may come in several files
under one RUN. Without --full the file only adds.

A row that cannot be taken is rejected by its line and the others are taken, in
batches. A card that somebody else has is a conflict: it stays with that person until
'gateline ops conflict resolve'. The same file may be delivered again without harm.
--dry-run checks the form and the kind of every row by the rules that this program
knows, or by those of the file that --rules names, and does not ask the centre.

Exit status 1 where a row was rejected or is a conflict.`

func newListFile(o *ops, name, short, what string, students bool) *cobra.Command {
	var q central.ListRequest
	var dryRun bool
	var rulesFile string
	c := &cobra.Command{
		Use:     name + " FILE.csv|- --list N [--full RUN]",
		Short:   short,
		Long:    "Delivers a list " + what + ", from a CSV file, - for standard input.\n" + aboutLists,
		Example: "  gateline ops list " + name + " cards.csv --list 1 --full 7 --dry-run",
		Args:    cobra.ExactArgs(1),
		RunE: o.run(func(cmd *cobra.Command, args []string) (answer, error) {
			switch {
			case !cmd.Flags().Changed("list") || q.List == 0:
				return answer{}, errUsage{fmt.Errorf("%s needs --list, the number of the list from 1", cmd.CommandPath())}
			case cmd.Flags().Changed("full") && q.Run == 0:
				return answer{}, errUsage{errors.New("--full 0: full deliveries are numbered from 1; leave it out for one that only adds")}
			}
			in, file, total, err := openRows(inputOf(cmd), args[0])
			if err != nil {
				return answer{}, err
			}
			defer in.Close()
			rows, err := newRowReader(in, listColumns(), "credential")
			if err != nil {
				return answer{}, fmt.Errorf("%s: %w", file, err)
			}
			judge, err := central.FileConfig{RulesFile: rulesFile}.Rules()
			if err != nil {
				return answer{}, err
			}
			l := &lister{name: file, to: q, rows: listReader{rowReader: rows, students: students}, total: total,
				errOut: cmd.ErrOrStderr(), bar: newBar(cmd.ErrOrStderr(), total > 0)}
			if l.DryRun = dryRun; dryRun {
				l.rows.rules, l.rows.now = judge, time.Now()
				return l.answer(l.run(cmd.Context()))
			}
			return l.answer(o.askRegistry(cmd, 0, func(ctx context.Context, c *central.Channel) error {
				l.deliver = c.ListConcession
				if students {
					l.deliver = c.ListStudents
				}
				return l.run(ctx)
			}))
		}),
	}
	c.Flags().Uint8Var(&q.List, "list", 0, "number of the list, 1 to 255")
	c.Flags().Uint32Var(&q.Run, "full", 0, "a full delivery, and its number")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only check the rows; the centre is not asked")
	c.Flags().StringVar(&rulesFile, "rules", "", "with --dry-run: the centre's file of rules, where it has one")
	return c
}

// lister delivers the rows of one file.
type lister struct {
	listed
	name    string
	to      central.ListRequest // without rows
	rows    listReader
	total   int // lines of the file, 0 = not known
	deliver func(context.Context, central.ListRequest) (central.RegistryReply, error)
	errOut  io.Writer
	bar     *bar

	batch  []listedRow
	number uint64
}

// run delivers everything; it stops where the centre cannot be asked, and at the
// end of ctx.
func (l *lister) run(ctx context.Context) error {
	defer l.bar.end()
	for ctx.Err() == nil {
		row, err := l.rows.next()
		var wrong *rowError
		switch {
		case errors.Is(err, io.EOF):
			err := l.flush(ctx)
			if err == nil && l.total > rules.MaxRows {
				l.bar.show("list", l.total, l.total)
			}
			return err
		case errors.As(err, &wrong):
			l.Rows++
			l.reject(wrong.line, wrong)
		case err != nil:
			return errors.Join(fmt.Errorf("%s: %w", l.name, err), l.flush(ctx))
		default:
			l.Rows++
			l.batch = append(l.batch, row)
		}
		if len(l.batch) == rules.MaxRows {
			if err := l.flush(ctx); err != nil {
				return err
			}
			if l.total > 0 {
				l.bar.show("list", l.rows.line, l.total)
			}
		}
	}
	return ctx.Err()
}

// flush delivers the batch. The centre answers each row for itself.
func (l *lister) flush(ctx context.Context) error {
	batch := l.batch
	l.batch = l.batch[:0]
	if len(batch) == 0 {
		return nil
	}
	var reply central.RegistryReply
	if l.DryRun {
		reply = dryReply(batch)
	} else {
		q := l.to
		for i := range batch {
			q.Rows = append(q.Rows, batch[i].row)
		}
		err := whileBusy(ctx, func() (err error) {
			reply, err = l.deliver(ctx, q)
			return err
		})
		if err != nil {
			return fmt.Errorf("lines %d to %d of %s: %w", batch[0].line, batch[len(batch)-1].line, l.name, err)
		}
	}
	l.number = max(l.number, reply.Number)
	l.Bound += int(reply.Bound)
	l.Already += len(batch) - int(reply.Bound) - int(reply.Conflicts) - int(reply.Rejected)
	for _, r := range reply.Rows {
		if r.Row < 1 || r.Row > len(batch) {
			return fmt.Errorf("%s: the centre answers for row %d of %d; use the same version on both sides", l.name, r.Row, len(batch))
		}
		l.take(batch[r.Row-1], r)
	}
	return nil
}

// dryReply is what the centre would say as far as the rows alone show it.
func dryReply(batch []listedRow) (reply central.RegistryReply) {
	for i := range batch {
		if batch[i].fault == nil {
			reply.Bound++
			continue
		}
		reply.Rejected++
		reply.Rows = append(reply.Rows, central.RowReply{Row: i + 1, Result: rules.ResultRejected})
	}
	return reply
}

// take notes the answer to one row that was not simply taken.
func (l *lister) take(row listedRow, r central.RowReply) {
	switch {
	case r.Result == rules.ResultConflict:
		l.Conflicts++
		l.note(listFault{Line: row.line, Result: r.Result}, "another person has this card: decide with 'gateline ops conflict resolve'")
	case r.Result != rules.ResultRejected:
	case row.fault != nil:
		l.reject(row.line, row.fault)
	default:
		zh, en := r.Code.Texts()
		l.reject(row.line, &central.Refusal{Code: r.Code, ZH: zh, EN: en, Detail: r.Detail})
	}
}

func (l *lister) reject(line int, err error) {
	l.Rejected++
	l.note(listFault{Line: line, Result: rules.ResultRejected, problem: newProblem(err)}, err)
}

// note tells of one row.
func (l *lister) note(f listFault, why any) {
	switch told := l.Rejected + l.Conflicts; {
	case told <= maxRejectsShown:
		l.bar.end()
		l.Faults = append(l.Faults, f)
		fmt.Fprintf(l.errOut, "%s:%d: %v\n", l.name, f.Line, why)
	case told == maxRejectsShown+1:
		l.bar.end()
		fmt.Fprintf(l.errOut, "%s: further rows are only counted\n", l.name)
	}
}

// answer says what became of the list, also where it ended early.
func (l *lister) answer(err error) (answer, error) {
	slices.SortFunc(l.Faults, func(a, b listFault) int { return a.Line - b.Line }) // the centre's come later
	a := answer{Number: l.number, List: &l.listed}
	if l.DryRun {
		a.text = fmt.Sprintf("%s would be delivered, %d rejected", counted(l.Bound, "row"), l.Rejected)
	} else {
		a.text = fmt.Sprintf("%s bound or changed, %d as before, %s, %d rejected (feed number %d)",
			counted(l.Bound, "row"), l.Already, counted(l.Conflicts, "conflict"), l.Rejected, l.number)
	}
	switch {
	case err != nil && l.Bound+l.Already+l.Conflicts+l.Rejected == 0:
		a.text = "" // nothing is known to have come of it
		return a, err
	case err != nil:
		return a, fmt.Errorf("the delivery ended early: %w; deliver the same file again, that does no harm", err)
	}
	if l.to.Run > 0 && !l.DryRun {
		next := fmt.Sprintf("gateline ops list end --list %d --run %d", l.to.List, l.to.Run)
		if l.Rejected > 0 {
			a.text += fmt.Sprintf("\nnext: correct the rejected rows and deliver them with --full %d, then '%s'", l.to.Run, next)
		} else {
			a.text += fmt.Sprintf("\nnext: once the whole list is delivered, '%s'", next)
		}
	}
	if l.Rejected+l.Conflicts > 0 {
		return a, errReported
	}
	return a, nil
}

func newListEnd(o *ops) *cobra.Command {
	var q central.ListEndRequest
	c := &cobra.Command{
		Use:   "end --list N --run RUN [--most M]",
		Short: "Close a full delivery: end the bindings that it has not named",
		Long: "Closes a full delivery of a list: the list's bindings that it has not named end. A\n" +
			"list that would end more than --most is taken for a damaged one and refused, and the\n" +
			"refusal says how many it would be: without --most, one ends nothing and is told.",
		Args: cobra.NoArgs,
		RunE: o.run(func(cmd *cobra.Command, _ []string) (answer, error) {
			if err := need(cmd, "list", "run"); err != nil {
				return answer{}, err
			}
			a, err := o.endSome(cmd, func(ctx context.Context, c *central.Channel, ended int) (central.RegistryReply, error) {
				left := q
				left.Most -= ended // what has ended counts
				return c.ListEnd(ctx, left)
			})
			a.tell("ended: %d", "nothing to do: ended %d, the delivery has named all", a.Ended)
			return a, err
		}),
	}
	c.Flags().Uint8Var(&q.List, "list", 0, "number of the list, 1 to 255")
	c.Flags().Uint32Var(&q.Run, "run", 0, "number of the full delivery, as in --full")
	c.Flags().IntVar(&q.Most, "most", 0, "how many bindings may end")
	return c
}

func newListExpire(o *ops) *cobra.Command {
	return &cobra.Command{
		Use:   "expire",
		Short: "End the bindings whose last day is over",
		Long: "Ends the bindings of all lists whose last day (valid_to) is over, in Asia/Shanghai. A\n" +
			"card that is good for another while has to be delivered again with its new day before.\n" +
			"Let a timer give this command once a day; it may be repeated without harm.",
		Args: cobra.NoArgs,
		RunE: o.run(func(cmd *cobra.Command, _ []string) (answer, error) {
			a, err := o.endSome(cmd, func(ctx context.Context, c *central.Channel, _ int) (central.RegistryReply, error) {
				return c.ListExpire(ctx, central.ListExpireRequest{})
			})
			a.tell("ended: %d", "nothing to do: ended %d, no last day is over", a.Ended)
			return a, err
		}),
	}
}

// endSome asks until the centre says that nothing is left: it ends some at a time. ask
// is told how many have ended so far.
func (o *ops) endSome(cmd *cobra.Command, ask func(ctx context.Context, c *central.Channel, ended int) (central.RegistryReply, error)) (answer, error) {
	a := answer{Result: rules.ResultAlready}
	err := o.askRegistry(cmd, 0, func(ctx context.Context, c *central.Channel) error {
		for more := true; more; {
			var reply central.RegistryReply
			err := whileBusy(ctx, func() (err error) {
				reply, err = ask(ctx, c, a.Ended)
				return err
			})
			if err != nil && a.Ended > 0 {
				return fmt.Errorf("%s ended, not all: %w; do the same again, that does no harm", counted(a.Ended, "binding"), err)
			}
			if err != nil {
				return err
			}
			a.Number, a.Ended, more = reply.Number, a.Ended+int(reply.Ended), reply.More && reply.Ended > 0
			if reply.Result != rules.ResultAlready {
				a.Result = reply.Result
			}
		}
		return nil
	})
	return a, err
}
