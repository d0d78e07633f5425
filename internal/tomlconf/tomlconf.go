// Package tomlconf reads a configuration file strictly: whoever reads it takes
// the keys he knows, and at the end every fault, an unknown key among them, is
// reported at once with its line.
package tomlconf

import (
	"encoding"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// MaxSize is the largest configuration file that is read, bytes.
const MaxSize = 1 << 20

// Doc is a parsed file with the faults found in it so far.
type Doc struct {
	name   string
	lines  map[string]int // full key → line
	faults []fault
}

type fault struct {
	line int
	text string
}

// Table is one table of a Doc. The methods take a key out of it; what nobody
// took is an unknown key.
type Table struct {
	doc    *Doc
	path   string // with a dot at the end, empty for the root
	values map[string]any
	line   int
}

// Parse reads data; name is the file's name in messages. An error is about
// syntax and has the line.
func Parse(name string, data []byte) (*Doc, Table, error) {
	if len(data) > MaxSize {
		return nil, Table{}, fmt.Errorf("%s: %d bytes is no configuration file", name, len(data))
	}
	var values map[string]any
	if err := toml.Unmarshal(data, &values); err != nil {
		var syntax *toml.DecodeError
		if errors.As(err, &syntax) {
			line, _ := syntax.Position()
			return nil, Table{}, fmt.Errorf("%s:%d: not TOML: %s", name, line, strings.TrimPrefix(err.Error(), "toml: "))
		}
		return nil, Table{}, fmt.Errorf("%s: not TOML: %w", name, err)
	}
	d := &Doc{name: name, lines: keyLines(data)}
	return d, Table{doc: d, values: values, line: 1}, nil
}

// keyLines returns the line of every key and table header. Tables of an array
// are numbered from 1: line[2].baud.
func keyLines(data []byte) map[string]int {
	lines := make(map[string]int)
	counts := make(map[string]int)
	var p unstable.Parser
	p.Reset(data)
	prefix := ""
	for p.NextExpression() {
		node := p.Expression()
		var parts []string
		line := 0
		for it := node.Key(); it.Next(); {
			parts = append(parts, string(it.Node().Data))
			if line == 0 {
				line = p.Shape(it.Node().Raw).Start.Line
			}
		}
		switch node.Kind {
		case unstable.KeyValue:
			lines[prefix+strings.Join(parts, ".")] = line
		case unstable.Table, unstable.ArrayTable:
			path := ""
			for i, part := range parts {
				path += part
				if i == len(parts)-1 && node.Kind == unstable.ArrayTable {
					counts[path]++
				}
				if n := counts[path]; n > 0 {
					path = indexed(path, n)
				}
				if _, seen := lines[path]; !seen {
					lines[path] = line
				}
				path += "."
			}
			prefix = path
		}
	}
	return lines
}

func indexed(path string, n int) string { return path + "[" + strconv.Itoa(n) + "]" }

// Err returns all faults in the order of their lines, or nil. Call it once
// every known key has been taken.
func (d *Doc) Err() error {
	if len(d.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(d.faults, func(a, b fault) int { return a.line - b.line })
	var errs []error
	for _, f := range d.faults {
		errs = append(errs, fmt.Errorf("%s:%d: %s", d.name, f.line, f.text))
	}
	return errors.Join(errs...)
}

// Fault reports a fault of a key of this table; an empty key means the table.
func (t Table) Fault(key, format string, args ...any) {
	path := t.path + key
	if key == "" {
		path = strings.TrimSuffix(t.path, ".")
	}
	line, ok := t.doc.lines[path]
	if !ok {
		line = t.line
	}
	if path != "" {
		path += ": "
	}
	t.doc.faults = append(t.doc.faults, fault{line, path + fmt.Sprintf(format, args...)})
}

func take[T any](t Table, key, kind string) (v T, ok bool) {
	raw, present := t.values[key]
	if !present {
		return v, false
	}
	delete(t.values, key)
	if v, ok = raw.(T); !ok {
		t.Fault(key, "not %s", kind)
	}
	return v, ok
}

// Has reports whether the key is there and not taken yet.
func (t Table) Has(key string) bool {
	_, ok := t.values[key]
	return ok
}

// String takes a string.
func (t Table) String(key string, into *string) {
	if v, ok := take[string](t, key, "a string in quotes"); ok {
		*into = v
	}
}

// Strings takes a list of strings, at most most of them.
func (t Table) Strings(key string, into *[]string, most int) {
	const kind = `a list of strings in quotes, such as ["a", "b"]`
	v, ok := take[[]any](t, key, kind)
	if !ok {
		return
	}
	if len(v) > most {
		t.Fault(key, "%d values, at most %d", len(v), most)
		return
	}
	list := make([]string, 0, len(v))
	for _, raw := range v {
		text, ok := raw.(string)
		if !ok {
			t.Fault(key, "not %s", kind)
			return
		}
		list = append(list, text)
	}
	*into = list
}

// Bool takes true or false.
func (t Table) Bool(key string, into *bool) {
	if v, ok := take[bool](t, key, "true or false"); ok {
		*into = v
	}
}

// Int takes a whole number from least to most.
func (t Table) Int(key string, into *int, least, most int) {
	v, ok := take[int64](t, key, "a whole number")
	switch {
	case !ok:
	case v < int64(least) || v > int64(most):
		t.Fault(key, "%d is not between %d and %d", v, least, most)
	default:
		*into = int(v)
	}
}

// Duration takes a string such as "5s" from least to most.
func (t Table) Duration(key string, into *time.Duration, least, most time.Duration) {
	v, ok := take[string](t, key, `a duration in quotes, such as "5s"`)
	if !ok {
		return
	}
	d, err := time.ParseDuration(v)
	switch {
	case err != nil:
		t.Fault(key, `%.40q is not a duration such as "5s"`, v)
	case d < least || d > most:
		t.Fault(key, "%v is not between %v and %v", d, least, most)
	default:
		*into = d
	}
}

// Choice takes one of a few words.
func (t Table) Choice(key string, into *string, words ...string) {
	v, ok := take[string](t, key, "a string in quotes")
	switch {
	case !ok:
	case !slices.Contains(words, v):
		t.Fault(key, "%.40q is not one of %s", v, strings.Join(words, ", "))
	default:
		*into = v
	}
}

// Text takes a string that into knows how to read; what it says of a string that
// it cannot is the fault.
func (t Table) Text(key string, into encoding.TextUnmarshaler) {
	v, ok := take[string](t, key, "a string in quotes")
	if !ok {
		return
	}
	if err := into.UnmarshalText([]byte(v)); err != nil {
		t.Fault(key, "%v", err)
	}
}

// Table takes a table; it is empty where the key is missing.
func (t Table) Table(key string) Table {
	v, _ := take[map[string]any](t, key, "a table")
	return t.sub(t.path+key, v)
}

// Tables takes an array of tables, at most most of them.
func (t Table) Tables(key string, most int) []Table {
	v, _ := take[[]any](t, key, "an array of tables, write [["+key+"]]")
	if len(v) > most {
		t.Fault(key, "%d tables, at most %d", len(v), most)
		return nil
	}
	var tables []Table
	for i, raw := range v {
		values, ok := raw.(map[string]any)
		if !ok {
			t.Fault(key, "not an array of tables, write [[%s]]", key)
			return nil
		}
		tables = append(tables, t.sub(indexed(t.path+key, i+1), values))
	}
	return tables
}

func (t Table) sub(path string, values map[string]any) Table {
	line, ok := t.doc.lines[path]
	if !ok {
		line = t.line
	}
	return Table{doc: t.doc, path: path + ".", values: values, line: line}
}

// End reports every key of the table that nobody took.
func (t Table) End() {
	for _, key := range slices.Sorted(maps.Keys(t.values)) {
		t.Fault(key, "unknown key")
	}
}
