package linkkey

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nats-io/nkeys"

	"gateline/gateway"
)

// MaxStations bounds a list of stations.
const MaxStations = 20000

// Station is a line of the list: who may connect to the centre, and the public
// part of the nkey (U…) by which he is known.
type Station struct{ Name, Key string }

// StationsHead is what a new list begins with.
const StationsHead = `# Who may connect to the centre: a station and the public part of its key in each
# line. gateline link-key writes it; take a line out and reload the centre
# (systemctl reload gateline-central) to keep a station out.
`

// ReadStations reads the list at path: one station in a line, "#" starts a
// remark. The error reports every fault at once, each with its line.
func ReadStations(path string) ([]Station, error) { return readList(path, "station") }

// readList reads a list of stations or clients.
func readList(path, what string) ([]Station, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("list of %ss: %w: gateline link-key %s makes it", what, err, what)
	}
	list, err := parseStations(string(text))
	if err != nil {
		return nil, fmt.Errorf("list of %ss %s:\n%w", what, path, err)
	}
	return list, nil
}

func parseStations(text string) ([]Station, error) {
	stations := []Station{} // never nil: an empty list lets nobody in
	names, keys := map[string]bool{}, map[string]bool{}
	var faults []error
	number := 0
	for line := range strings.Lines(text) {
		number++
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		fault := func(format string, args ...any) {
			faults = append(faults, fmt.Errorf("  line %d: "+format, append([]any{number}, args...)...))
		}
		if len(fields) != 2 {
			fault("not a station and its key")
			continue
		}
		s := Station{fields[0], fields[1]}
		switch err := gateway.ValidStation(s.Name); {
		case err != nil:
			fault("%v", err)
		case !nkeys.IsValidPublicUserKey(s.Key):
			fault("what stands after %s is not the public key of a NATS user (U and 55 more)", s.Name)
		case names[s.Name]:
			fault("station %s stands there twice", s.Name)
		case keys[s.Key]:
			fault("station %s has the key of another", s.Name)
		}
		names[s.Name], keys[s.Key] = true, true
		stations = append(stations, s)
	}
	if len(stations) > MaxStations {
		faults = append(faults, fmt.Errorf("  %d stations, at most %d", len(stations), MaxStations))
	}
	return stations, errors.Join(faults...)
}

// ErrListed and ErrNotListed are wrapped where a station has to be, or not to
// be, in the list.
var (
	ErrListed    = errors.New("the station is in the list already")
	ErrNotListed = errors.New("the station is not in the list")
)

// AddStation puts a station into the list at path, which it makes where there
// is none. With replace, a station that is there gets the new key, and must be
// there. Everything else in the file stays as it is.
func AddStation(path string, s Station, replace bool) error {
	return edit(path, func(lines []string, at int) ([]string, error) {
		line := s.Name + " " + s.Key + "\n"
		switch {
		case at >= 0 && !replace:
			return nil, fmt.Errorf("%w: with --replace it gets a new key and the box with the old one is kept out", ErrListed)
		case at < 0 && replace:
			return nil, ErrNotListed
		case at >= 0:
			lines[at] = line
			return lines, nil
		}
		return append(lines, line), nil
	}, s.Name)
}

// RemoveStation takes a station out of the list at path.
func RemoveStation(path, name string) error {
	return edit(path, func(lines []string, at int) ([]string, error) {
		if at < 0 {
			return nil, ErrNotListed
		}
		return slices.Delete(lines, at, at+1), nil
	}, name)
}

// edit replaces the list by what change makes of its lines; at is the line of
// the station, −1 if there is none. A reader finds the old list or the new one.
func edit(path string, change func(lines []string, at int) ([]string, error), name string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = []byte(StationsHead), nil
	}
	if err == nil {
		_, err = parseStations(string(text))
	}
	if err != nil {
		return fmt.Errorf("list of stations %s: %w", path, err)
	}
	lines := slices.Collect(strings.Lines(string(text)))
	if n := len(lines); n > 0 && !strings.HasSuffix(lines[n-1], "\n") {
		lines[n-1] += "\n"
	}
	at := slices.IndexFunc(lines, func(line string) bool {
		fields := strings.Fields(line)
		return len(fields) > 0 && fields[0] == name
	})
	if lines, err = change(lines, at); err != nil {
		return fmt.Errorf("list of stations %s: station %s: %w", path, name, err)
	}
	if err := replaceFile(path, []byte(strings.Join(lines, "")), 0o644); err != nil {
		return fmt.Errorf("write list of stations: %w", err)
	}
	return nil
}

func replaceFile(path string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".stations-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
