// Package systemd_test holds the unit files against each other and against
// what the program needs of them.
package systemd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// unit maps section and key to the values given, in order.
type unit map[string]map[string][]string

// knownKeys are the keys that the units may use; systemd only warns of one that
// is spelled wrong, and goes on without it. All are known to systemd 252.
var knownKeys = map[string][]string{
	"Unit": {"Description", "Documentation", "After", "Before", "Wants", "Requires", "StartLimitIntervalSec", "StartLimitBurst"},
	"Service": {
		"Type", "NotifyAccess", "ExecStart", "ExecReload", "Restart", "RestartSec", "TimeoutStartSec", "TimeoutStopSec", "WatchdogSec", "WatchdogSignal",
		"User", "Group", "SupplementaryGroups", "UMask", "Environment",
		"StateDirectory", "StateDirectoryMode", "RuntimeDirectory", "RuntimeDirectoryMode", "ConfigurationDirectory",
		"LoadCredential", "LoadCredentialEncrypted",
		"LimitCORE", "LimitNOFILE", "TasksMax", "MemoryMax", "MemorySwapMax", "OOMScoreAdjust",
		"NoNewPrivileges", "CapabilityBoundingSet", "AmbientCapabilities", "RestrictSUIDSGID", "LockPersonality", "RestrictRealtime",
		"RestrictNamespaces", "MemoryDenyWriteExecute", "KeyringMode", "ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateIPC",
		"PrivateDevices", "PrivateUsers", "ProtectProc", "ProtectControlGroups", "ProtectHostname", "ProtectKernelLogs",
		"ProtectKernelModules", "ProtectKernelTunables", "SystemCallArchitectures", "SystemCallFilter", "SystemCallErrorNumber",
		"RestrictAddressFamilies",
	},
	"Install": {"WantedBy"},
}

// common is what every unit of ours must say, in [Service].
var common = map[string]string{
	"Type":                    "notify",
	"NotifyAccess":            "main",
	"Restart":                 "always",
	"LimitCORE":               "0", // a core dump would hold health data
	"MemorySwapMax":           "0",
	"Environment":             "GOTRACEBACK=none",
	"WatchdogSignal":          "SIGKILL",
	"UMask":                   "0077",
	"StateDirectoryMode":      "0700",
	"ConfigurationDirectory":  "gateline",
	"NoNewPrivileges":         "yes",
	"CapabilityBoundingSet":   "",
	"ProtectSystem":           "strict",
	"SystemCallFilter":        "@system-service adjtimex clock_adjtime clock_adjtime64",
	"RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
}

// units are the unit files and what each must say beyond common. A nil value
// means that the key must be absent.
var units = map[string]map[string][]string{
	"gateline.service": {
		"Unit.StartLimitIntervalSec": {"0"},
		"Unit.Wants":                 nil, // the box starts without a network
		"Service.ExecStart":          {"/usr/local/bin/gateline station --config /etc/gateline/station.toml"},
		"Service.User":               {"gateline"},
		"Service.Group":              {"gateline"},
		// These make the serial devices reachable; the next two would shut them out.
		"Service.SupplementaryGroups": {"dialout"},
		"Service.PrivateDevices":      nil,
		"Service.PrivateUsers":        nil,
		"Service.LoadCredential":      {"token-key:/etc/gateline/token.key", "link:/etc/gateline/link.pem"}, // never the secret of the feed
		"Service.StateDirectory":      {"gateline"},
		"Service.RuntimeDirectory":    {"gateline"},
		"Service.MemoryMax":           {"80%"}, // the limit that [memory] limit = "auto" goes by
		"Install.WantedBy":            {"multi-user.target"},
	},
	"gateline-central.service": {
		"Service.ExecStart":        {"/usr/local/bin/gateline central --config /etc/gateline/central.toml"},
		"Service.ExecReload":       {"/bin/kill -HUP $MAINPID"},
		"Service.User":             {"gateline-central"},
		"Service.Group":            {"gateline-central"},
		"Service.PrivateDevices":   {"yes"},
		"Service.LoadCredential":   {"token-key:/etc/gateline/token.key", "feed-key:/etc/gateline/feed.key", "link:/etc/gateline/link.pem"},
		"Service.StateDirectory":   {"gateline-central"},
		"Service.RuntimeDirectory": {"gateline-central"},
		"Install.WantedBy":         {"multi-user.target"},
	},
}

// parseUnit reads a unit file and reports every line that is none, and every
// section or key that is not known.
func parseUnit(text string) (unit, []string) {
	parsed := make(unit)
	var faults []string
	var section string
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if name, found := strings.CutPrefix(line, "["); found {
			section = strings.TrimSuffix(name, "]")
			if _, known := knownKeys[section]; !known {
				faults = append(faults, fmt.Sprintf("line %d: section [%s] is not known", i+1, section))
			}
			parsed[section] = make(map[string][]string)
			continue
		}
		key, value, found := strings.Cut(line, "=")
		switch {
		case !found || section == "":
			faults = append(faults, fmt.Sprintf("line %d: %q is no setting of a section", i+1, line))
		case !slices.Contains(knownKeys[section], key):
			faults = append(faults, fmt.Sprintf("line %d: key %s of [%s] is not known", i+1, key, section))
		default:
			parsed[section][key] = append(parsed[section][key], value)
		}
	}
	return parsed, faults
}

