package rules

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// update writes docs/rules.md: go test ./central/rules -run Traceability -update
var update = flag.Bool("update", false, "write docs/rules.md anew")

const rulesPage = "../../docs/rules.md"

// ruleLine is a line of testdata/rules.txt.
type ruleLine struct{ id, holder, title string }

func readRules(t *testing.T) (lines []ruleLine) {
	t.Helper()
	text, err := os.ReadFile("testdata/rules.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimSpace(line), " | ")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if len(fields) != 3 || slices.ContainsFunc(lines, func(l ruleLine) bool { return l.id == fields[0] }) {
			t.Fatalf("testdata/rules.txt: %q is not id | who | what, or an id comes twice", line)
		}
		lines = append(lines, ruleLine{fields[0], fields[1], fields[2]})
	}
	return lines
}

// ruleTests returns the subtests of this package whose names begin with a
// rule's id, by that id, each as go test -run takes it.
func ruleTests(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no test file was found")
	}
	named := regexp.MustCompile(`^([A-Z]+-R?[0-9]+) `)
	tests := map[string][]string{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				title := subtest(n)
				if m := named.FindStringSubmatch(title); m != nil {
					tests[m[1]] = append(tests[m[1]], f.Name.Name+"/"+strings.ReplaceAll(title, " ", "_"))
				}
				return true
			})
		}
	}
	return tests
}

// subtest returns the name in a call t.Run("name", …), else "".
func subtest(n ast.Node) string {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) != 2 {
		return ""
	}
	selector, ok := call.Fun.(*ast.SelectorExpr)
	literal, isLiteral := call.Args[0].(*ast.BasicLit)
	if !ok || !isLiteral || selector.Sel.Name != "Run" {
		return ""
	}
	title, err := strconv.Unquote(literal.Value)
	if err != nil {
		return ""
	}
	return title
}

// sections is how many rules each section of the requirements has, so that none
// is lost from the list.
func sections() map[string]int {
	return map[string]int{"KIND": 9, "UPG": 11, "QTA": 7, "UNB": 5, "BO": 4, "RC": 4, "TOP": 8, "GATE": 12, "NUM": 4, "CH": 12, "TIME": 5}
}

func TestTraceability(t *testing.T) {
	lines, tests := readRules(t), ruleTests(t)
	count := map[string]int{}
	page := &strings.Builder{}
	page.WriteString("# The rules of the registry and what holds them\n\n" +
		"Written from the names of the tests by `go test ./central/rules -run Traceability -update`; the rules are those of `central/rules/testdata/rules.txt`.\n" +
		"Tests without a file are those of `central/rules`.\n\n| rule | what it says | held by |\n|---|---|---|\n")
	for _, l := range lines {
		section, _, _ := strings.Cut(l.id, "-")
		count[section]++
		held := l.holder
		switch {
		case l.holder == "centre" && len(tests[l.id]) == 0:
			t.Errorf("%s has no test; name one %q", l.id, l.id+" "+l.title)
		case l.holder == "centre":
			held = "`" + strings.Join(tests[l.id], "`<br>`") + "`"
		case !strings.HasPrefix(l.holder, "not in the centre: "):
			file, test, _ := strings.Cut(l.holder, " ")
			text, err := os.ReadFile(filepath.Join("..", "..", file))
			if err != nil || !strings.Contains(string(text), "func "+test+"(") {
				t.Errorf("%s is said to be held by %s, which is not there", l.id, l.holder)
			}
			held = "`" + file + "`: `" + test + "`"
		}
		if l.holder != "centre" && len(tests[l.id]) > 0 {
			t.Errorf("%s has a test here; say so in testdata/rules.txt", l.id)
		}
		fmt.Fprintf(page, "| %s | %s | %s |\n", l.id, l.title, held)
		delete(tests, l.id)
	}
	for id := range tests {
		t.Errorf("a test names %s, which testdata/rules.txt does not have", id)
	}
	for section, want := range sections() {
		if count[section] != want {
			t.Errorf("%d rules of %s are listed, not %d", count[section], section, want)
		}
	}
	comparePage(t, page.String())
}

func comparePage(t *testing.T, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(rulesPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if have, err := os.ReadFile(rulesPage); err != nil || string(have) != want {
		t.Errorf("docs/rules.md is not what the tests say: %v; run go test ./central/rules -run Traceability -update and look at the difference", err)
	}
}
