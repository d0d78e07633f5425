package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"gateline/gateway"
)

func TestImport(t *testing.T) {
	_, env := startCentral(t, centralConfig(t))
	gateline(t, env, nil, "ops", "card", "bind", "--person", "owner", "--credential", cardNumber).want(t, 0, "bound", "")
	text := "\ufeffPerson,credential , class,anchor,hold_through,minute\r\n" + // as Excel writes it
		"p1,3104770012345678902,normal,2022-05-28,2022-06-01,570\r\n" +
		"p2,ride:1001000000000042,,,,\r\n" +
		"\r\n" +
		"p3,,red,,,\r\n" +
		"p4," + cardNumber + ",,,,\r\n" + // line 6: another's
		"p5,310477001234567890,,,,\r\n" +
		"p5,３１０４７７００１２３４５６７８９０１,,,,\r\n" +
		"p5,310477001234567890A,,,,\r\n" +
		"p5," + strings.Repeat("31047700", 8) + ",,,,\r\n" +
		"p 6,3104770012345678903,,,,\r\n" +
		"p6,3104770012345678903,green,,,\r\n" +
		"p6,3104770012345678903,red\r\n" +
		"p6,\"3104770012345678903\"x,red,,,\r\n" +
		"p6,3104770012345678903,normal,2022-05-28,,noon\r\n" +
		"p6,3104770012345678903,normal,2022-02-30,,\r\n" +
		"p6,3104770012345678903,normal,2022-05-28,9999-12-31,\r\n" +
		"p6,3104770012345678903,normal,2022-05-28,,1440\r\n" +
		"p6,,,,,\r\n" +
		strings.Repeat("9", 2*maxRowBytes) + "\r\n" +
		"p7,\"3104770 0123456 78904\",popup,,," // line 21, no line end
	file := writeFile(t, "rows.csv", text)
	dry := gateline(t, env, nil, "ops", "import", "--dry-run", file)
	dry.want(t, 1, "5 rows would be imported, 14 rejected\n", file+":7: credential: ")
	gateline(t, env, nil, "ops", "stats").want(t, 0, "credentials  1 bound", "")

	for _, in := range []string{file, "-"} {
		r := gateline(t, env, strings.NewReader(text), "ops", "import", in)
		r.want(t, 1, "4 rows imported, 15 rejected, ", ":6: E104 该卡已由其他用户绑定 (the card is bound by another person, who has to unbind it first)")
		for line, want := range map[int]string{
			7: "19 digits, this one has 18", 8: "this one has 57", 9: "character 19", 10: "this one has 64", 11: "person: ", 12: "class: ",
			13: "3 fields, the header has 6", 14: "the quotes are wrong", 15: "minute: ", 16: "anchor: ", 17: "hold_through: ", 18: "minute: ", 19: "neither",
			20: "longer than 4096 bytes",
		} {
			if !strings.Contains(r.err, fmt.Sprintf(":%d: ", line)) || !strings.Contains(r.err, want) {
				t.Errorf("line %d: no %q in\n%s", line, want, r.err)
			}
		}
		for _, secret := range []string{"31047700123", "３１", "9999999999"} {
			if strings.Contains(r.err+r.out+dry.err, secret) {
				t.Error("a number is printed")
			}
		}
	}
	gateline(t, env, nil, "ops", "stats").want(t, 0, "credentials  4 bound\npersons      4 with", "")
}

func TestImportRefusesHeader(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":       {"", "there is nothing in it"},
		"none":        {cardNumber + ",p1,normal,2022-05-28,\n", "line 1 is no header: column 1 is none of credential, person"},
		"unknown":     {"person,credential,phone\n", "line 1 is no header: column 3"},
		"twice":       {"person,class,class\n", "column class is there twice"},
		"no person":   {"credential,class\n", "no column person"},
		"semicolons":  {"credential;person\n", "separated by commas"},
		"quotes":      {"\"person\n", "the quotes are wrong"},
		"endless":     {strings.Repeat("7", 3*maxRowBytes), "longer than 4096 bytes"},
		"binary file": {"\x00\x01\x02\n", "line 1 is no header"},
	} {
		r := gateline(t, environment{server: "nats://127.0.0.1:1"}, strings.NewReader(c.text), "ops", "import", "-")
		if r.code != 1 || r.out != "" || !strings.Contains(r.err, c.want) || strings.Contains(r.err, cardNumber) || strings.Contains(r.err, "7777777") {
			t.Errorf("%s: exit code %d\n%s", name, r.code, r.err)
		}
	}
	gateline(t, environment{}, nil, "ops", "import", "/nonexistent.csv").want(t, 1, "", "give the path of a CSV file")
	gateline(t, environment{}, nil, "ops", "import", "--dry-run", t.TempDir()).want(t, 1, "", "is a directory")
}

