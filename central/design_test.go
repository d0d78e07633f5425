package central

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"

	"gateline/internal/logtest"
)

// TestDesignExamples sends every request that DESIGN.md shows, in its order,
// and compares the reply with the one shown beside it.
func TestDesignExamples(t *testing.T) {
	text, err := os.ReadFile("DESIGN.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)### (gateline\\.ops\\.[a-z.]+)\n.*?```json\n(.*?)```\n```json\n(.*?)```")
	c := start(t, testConfig(t.TempDir(), &logtest.Buffer{}))
	reports(t, c, "xizhimen", nil)
	shown := map[string]bool{}
	for _, m := range example.FindAllStringSubmatch(string(text), -1) {
		subject := m[1]
		shown[subject] = true
		var want, got map[string]any
		if err := json.Unmarshal([]byte(m[3]), &want); err != nil {
			t.Fatalf("%s: the reply shown: %v", subject, err)
		}
		_, message := ask(t, c.Client.conn, subject, m[2])
		if err := json.Unmarshal(message.Data, &got); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))) {
			t.Errorf("%s: got %s", subject, message.Data)
		}
		for _, key := range []string{"ok", "changed", "code", "zh", "en", "detail"} {
			if want[key] != got[key] {
				t.Errorf("%s: %s is %v, DESIGN.md shows %v", subject, key, got[key], want[key])
			}
		}
		if s, ok := want["stats"].(map[string]any); ok {
			compareStats(t, s, got["stats"].(map[string]any))
		}
	}
	var subjects []string
	for _, e := range endpoints() {
		subjects = append(subjects, e.subject)
	}
	for _, e := range c.directEndpoints() {
		subjects = append(subjects, e.subject)
	}
	for _, subject := range subjects {
		if !shown[subject] {
			t.Errorf("DESIGN.md shows no example of %s", subject)
		}
	}
}

func compareStats(t *testing.T, want, got map[string]any) {
	t.Helper()
	for key := range want {
		if key != "epoch" && want[key] != got[key] {
			t.Errorf("stats: %s is %v, DESIGN.md shows %v", key, got[key], want[key])
		}
	}
}
