// Package importrules holds the walls between this module's folders as a test:
// imports run downward only. Move a wall when the code shows a better place
// for it, here and with a word in docs/decisions.
package importrules

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "gateline"

// layer is a folder with everything below it, except where a deeper folder is
// a layer of its own.
type layer struct {
	folder string
	// may are the other layers it may import; itself it always may.
	may []string
	// standardOnly refuses every other module as well.
	standardOnly bool
	why          string
}

// layers is the whole rule, lowest first. A folder that is not named here may
// not hold Go code that imports another one.
var layers = []layer{
	{folder: "gateway", standardOnly: true,
		why: "the vocabulary and the decision are pure: standard library only"},
	{folder: "internal", may: []string{"gateway"},
		why: "helpers serve every layer and so lie below all but the vocabulary"},

	{folder: "drivers", may: []string{"gateway", "internal"},
		why: "drivers, cache and replication know the vocabulary and never each other"},
	{folder: "cache", may: []string{"gateway", "internal"},
		why: "drivers, cache and replication know the vocabulary and never each other"},
	{folder: "replication", may: []string{"gateway", "internal"},
		why: "drivers, cache and replication know the vocabulary and never each other"},

	{folder: "central/rules", may: []string{"gateway"}, standardOnly: true,
		why: "who may upgrade what is decided from values alone: the vocabulary and the standard library only"},
	{folder: "central", may: []string{"gateway", "internal", "replication", "central/rules"},
		why: "the centre speaks the feed; it has no gates and no box's store"},
	{folder: "gateway/station", may: []string{"gateway", "internal", "drivers", "cache", "replication"},
		why: "the box is assembled from the three layers below it, and knows no centre"},
	{folder: "simulator", may: []string{"gateway", "internal", "drivers", "cache", "replication", "central/rules", "central", "gateway/station"},
		why: "the simulator runs the production assembly of both ends; only the command runs the simulator"},
	{folder: "cmd", may: []string{"gateway", "internal", "drivers", "cache", "replication", "central/rules", "central", "gateway/station", "simulator"},
		why: "the command wires everything; nothing imports the command"},

	{folder: "benchmarks", may: []string{"gateway", "cache"},
		why: "a module of its own compares the store with others; nothing imports it"},

	{folder: "systemd",
		why: "the units are files with a test, not code"},
}

// parted are the layers that may not import each other even in a test.
var parted = []string{"drivers", "cache", "replication"}

// layerOf returns the layer of a folder, given by its path below the module's
// root, or of an import path below the module.
func layerOf(folder string) (layer, bool) {
	var found layer
	for _, l := range layers {
		if (folder == l.folder || strings.HasPrefix(folder, l.folder+"/")) && len(l.folder) > len(found.folder) {
			found = l
		}
	}
	return found, found.folder != ""
}

// violation returns the rule that is broken where a file of folder imports
// imported, and "" where none is.
func violation(folder, imported string, test bool) string {
	from, known := layerOf(folder)
	target, ours := strings.CutPrefix(imported, module+"/")
	if !ours && imported != module {
		first, _, _ := strings.Cut(imported, "/")
		standard := imported != "C" && !strings.Contains(first, ".")
		if from.standardOnly && !standard && !test {
			return fmt.Sprintf("%s: %s", from.folder, from.why)
		}
		return ""
	}
	if !known {
		return fmt.Sprintf("%s has no line in the table of layers; give it one", folder)
	}
	to, known := layerOf(target)
	if !known {
		return fmt.Sprintf("%s has no line in the table of layers; give it one", target)
	}
	allowed := to.folder == from.folder || slices.Contains(from.may, to.folder)
	if test {
		allowed = allowed || !slices.Contains(parted, from.folder) || !slices.Contains(parted, to.folder)
	}
	if allowed {
		return ""
	}
	return fmt.Sprintf("%s may import %s; %s", from.folder, orNothing(from.may), from.why)
}

func orNothing(list []string) string {
	if len(list) == 0 {
		return "nothing else of this module"
	}
	return strings.Join(list, ", ")
}

