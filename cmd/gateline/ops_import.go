package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"gateline/central"
	"gateline/gateway"
)

const (
	// maxRejectsShown bounds how many rejected rows are told one by one.
	maxRejectsShown = 1000
	// busyAttempts is how often a batch is sent while the centre says that it
	// is busy; the pause between them doubles from busyFirst, 6 s in all.
	busyAttempts = 7
	busyFirst    = 100 * time.Millisecond
)

// imported is what became of an import.
type imported struct {
	Rows     int      `json:"rows"`     // read, without the header
	Accepted int      `json:"accepted"` // by the centre; in a dry run by this check
	Rejected int      `json:"rejected"`
	DryRun   bool     `json:"dry_run,omitempty"`
	Rejects  []reject `json:"rejects,omitempty"` // the first maxRejectsShown
}

// reject is one rejected row.
type reject struct {
	Line int `json:"line"`
	problem
}

func newImport(o *ops) *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use:   "import FILE.csv|-",
		Short: "Bind credentials and report statuses from a CSV file",
		Long: "Reads rows from a CSV file, - for standard input. The first line names the columns,\n" +
			"in any order: credential, person, class, anchor, hold_through, minute. Only person\n" +
			"is required; each row has a credential to bind, a status to report, or both.\n\n" +
			"A row that is wrong is rejected by its line and the others are imported, in batches.\n" +
			"The same file may be imported again without harm.\n\nExit status 1 where a row was rejected.",
		Args: cobra.ExactArgs(1),
		RunE: o.run(func(cmd *cobra.Command, args []string) (answer, error) {
			in, name, total, err := openRows(inputOf(cmd), args[0])
			if err != nil {
				return answer{}, err
			}
			defer in.Close()
			rows, err := newRowReader(in, importColumns(), "person")
			if err != nil {
				return answer{}, fmt.Errorf("%s: %w", name, err)
			}
			i := &importer{name: name, rows: rows, total: total, errOut: cmd.ErrOrStderr(), bar: newBar(cmd.ErrOrStderr(), total > 0)}
			i.DryRun = dryRun
			if dryRun {
				err = i.run(cmd.Context())
			} else {
				err = o.ask(cmd, 0, func(ctx context.Context, c *central.Client) error {
					i.client = c
					return i.run(ctx)
				})
			}
			return i.answer(err)
		}),
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only check the rows; the centre is not asked")
	return c
}

// openRows opens the file and counts its lines; 0 where that cannot be known
// before.
func openRows(in io.Reader, path string) (file io.ReadCloser, name string, lines int, err error) {
	if path == "-" {
		return io.NopCloser(in), "standard input", 0, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, "", 0, fmt.Errorf("import: %w: give the path of a CSV file, or - for standard input", err)
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return f, path, 0, nil // a pipe is read once
	}
	if lines, err = countLines(f); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, "", 0, errors.Join(fmt.Errorf("import: %w", err), f.Close())
	}
	return f, path, lines, nil
}

// importer sends the rows of one file.
type importer struct {
	imported
	name   string
	rows   *rowReader
	total  int // lines of the file, 0 = not known
	client *central.Client
	errOut io.Writer
	bar    *bar

	batch   []numbered
	number  uint64
	changed int
}

// numbered is a row with the line it stands on.
type numbered struct {
	line int
	row  central.Row
}

// run imports everything; it stops where the centre cannot be asked, and at
// the end of ctx.
func (i *importer) run(ctx context.Context) error {
	defer i.bar.end()
	for ctx.Err() == nil {
		row, err := i.rows.next()
		var wrong *rowError
		switch {
		case errors.Is(err, io.EOF):
			err := i.flush(ctx)
			if err == nil && i.total > gateway.MaxChanges {
				i.bar.show("import", i.total, i.total)
			}
			return err
		case errors.As(err, &wrong):
			i.Rows++
			i.reject(wrong.line, wrong)
		case err != nil:
			return errors.Join(fmt.Errorf("%s: %w", i.name, err), i.flush(ctx))
		default:
			i.Rows++
			i.batch = append(i.batch, row)
		}
		if len(i.batch) == gateway.MaxChanges {
			if err := i.flush(ctx); err != nil {
				return err
			}
			if i.total > 0 {
				i.bar.show("import", i.rows.line, i.total)
			}
		}
	}
	return ctx.Err()
}