// More rows than one request takes, and bad rows amid the good ones: exactly
// those are rejected.
func TestImportInBatches(t *testing.T) {
	_, env := startCentral(t, centralConfig(t))
	rows := 2*gateway.MaxChanges + 500
	var text strings.Builder
	text.WriteString("credential,person,class\n")
	for i := range rows {
		person := fmt.Sprintf("p%d", i)
		card := i
		if i%1000 == 999 {
			card = i - 1 // the card of another
		}
		fmt.Fprintf(&text, "tunion:3104770%012d,%s,popup\n", card, person)
	}
	file := writeFile(t, "rows.csv", text.String())
	r := gateline(t, env, nil, "ops", "import", "--json", file)
	var a struct {
		Number, Changed int
		Import          imported
	}
	if err := json.Unmarshal([]byte(r.out), &a); err != nil {
		t.Fatalf("%v\n%s%s", err, r.out, r.err)
	}
	bad := rows / 1000
	if r.code != 1 || a.Import.Rows != rows || a.Import.Accepted != rows-bad || a.Import.Rejected != bad || a.Changed != 2*(rows-bad) || a.Number == 0 {
		t.Errorf("exit code %d\n%s%s", r.code, r.out, r.err)
	}
	for i, reject := range a.Import.Rejects {
		if reject.Line != 1000*(i+1)+1 || reject.Code != "E104" {
			t.Errorf("rejected: line %d, %s", reject.Line, reject.Code)
		}
	}
	if !strings.Contains(r.err, fmt.Sprintf("import %d/%d", gateway.MaxChanges+1, rows+1)) {
		t.Errorf("no progress shown:\n%s", r.err)
	}
}

func TestImportBoundsWhatItTells(t *testing.T) {
	text := "person,class\n" + strings.Repeat("p,green\n", maxRejectsShown+50)
	r := gateline(t, environment{}, strings.NewReader(text), "ops", "import", "--dry-run", "--json", "-")
	var a struct{ Import imported }
	if err := json.Unmarshal([]byte(r.out), &a); err != nil {
		t.Fatal(err)
	}
	if r.code != 1 || a.Import.Rejected != maxRejectsShown+50 || len(a.Import.Rejects) != maxRejectsShown || strings.Count(r.err, "\n") != maxRejectsShown+1 {
		t.Errorf("exit code %d, %d rejected, %d told, %d lines", r.code, a.Import.Rejected, len(a.Import.Rejects), strings.Count(r.err, "\n"))
	}
}

// A centre that goes away amid an import: what went before is said, and what
// to do.
func TestImportWithoutCentre(t *testing.T) {
	s, env := startCentral(t, centralConfig(t))
	reader, writer := io.Pipe()
	ended := make(chan result, 1)
	go func() {
		ended <- gateline(t, env, reader, "ops", "import", "-")
		_ = reader.Close() // frees the writer
	}()
	write := func(from, to int) {
		for i := from; i < to; i++ {
			if _, err := fmt.Fprintf(writer, "p%d,red\n", i); err != nil {
				return
			}
		}
	}
	if _, err := io.WriteString(writer, "person,class\n"); err != nil {
		t.Fatal(err)
	}
	write(0, gateway.MaxChanges+1) // the last is read once the batch before is in
	s.stop()
	write(0, gateway.MaxChanges)
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	(<-ended).want(t, 1, fmt.Sprintf("%d rows imported, 0 rejected", gateway.MaxChanges), "import the same file again, that does no harm")
}

func TestCountLines(t *testing.T) {
	for text, want := range map[string]int{"": 0, "a": 1, "a\n": 1, "a\nb": 2, "\n\n": 2} {
		if got, err := countLines(strings.NewReader(text)); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	broken := errors.New("broken")
	if _, err := countLines(io.MultiReader(strings.NewReader("a"), failing{broken})); !errors.Is(err, broken) {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