// check returns one line for every import below root that breaks a rule, as
// file:line, and how many files of each layer it read.
func check(root string) (faults []string, files map[string]int, err error) {
	files = make(map[string]int)
	err = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() {
			if name != root && (base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(base) != ".go" {
			return nil
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		relative = filepath.ToSlash(relative)
		l, _ := layerOf(path.Dir(relative))
		files[l.folder]++
		found, err := checkFile(name, relative)
		faults = append(faults, found...)
		return err
	})
	return faults, files, err
}

func checkFile(name, relative string) ([]string, error) {
	positions := token.NewFileSet()
	file, err := parser.ParseFile(positions, name, nil, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	var faults []string
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		if rule := violation(path.Dir(relative), imported, strings.HasSuffix(relative, "_test.go")); rule != "" {
			faults = append(faults, fmt.Sprintf("%s:%d imports %s; rule: %s", relative, positions.Position(spec.Pos()).Line, imported, rule))
		}
	}
	return faults, nil
}

func TestImportsRunDownward(t *testing.T) {
	root := filepath.Join("..", "..")
	if text, err := os.ReadFile(filepath.Join(root, "go.mod")); err != nil || !strings.HasPrefix(string(text), "module "+module+"\n") {
		t.Fatalf("%s is not the root of module %s: %v", root, module, err)
	}
	faults, files, err := check(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range faults {
		t.Error(fault)
	}
	for _, folder := range []string{"gateway", "internal"} {
		if files[folder] == 0 {
			t.Errorf("no file of %s was read: the check looks in the wrong place", folder)
		}
	}
}

func TestTableIsWhole(t *testing.T) {
	for i, l := range layers {
		if l.why == "" {
			t.Errorf("%s has no reason", l.folder)
		}
		for _, name := range l.may {
			below := slices.IndexFunc(layers, func(o layer) bool { return o.folder == name })
			if below < 0 || below >= i {
				t.Errorf("%s may import %s, which is no layer below it", l.folder, name)
			}
		}
	}
}

func TestRuleCanFail(t *testing.T) {
	const code, test = false, true
	tests := []struct {
		folder, imports string
		test, refused   bool
	}{
		{"gateway", "time", code, false},
		{"gateway", "encoding/json", code, false},
		{"gateway", "golang.org/x/sys/unix", code, true},
		{"gateway", "C", code, true},
		{"gateway", "go.uber.org/goleak", test, false},
		{"gateway", "gateline/internal/x", code, true},
		{"gateway", "gateline/gateway/station", code, true},
		{"gateway", "gateline/cache", code, true},

		{"internal/x", "gateline/gateway", code, false},
		{"internal/x", "gateline/internal/y", code, false},
		{"internal/x", "gateline/cache", code, true},

		{"drivers", "gateline/drivers/serial", code, false},
		{"drivers/direct", "gateline/drivers", code, false},
		{"drivers/serial", "github.com/tarm/serial", code, false},
		{"drivers/direct", "gateline/gateway", code, false},
		{"drivers/direct", "gateline/internal/x", code, false},
		{"drivers", "gateline/cache", code, true},
		{"drivers/direct", "gateline/replication", code, true},
		{"drivers", "gateline/gateway/station", code, true},
		{"cache", "gateline/replication", code, true},
		{"cache", "gateline/drivers/serial", code, true},
		{"replication", "gateline/cache", code, true},
		{"replication", "gateline/drivers", code, true},
		{"replication", "gateline/central", code, true},
		{"cache", "gateline/replication", test, true},
		{"replication", "gateline/cache", test, true},
		{"drivers/direct", "gateline/cache", test, true},
		{"drivers/direct", "gateline/drivers/drivertest", test, false},

		{"central", "gateline/replication", code, false},
		{"central", "gateline/cache", code, true},
		{"central", "gateline/drivers", code, true},
		{"central", "gateline/gateway/station", code, true},
		{"central", "gateline/cache", test, false},
		{"central", "gateline/central/rules", code, false},
		{"central/rules", "gateline/gateway", code, false},
		{"central/rules", "gateline/internal/x", code, true},
		{"central/rules", "gateline/central", code, true},
		{"central/rules", "golang.org/x/sys/unix", code, true},

		{"gateway/station", "gateline/gateway", code, false},
		{"gateway/station", "gateline/drivers/direct", code, false},
		{"gateway/station", "gateline/cache", code, false},
		{"gateway/station", "github.com/prometheus/client_golang/prometheus", code, false},
		{"gateway/station", "gateline/central", code, true},
		{"gateway/station", "gateline/simulator", code, true},

		{"simulator", "gateline/gateway/station", code, false},
		{"simulator", "gateline/central", code, false},
		{"simulator", "gateline/cmd/gateline", code, true},
		{"central", "gateline/simulator", code, true},

		{"cmd/gateline", "gateline/simulator", code, false},
		{"cmd/gateline", "gateline/gateway", code, false},
		{"cmd/gateline", "gateline/cmd/gateline/x", code, false},

		{"benchmarks", "gateline/cache", code, false},
		{"benchmarks", "gateline/replication", code, true},
		{"cache", "gateline/benchmarks", code, true},

		{"systemd", "gateline/gateway", code, true},
		{"novel", "gateline/gateway", code, true},
		{"gateways", "gateline/gateway", code, true},
		{"cmd/gateline", "gateline/novel", code, true},
		{"cmd/gateline", "gateline", code, true},
	}
	for _, test := range tests {
		rule := violation(test.folder, test.imports, test.test)
		if (rule != "") != test.refused {
			t.Errorf("%s imports %s (test file: %v): refused is %v, rule %q", test.folder, test.imports, test.test, !test.refused, rule)
		}
	}
}

func TestCheckReportsFileAndLine(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"cache/store.go":             "package cache\n\nimport (\n\t\"time\"\n\n\tother \"gateline/replication\"\n)\n",
		"cache/store_test.go":        "package cache_test\n\nimport _ \"gateline/drivers/serial\"\n",
		"cache/testdata/ignored.go":  "package broken\n\nimport _ \"gateline/cmd\"\n",
		"cmd/gateline/main.go":       "package main\n\nimport _ \"gateline/cache\"\n",
		"gateway/decision.go":        "package gateway\n\nimport _ \"example.org/x\"\n",
		"replication/not-a-go-file":  "import \"gateline/cache\"",
		"simulator/city/world.go":    "package city\n\nimport _ \"gateline/central\"\n",
		"gateway/station/station.go": "package station\n\nimport _ \"gateline/simulator/city\"\n",
	} {
		name = filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	faults, files, err := check(root)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"cache/store.go:6 imports gateline/replication; rule: cache may import gateway, internal; ",
		"cache/store_test.go:3 imports gateline/drivers/serial; rule: cache may import gateway, internal; ",
		"gateway/decision.go:3 imports example.org/x; rule: gateway: ",
		"gateway/station/station.go:3 imports gateline/simulator/city; rule: gateway/station may import ",
	}
	if len(faults) != len(want) {
		t.Fatalf("%d faults, not %d:\n%s", len(faults), len(want), strings.Join(faults, "\n"))
	}
	for i := range want {
		if !strings.HasPrefix(faults[i], want[i]) {
			t.Errorf("fault %d is %q, not %q…", i, faults[i], want[i])
		}
	}
	if files["cache"] != 2 || files["cmd"] != 1 {
		t.Errorf("files read: %v", files)
	}
}
