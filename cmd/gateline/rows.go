package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"gateline/central"
	"gateline/gateway"
)

// maxRowBytes bounds a line of a CSV file.
const maxRowBytes = 4096

// importColumns returns the columns that the file of an import may have.
func importColumns() []string {
	return []string{"credential", "person", "class", "anchor", "hold_through", "minute"}
}

// rowError rejects one row. Its text never repeats what stands in the row.
type rowError struct {
	line int
	text string
}

func (e *rowError) Error() string { return e.text }

// rowReader reads the rows of a CSV file, each on a line of its own.
type rowReader struct {
	in   *bufio.Reader
	line int // the last one read
	// order holds the name of each column of the file.
	order []string
}

// newRowReader reads the header, which names some of the columns, the required ones
// among them. The error never repeats the line: it may be that of a file without a
// header.
func newRowReader(in io.Reader, columns []string, required ...string) (*rowReader, error) {
	r := &rowReader{in: bufio.NewReaderSize(in, maxRowBytes)}
	header, err := r.fields()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("there is nothing in it: the first line names the columns " + strings.Join(columns, ","))
	}
	if err != nil {
		return nil, fmt.Errorf("line 1, the header: %w", err)
	}
	for i, name := range header {
		if i == 0 {
			name = strings.TrimPrefix(name, "\ufeff") // Excel writes it
		}
		name = strings.ToLower(strings.TrimSpace(name))
		switch {
		case !slices.Contains(columns, name):
			return nil, fmt.Errorf("line 1 is no header: column %d is none of %s; name the columns in the first line, separated by commas", i+1, strings.Join(columns, ", "))
		case slices.Contains(r.order, name):
			return nil, fmt.Errorf("line 1: column %s is there twice; drop one", name)
		}
		r.order = append(r.order, name)
	}
	for _, name := range required {
		if !slices.Contains(r.order, name) {
			return nil, fmt.Errorf("line 1: there is no column %s; add it", name)
		}
	}
	return r, nil
}

// next returns the next row; io.EOF at the end, a *rowError for a row that is
// rejected, after which next may be called again.
func (r *rowReader) next() (numbered, error) {
	fields, err := r.cells()
	if err != nil {
		return numbered{}, err
	}
	row := central.Row{}
	for i, text := range fields {
		switch r.order[i] {
		case "credential":
			row.Credential = text
		case "person":
			row.Person = text
		case "class":
			row.Class = text
		case "anchor":
			row.Anchor = text
		case "hold_through":
			row.HoldThrough = text
		case "minute":
			if text == "" {
				continue
			}
			if row.Minute, err = strconv.Atoi(text); err != nil {
				return numbered{}, r.fault("minute: not a whole number")
			}
		}
	}
	if fault := checkRow(&row); fault != nil {
		return numbered{}, r.fault("%v", fault)
	}
	return numbered{r.line, row}, nil
}

func (r *rowReader) fault(format string, args ...any) error {
	return &rowError{r.line, fmt.Sprintf(format, args...)}
}

// cells returns the next line's fields, as many as there are columns, without the
// blanks around them.
func (r *rowReader) cells() ([]string, error) {
	fields, err := r.fields()
	if err != nil {
		return nil, err
	}
	if len(fields) != len(r.order) {
		return nil, r.fault("%d fields, the header has %d", len(fields), len(r.order))
	}
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	return fields, nil
}

// fields returns the fields of the next line that is not blank.
func (r *rowReader) fields() ([]string, error) {
	for {
		line, err := r.in.ReadSlice('\n')
		if len(line) == 0 && err != nil {
			return nil, err
		}
		r.line++
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, errors.Join(r.skip(), r.fault("longer than %d bytes", maxRowBytes))
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		text := strings.TrimRight(string(line), "\r\n")
		switch {
		case strings.TrimSpace(text) == "":
			continue
		case !strings.Contains(text, `"`): // nearly always
			return strings.Split(text, ","), nil
		}
		c := csv.NewReader(strings.NewReader(text))
		fields, err := c.Read()
		if err != nil {
			return nil, r.fault("the quotes are wrong")
		}
		return fields, nil
	}
}

// skip drops the rest of a line.
func (r *rowReader) skip() error {
	for {
		_, err := r.in.ReadSlice('\n')
		switch {
		case err == nil || errors.Is(err, io.EOF):
			return nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

// checkRow finds what the form of a row shows to be wrong, as the centre does,
// and brings the credential into canonical form. The centre has the last word.
func checkRow(r *central.Row) error {
	if r.Credential == "" && r.Status == (central.Status{}) {
		return errors.New("a row has a credential, a class or both; this one has neither")
	}
	if r.Credential != "" {
		var err error
		if _, r.Credential, err = canonical(r.Credential); err != nil {
			return err
		}
	}
	if !validPerson(r.Person) {
		return errors.New("person: not an id of 1 to 64 of A-Z, a-z, 0-9, '_', '.', '-'")
	}
	if r.Status == (central.Status{}) {
		return nil
	}
	_, err := gateway.ParseClass(r.Class)
	switch {
	case err != nil:
		return errors.New("class: not one of normal, popup, yellow, red")
	case !validDay(r.Anchor):
		return errors.New("anchor: not a day such as 2022-05-28")
	case !validDay(r.HoldThrough):
		return errors.New("hold_through: not a day such as 2022-05-28")
	case r.Minute < 0 || r.Minute >= 24*60 || r.Minute > 0 && r.Anchor == "":
		return errors.New("minute: not 0 … 1439 of an anchor day")
	}
	return nil
}

// canonical reads a credential and returns it in the one form that it is sent in.
func canonical(text string) (gateway.Credential, string, error) {
	c, err := gateway.ParseCredential(text)
	if err != nil {
		return c, "", fmt.Errorf("credential: %w", err)
	}
	form, err := c.AppendText(nil)
	if err != nil {
		return c, "", fmt.Errorf("credential: %w", err)
	}
	return c, string(form), nil
}

func validPerson(id string) bool {
	return id != "" && len(id) <= 64 && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '.' && r != '-'
	})
}

func validDay(text string) bool {
	if text == "" {
		return true
	}
	t, err := time.ParseInLocation(time.DateOnly, text, gateway.Zone)
	return err == nil && gateway.DayOf(t) != 0
}

// countLines counts the lines of a file.
func countLines(r io.Reader) (lines int, err error) {
	buffer := make([]byte, 64<<10)
	last := byte('\n')
	for {
		n, err := r.Read(buffer)
		if n > 0 {
			lines += bytes.Count(buffer[:n], []byte("\n"))
			last = buffer[n-1]
		}
		if errors.Is(err, io.EOF) {
			if last != '\n' {
				lines++
			}
			return lines, nil
		}
		if err != nil {
			return 0, err
		}
	}
}