// checkUnit returns what is wrong with the text of the unit called name.
func checkUnit(name, text string) []string {
	u, faults := parseUnit(text)
	for key, want := range common {
		if got := u["Service"][key]; !slices.Equal(got, []string{want}) {
			faults = append(faults, fmt.Sprintf("%s is %q, not %q", key, got, want))
		}
	}
	for path, want := range units[name] {
		section, key, _ := strings.Cut(path, ".")
		if got := u[section][key]; !slices.Equal(got, want) {
			faults = append(faults, fmt.Sprintf("%s is %q, not %q", path, got, want))
		}
	}
	for _, key := range []string{"WatchdogSec", "RestartSec", "TimeoutStartSec", "TimeoutStopSec"} {
		if got := u["Service"][key]; len(got) != 1 || got[0] == "0" || got[0] == "infinity" {
			faults = append(faults, fmt.Sprintf("%s is %q, no bound", key, got))
		}
	}
	slices.Sort(faults)
	return faults
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestUnits(t *testing.T) {
	found, err := filepath.Glob("*.service")
	if err != nil || len(found) != len(units) {
		t.Fatalf("%d unit files, %d are checked: %v", len(found), len(units), err)
	}
	for name := range units {
		for _, fault := range checkUnit(name, read(t, name)) {
			t.Errorf("%s: %s", name, fault)
		}
	}
}

// TestUnitCheckCanFail breaks a unit in one place at a time.
func TestUnitCheckCanFail(t *testing.T) {
	const name = "gateline.service"
	whole := read(t, name)
	for _, test := range []struct{ old, new, fault string }{
		{"Type=notify", "Type=simple", "Type is"},
		{"LimitCORE=0\n", "", "LimitCORE is []"},
		{"LimitCORE=0", "LimitCORE=infinity", "LimitCORE is"},
		{"User=gateline\n", "User=root\n", "Service.User is"},
		{"WatchdogSec=10s", "WatchdogSec=0", "WatchdogSec is"},
		{"station --config", "station --conf", "Service.ExecStart is"},
		{"SupplementaryGroups=dialout", "SupplementaryGroups=tty", "Service.SupplementaryGroups is"},
		{"token.key\n", "token.key\nLoadCredential=feed-key:/etc/gateline/feed.key\n", "Service.LoadCredential is"},
		{"PrivateTmp=yes", "PrivateTmp=yes\nPrivateDevices=yes", "Service.PrivateDevices is"},
		{"PrivateTmp=yes", "PrivateTpm=yes", "key PrivateTpm of [Service] is not known"},
		{"PrivateTmp=yes", "ProtectClock=yes", "key ProtectClock of [Service] is not known"},
		{"PrivateTmp=yes", "PrivateTmp yes", "is no setting"},
		{"[Install]", "[Instal]", "section [Instal] is not known"},
		{"[Service]\n", "", "key Type of [Unit] is not known"},
		{"Restart=always", "Restart=always\nRestart=no", "Restart is"},
	} {
		if strings.Count(whole, test.old) == 0 {
			t.Errorf("%q is not in %s", test.old, name)
		}
		faults := checkUnit(name, strings.ReplaceAll(whole, test.old, test.new))
		if !slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, test.fault) }) {
			t.Errorf("%q for %q: %q is not among the faults %q", test.new, test.old, test.fault, faults)
		}
	}
}

// TestUsers checks that every user and group the files name is made by one of
// ours.
func TestUsers(t *testing.T) {
	made := map[string]bool{"root": true}
	member := regexp.MustCompile(`(?m)^[ug] +(\S+)`)
	for _, name := range []string{"sysusers.d/gateline.conf", "sysusers.d/gateline-central.conf"} {
		for _, match := range member.FindAllStringSubmatch(read(t, name), -1) {
			made[match[1]] = true
		}
	}
	for name := range units {
		u, _ := parseUnit(read(t, name))
		for _, key := range []string{"User", "Group", "SupplementaryGroups"} {
			for _, user := range u["Service"][key] {
				if !made[user] {
					t.Errorf("%s: %s=%s is made by no file of sysusers.d", name, key, user)
				}
			}
		}
	}
	line := regexp.MustCompile(`^([dz]) +(/\S+) +(0[0-7]{3}) +(\S+) +(\S+) +-$`)
	for _, name := range []string{"tmpfiles.d/gateline.conf", "tmpfiles.d/gateline-central.conf"} {
		for _, text := range settings(read(t, name)) {
			fields := line.FindStringSubmatch(text)
			if fields == nil {
				t.Errorf("%s: not understood: %s", name, text)
				continue
			}
			if !made[fields[4]] || !made[fields[5]] {
				t.Errorf("%s: a user that no file of sysusers.d makes: %s", name, text)
			}
			if strings.HasSuffix(fields[2], ".key") && fields[3] != "0600" {
				t.Errorf("%s: a key that others may read: %s", name, text)
			}
		}
	}
}

func TestUdevRules(t *testing.T) {
	const name = "udev/70-gateline.rules"
	term := regexp.MustCompile(`^[A-Z]+(\{\w+\})?(==|!=|=|\+=)"[^"]+"$`)
	text := read(t, name)
	rules := settings(text)
	for _, example := range strings.Split(text, "\n") {
		if rule, found := strings.CutPrefix(example, "# ACTION"); found {
			rules = append(rules, "ACTION"+rule)
		}
	}
	for _, rule := range rules {
		for part := range strings.SplitSeq(rule, ", ") {
			if !term.MatchString(part) {
				t.Errorf("%s: %q is no term of a rule", name, part)
			}
		}
	}
	all := strings.Join(rules, "\n")
	for _, want := range []string{`ATTR{latency_timer}="1"`, `ENV{ID_MM_DEVICE_IGNORE}="1"`, `ENV{ID_PATH}==`, `SYMLINK+=`} {
		if !strings.Contains(all, want) {
			t.Errorf("%s: no rule has %s", name, want)
		}
	}
}

// settings returns the lines of a file that are neither blank nor a comment.
func settings(text string) []string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines
}