func (i *importer) flush(ctx context.Context) error {
	batch := i.batch
	i.batch = i.batch[:0]
	if i.DryRun {
		i.Accepted += len(batch)
		return nil
	}
	return i.send(ctx, batch)
}

// send sends rows. The centre takes all of them or none, so where it refuses
// them they are halved until the rows at fault stand alone.
func (i *importer) send(ctx context.Context, batch []numbered) error {
	if len(batch) == 0 {
		return nil
	}
	done, err := i.request(ctx, batch)
	var refusal *central.Refusal
	switch {
	case err == nil:
		i.Accepted += len(batch)
		i.changed += done.Changed
		i.number = max(i.number, done.Number)
		return nil
	case !errors.As(err, &refusal) || refusal.Code == central.CodeBusy:
		return fmt.Errorf("lines %d to %d of %s: %w", batch[0].line, batch[len(batch)-1].line, i.name, err)
	case len(batch) == 1:
		i.reject(batch[0].line, refusal)
		return nil
	}
	half := len(batch) / 2
	if err := i.send(ctx, batch[:half]); err != nil {
		return err
	}
	return i.send(ctx, batch[half:])
}

// request asks the centre once, and again while it is busy.
func (i *importer) request(ctx context.Context, batch []numbered) (done central.Done, err error) {
	rows := make([]central.Row, len(batch))
	for n := range batch {
		rows[n] = batch[n].row
	}
	err = whileBusy(ctx, func() (err error) {
		done, err = i.client.Import(ctx, rows)
		return err
	})
	return done, err
}

// whileBusy asks, and again while the centre says that it is busy, with growing
// pauses between.
func whileBusy(ctx context.Context, ask func() error) (err error) {
	wait := busyFirst
	for range busyAttempts {
		if err = ask(); !busy(err) || !pause(ctx, wait) {
			break
		}
		wait *= 2
	}
	return err
}

// busy reports whether the centre said that it cannot take the request now.
func busy(err error) bool {
	var refusal *central.Refusal
	return errors.As(err, &refusal) && refusal.Code == central.CodeBusy
}

func (i *importer) reject(line int, err error) {
	i.Rejected++
	switch {
	case i.Rejected <= maxRejectsShown:
		i.bar.end()
		i.Rejects = append(i.Rejects, reject{line, newProblem(err)})
		fmt.Fprintf(i.errOut, "%s:%d: %v\n", i.name, line, err)
	case i.Rejected == maxRejectsShown+1:
		i.bar.end()
		fmt.Fprintf(i.errOut, "%s: further rejected rows are only counted\n", i.name)
	}
}

// answer says what became of the import, also where it ended early.
func (i *importer) answer(err error) (answer, error) {
	slices.SortFunc(i.Rejects, func(a, b reject) int { return a.Line - b.Line }) // the centre's come later
	a := answer{Number: i.number, Changed: i.changed, Import: &i.imported}
	verb := "imported"
	if i.DryRun {
		verb = "would be imported"
	}
	a.text = fmt.Sprintf("%s %s, %d rejected", counted(i.Accepted, "row"), verb, i.Rejected)
	if !i.DryRun {
		a.text += fmt.Sprintf(", %s", counted(i.changed, "change"))
	}
	if i.number > 0 {
		a.text += fmt.Sprintf(" (feed number %d)", i.number)
	}
	switch {
	case err != nil && i.Rows == 0:
		a.text = "" // nothing came of it
	case err != nil:
		return a, fmt.Errorf("the import ended early: %w; import the same file again, that does no harm", err)
	case i.Rejected > 0:
		return a, errReported
	}
	return a, err
}
