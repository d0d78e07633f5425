package tomlconf

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

const sample = `name = "north"
count = 3
wait = "5s"
on = true
from = "2001:db8::1"

[server]
listen = "127.0.0.1:1"

[[line]]
baud = 9600
[[line.gate]]
address = 1
[[line.gate]]
address = 2

[[line]]
baud = 115200
[[line.gate]]
address = 3
`

type gate struct{ address int }
type line struct {
	baud  int
	gates []gate
}
type config struct {
	name, listen string
	count        int
	wait         time.Duration
	on           bool
	from         netip.Addr
	lines        []line
}

func read(t *testing.T, text string) (config, error) {
	t.Helper()
	doc, root, err := Parse("a.toml", []byte(text))
	if err != nil {
		return config{}, err
	}
	var c config
	root.String("name", &c.name)
	root.Int("count", &c.count, 1, 10)
	root.Duration("wait", &c.wait, time.Second, time.Minute)
	root.Bool("on", &c.on)
	root.Text("from", &c.from)
	server := root.Table("server")
	server.String("listen", &c.listen)
	server.End()
	for _, tl := range root.Tables("line", 4) {
		var l line
		tl.Int("baud", &l.baud, 50, 4_000_000)
		for _, tg := range tl.Tables("gate", 4) {
			var g gate
			tg.Int("address", &g.address, 0, 254)
			tg.End()
			l.gates = append(l.gates, g)
		}
		tl.End()
		c.lines = append(c.lines, l)
	}
	root.End()
	return c, doc.Err()
}

func TestRead(t *testing.T) {
	c, err := read(t, sample)
	if err != nil {
		t.Fatal(err)
	}
	if c.name != "north" || c.count != 3 || c.wait != 5*time.Second || !c.on || c.from != netip.MustParseAddr("2001:db8::1") || c.listen != "127.0.0.1:1" ||
		len(c.lines) != 2 || len(c.lines[0].gates) != 2 || c.lines[1].baud != 115200 || c.lines[1].gates[0].address != 3 {
		t.Errorf("got %+v", c)
	}
}

// Every fault is reported at once, each with its line and its full key.
func TestFaults(t *testing.T) {
	for name, c := range map[string]struct{ edit, into, want string }{
		"type":          {`"north"`, `7`, `a.toml:1: name: not a string in quotes`},
		"range":         {`count = 3`, `count = 11`, `a.toml:2: count: 11 is not between 1 and 10`},
		"duration":      {`"5s"`, `"5 s"`, `a.toml:3: wait: "5 s" is not a duration such as "5s"`},
		"long":          {`"5s"`, `"5h"`, `a.toml:3: wait: 5h0m0s is not between 1s and 1m0s`},
		"bool":          {`true`, `"yes"`, `a.toml:4: on: not true or false`},
		"text":          {`"2001:db8::1"`, `"2001:db8::g"`, `a.toml:5: from: ParseAddr("2001:db8::g")`},
		"no text":       {`"2001:db8::1"`, `6`, `a.toml:5: from: not a string in quotes`},
		"unknown":       {`listen`, `listten`, `a.toml:8: server.listten: unknown key`},
		"table":         {"[server]", "[sever]", `a.toml:7: sever: unknown key`},
		"nested":        {`address = 3`, `address = 255`, `a.toml:20: line[2].gate[1].address: 255 is not between 0 and 254`},
		"nested second": {`address = 2`, `addres = 2`, `a.toml:15: line[1].gate[2].addres: unknown key`},
		"not an array":  {`on = true`, "on = true\nline = 4", `not TOML`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(t, strings.Replace(sample, c.edit, c.into, 1))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got:\n%v\nwant:\n%s", err, c.want)
			}
		})
	}
	all := strings.NewReplacer(`"north"`, `7`, `count = 3`, `count = 11`, `listen`, `listten`, `address = 2`, `addres = 2`, `true`, `1`).Replace(sample)
	_, err := read(t, all)
	if err == nil || strings.Count(err.Error(), "\n") != 4 {
		t.Errorf("five faults are reported as:\n%v", err)
	}
}

func TestSyntax(t *testing.T) {
	for text, want := range map[string]string{
		"a = 1\nb = \n":                "a.toml:2: not TOML",
		"a = 1\na = 2\n":               "not TOML",
		strings.Repeat("#", MaxSize+1): "no configuration file",
	} {
		if _, _, err := Parse("a.toml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestStrings(t *testing.T) {
	for text, want := range map[string]string{
		`keys = ["a", "b"]`:          "",
		`keys = []`:                  "",
		`other = 1`:                  "other: unknown key",
		`keys = "a"`:                 "a.toml:1: keys: not a list of strings",
		`keys = ["a", 2]`:            "a.toml:1: keys: not a list of strings",
		`keys = ["a", "b", "c"]`:     "a.toml:1: keys: 3 values, at most 2",
		"\nkeys = [\"a\",\n[\"b\"]]": "a.toml:2: keys: not a list of strings",
	} {
		doc, root, err := Parse("a.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		got := []string{"default"}
		root.Strings("keys", &got, 2)
		root.End()
		err = doc.Err()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if text == `keys = ["a", "b"]` && strings.Join(got, " ") != "a b" || want != "" && strings.Join(got, " ") != "default" {
			t.Errorf("%s: got %q", text, got)
		}
	}
}
