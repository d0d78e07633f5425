package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ReadRules reads an operator's file of rules, in the form that EncodeRules writes.
// It is as strict as DecodeRules, refuses a key that is given twice, and reports
// every fault at once, each on a line of its own with the file's name, the line and
// the key. The error wraps ErrRules.
func ReadRules(name string, data []byte) (*Rules, error) {
	fault := func(line int, format string, args ...any) error {
		place := name
		if line > 0 {
			place += ":" + strconv.Itoa(line)
		}
		return fmt.Errorf("%s: %w: %s", place, ErrRules, fmt.Sprintf(format, args...))
	}
	if len(data) > MaxRulesSize {
		return nil, fault(0, "%d bytes, at most %d; leave out terms that ended long ago", len(data), MaxRulesSize)
	}
	l := locator{data: data, lines: map[string]int{}}
	l.document()
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	r := &Rules{}
	err := d.Decode(r)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	var instant *time.ParseError
	switch {
	case errors.As(err, &syntax):
		return nil, fault(lineAt(data, syntax.Offset), "no JSON: %v; write it as 'gateline ops rules file' does", syntax)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fault(lineAt(data, int64(len(data))), "no JSON: it is empty or cut off; write it as 'gateline ops rules file' does")
	case errors.As(err, &kind):
		return nil, fault(lineAt(data, kind.Offset), "%s: a value of the wrong type, or out of range", kind.Field)
	case errors.As(err, &instant):
		value := strings.Trim(instant.Value, `"`)
		line := 0
		if at := bytes.Index(data, []byte(value)); bytes.Count(data, []byte(value)) == 1 {
			line = lineAt(data, int64(at))
		}
		return nil, fault(line, "%.40q is not an instant such as 2022-06-01T00:00:00+08:00", value)
	case err != nil:
		unknown, is := strings.CutPrefix(err.Error(), "json: unknown field ")
		if !is {
			return nil, fault(0, "%v", err)
		}
		unknown, _ = strconv.Unquote(unknown)
		return nil, fault(l.only(unknown), "%.80s: unknown key", unknown)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fault(lineAt(data, d.InputOffset()), "there is text after the document; remove it")
	}
	var all []error
	for _, key := range l.twice {
		all = append(all, fault(l.lines[key], "%s: given twice", key))
	}
	for _, f := range r.faults() {
		all = append(all, fault(l.at(f.key), "%v", f))
	}
	if len(all) > 0 {
		return nil, errors.Join(all...)
	}
	return r, nil
}

func lineAt(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:min(int(offset), len(data))], []byte("\n"))
}

// locator finds the lines of a document's keys, in the words of keyFault. What is no
// JSON ends it.
type locator struct {
	data  []byte
	d     *json.Decoder
	lines map[string]int
	twice []string
}

func (l *locator) document() {
	l.d = json.NewDecoder(bytes.NewReader(l.data))
	_ = l.value("") // what is wrong is said by whoever decodes
}

// value notes the line on which the next value begins, and all below it.
func (l *locator) value(key string) error {
	at := l.d.InputOffset()
	begins := at + int64(len(l.data[at:])-len(bytes.TrimLeft(l.data[at:], " \t\r\n,:")))
	if _, known := l.lines[key]; known {
		l.twice = append(l.twice, key)
	}
	l.lines[key] = lineAt(l.data, begins)
	token, err := l.d.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('['):
		for i := 0; l.d.More(); i++ {
			if err := l.value(fmt.Sprintf("%s[%d]", key, i)); err != nil {
				return err
			}
		}
	case json.Delim('{'):
		for l.d.More() {
			name, err := l.d.Token()
			if err != nil {
				return err
			}
			below := fmt.Sprint(name)
			if key != "" {
				below = key + "." + below
			}
			if err := l.value(below); err != nil {
				return err
			}
		}
	default:
		return nil
	}
	_, err = l.d.Token() // its end
	return err
}

// at returns the line of a key, or else of the nearest one above it; 0 where there is
// none.
func (l *locator) at(key string) int {
	key = strings.ReplaceAll(key, `"`, "") // names of channels are quoted
	for key != "" {
		if line, known := l.lines[key]; known {
			return line
		}
		key = key[:max(strings.LastIndexByte(key, '.'), strings.LastIndexByte(key, '['), 0)]
	}
	return 0
}

// only returns the line of the one key of that name, wherever it is; 0 where there is
// none, or more than one.
func (l *locator) only(name string) int {
	var lines []int
	for key, line := range l.lines {
		if key == name || strings.HasSuffix(key, "."+name) {
			lines = append(lines, line)
		}
	}
	if slices.Sort(lines); len(slices.Compact(lines)) != 1 {
		return 0
	}
	return lines[0]
}
