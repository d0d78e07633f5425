package replication

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"gateline/gateway"
)

// ReportVersion is the version of both documents a box sends upward. It changes
// when the meaning of a field does; a field more is the same version, and
// whoever does not know it passes it over.
const ReportVersion = 1

// Bounds of the documents.
const (
	// MaxReportSize is the largest Report in bytes; one has some 600.
	MaxReportSize = 2 << 10
	// MaxHoursSize is the largest Hours in bytes; 49 hours with every reason
	// there is, each in the billions, come to some 30,000.
	MaxHoursSize = 32 << 10
	// MaxHours is how many hours a box keeps: the running one and 48 full ones.
	MaxHours = 49
	// maxReportText bounds a text in a document.
	maxReportText = 96
	// maxReportGates is far above what a box can have (64 lines of 64 gates).
	maxReportGates = 4096
)

// ErrReport reports a document that cannot be believed. Its text names no value
// of the document: it may come from anybody.
var ErrReport = errors.New("not a report of a box")

// ErrReportVersion reports a document of another version.
var ErrReportVersion = errors.New("a report of another version")

// Report is what a box says of its own state. The latest one holds everything;
// one that is lost is made up for by the next. It names no credential, no token,
// no key and no rider's status.
type Report struct {
	Version int    `json:"v"`
	Station string `json:"station"`
	// At is the box's clock, UptimeS how many seconds its program has run.
	At      time.Time `json:"at"`
	UptimeS int64     `json:"uptime_s"`
	// Release is what gateline --version says.
	Release string `json:"release,omitempty"`

	Position ReportPosition `json:"position"`
	// Usable says that the store has held everything the centre had (R24 until
	// then); StoreFailed that it takes no updates any more.
	Usable      bool `json:"usable"`
	StoreFailed bool `json:"store_failed,omitempty"`
	// Records is how many the store holds; nil while it is being read.
	Records *int `json:"records,omitempty"`

	// PolicyVersion is that of the policy documents, 0 = none. Mode and
	// FreshLimitS, in seconds, are those of the document in force; empty and 0
	// where none is.
	PolicyVersion uint64 `json:"policy_version"`
	Mode          string `json:"mode,omitempty"`
	FreshLimitS   int64  `json:"fresh_limit_s,omitempty"`
	// Switch is the station's local switch; Switched counts the gates whose own
	// one is not on auto.
	Switch   string `json:"switch"`
	Switched int    `json:"switched,omitempty"`

	Clock ReportClock `json:"clock"`
	Lines ReportLines `json:"lines"`
	Gates ReportGates `json:"gates"`
	Feed  ReportFeed  `json:"feed"`

	Shards ReportShards `json:"shards"`

	// Purge is the receipt for the last time the box has erased every record; nil =
	// it never has. The station's own account at the hub says that it is its own.
	Purge *ReportPurge `json:"purge,omitempty"`
}

// ReportPurge says why a box has erased every record, so that nobody can read one any
// more (IMP-10, IMP-11).
type ReportPurge struct {
	// Epoch and Number are those of the entry by which the box has heard of the
	// centre's last order, Ordered the instant of that order: the same order has
	// another number in another epoch. All are zero where the centre has given none.
	Epoch   uint64    `json:"epoch"`
	Number  uint64    `json:"number"`
	Ordered time.Time `json:"ordered,omitzero"`
	// Sunset is the end of the policy at which the box has erased its records by
	// itself, and has held none since; zero = it may hold some.
	Sunset time.Time `json:"sunset,omitzero"`
}

// NewReportPurge returns e as a report has it, nil if nothing was erased.
func NewReportPurge(e gateway.Erasure) *ReportPurge {
	if e.Ordered == 0 && e.Sunset.IsZero() {
		return nil
	}
	r := &ReportPurge{Epoch: e.Epoch, Number: e.Number}
	if e.Ordered != 0 {
		r.Ordered = time.UnixMicro(e.Ordered).UTC()
	}
	if !e.Sunset.IsZero() {
		r.Sunset = e.Sunset.UTC()
	}
	return r
}

// ReportPosition is a gateway.Position.
type ReportPosition struct {
	Epoch     uint64    `json:"epoch,omitempty"`
	Number    uint64    `json:"number"`
	Watermark time.Time `json:"watermark,omitzero"`
	// Hash is in hexadecimal digits, empty where Number is 0.
	Hash string `json:"hash,omitempty"`
}

// ReportClock says whether the box believes its clock, and why it does not.
type ReportClock struct {
	Trusted bool   `json:"trusted"`
	Why     string `json:"why,omitempty"`
}

// ReportLines counts lines; those Up have an open port.
type ReportLines struct {
	Up    int `json:"up"`
	Total int `json:"total"`
}

// ReportGates counts gates by their state.
type ReportGates struct {
	Serving  int `json:"serving"`
	Starting int `json:"starting,omitempty"`
	Silent   int `json:"silent,omitempty"`
	Refused  int `json:"refused,omitempty"`
}

// Total returns how many gates there are.
func (g ReportGates) Total() int { return g.Serving + g.Starting + g.Silent + g.Refused }

// ReportFeed counts what Stats does, since the box was started.
type ReportFeed struct {
	Gaps        uint64 `json:"gaps,omitempty"`
	Refused     uint64 `json:"refused,omitempty"`
	ApplyErrors uint64 `json:"apply_errors,omitempty"`
}

// ReportShards says how the copy is loaded, proven and mended, as Stats does; the
// counts are since the box was started.
type ReportShards struct {
	// ToLoad is 0 where nothing is being loaded.
	Loaded     uint64 `json:"loaded,omitempty"`
	ToLoad     uint64 `json:"to_load,omitempty"`
	Verified   uint64 `json:"verified"`
	Mismatches uint64 `json:"mismatches,omitempty"`
	Repairs    uint64 `json:"repairs,omitempty"`
	// Differ is how many are different now.
	Differ uint64 `json:"differ,omitempty"`
	// Round is when every shard had agreed since the round before.
	Round time.Time `json:"round,omitzero"`
}

// NewReportShards returns what s says of shards.
func NewReportShards(s *Stats) ReportShards {
	r := ReportShards{Verified: s.Verified, Mismatches: s.Mismatches, Repairs: s.Repairs, Differ: s.Differ, Round: s.LastRound.UTC().Truncate(time.Second)}
	if s.LastRound.IsZero() {
		r.Round = time.Time{}
	}
	if s.Loading {
		r.Loaded, r.ToLoad = s.ShardsLoaded, s.ShardsToLoad
	}
	return r
}

// NewReportPosition returns p as a report has it.
func NewReportPosition(p gateway.Position) ReportPosition {
	r := ReportPosition{Epoch: p.Epoch, Number: p.Number, Watermark: p.Time().UTC()}
	if p.Watermark == 0 {
		r.Watermark = time.Time{}
	}
	if p.Number != 0 {
		r.Hash = hex.EncodeToString(p.Hash[:])
	}
	return r
}

// Encode returns the report as a message.
func (r *Report) Encode() ([]byte, error) {
	r.Version = ReportVersion
	return encodeDocument(r, MaxReportSize, r.check)
}

// DecodeReport reads a message. An error wraps ErrReport or ErrReportVersion.
func DecodeReport(data []byte) (*Report, error) {
	r := new(Report)
	if err := decodeDocument(data, MaxReportSize, r, &r.Version); err != nil {
		return nil, err
	}
	return r, r.check()
}

func (r *Report) check() error {
	if gateway.ValidStation(r.Station) != nil {
		return fmt.Errorf("%w: station", ErrReport)
	}
	for _, text := range []string{r.Release, r.Mode, r.Switch, r.Clock.Why} {
		if !plainText(text) {
			return fmt.Errorf("%w: a text", ErrReport)
		}
	}
	counts := []int{r.Gates.Serving, r.Gates.Starting, r.Gates.Silent, r.Gates.Refused, r.Lines.Up, r.Lines.Total, r.Switched}
	for _, n := range counts {
		if n < 0 || n > maxReportGates {
			return fmt.Errorf("%w: a count of gates or lines", ErrReport)
		}
	}
	if r.UptimeS < 0 || r.FreshLimitS < 0 || r.Records != nil && *r.Records < 0 {
		return fmt.Errorf("%w: a number below zero", ErrReport)
	}
	hash, err := hex.DecodeString(r.Position.Hash)
	if err != nil || len(hash) != len(gateway.Hash{}) && r.Position != (ReportPosition{}) {
		return fmt.Errorf("%w: position", ErrReport)
	}
	return nil
}

// Hours are what a box answered, hour by hour. Each sum is the whole of its hour
// so far, so a document that comes twice changes nothing, and the last one holds
// everything that those before it held.
type Hours struct {
	Version int    `json:"v"`
	Station string `json:"station"`
	// Hours are in ascending order, at most MaxHours; hours without a tap are
	// left out.
	Hours []Hour `json:"hours"`
}

// Hour counts the answers of one hour of the box's clock, by reason (R00 … R26);
// the verdict follows from the reason. A report's worth of seconds after its end
// may be counted with the next.
type Hour struct {
	Start   time.Time         `json:"start"` // UTC
	Answers map[string]uint64 `json:"answers"`
	// Observed is what would have been answered, in mode observe.
	Observed map[string]uint64 `json:"observed,omitempty"`
}

// Encode returns the hours as a message.
func (h *Hours) Encode() ([]byte, error) {
	h.Version = ReportVersion
	return encodeDocument(h, MaxHoursSize, h.check)
}

// DecodeHours reads a message. An error wraps ErrReport or ErrReportVersion.
func DecodeHours(data []byte) (*Hours, error) {
	h := new(Hours)
	if err := decodeDocument(data, MaxHoursSize, h, &h.Version); err != nil {
		return nil, err
	}
	return h, h.check()
}

func (h *Hours) check() error {
	if gateway.ValidStation(h.Station) != nil {
		return fmt.Errorf("%w: station", ErrReport)
	}
	if len(h.Hours) > MaxHours {
		return fmt.Errorf("%w: more than %d hours", ErrReport, MaxHours)
	}
	for i := range h.Hours {
		start := h.Hours[i].Start
		if !start.Equal(start.Truncate(time.Hour)) || i > 0 && !start.After(h.Hours[i-1].Start) {
			return fmt.Errorf("%w: hours that are not full or not in order", ErrReport)
		}
		for _, counts := range []map[string]uint64{h.Hours[i].Answers, h.Hours[i].Observed} {
			for reason := range counts {
				if len(reason) != 3 || !plainText(reason) { // a newer box may have other reasons
					return fmt.Errorf("%w: a reason", ErrReport)
				}
			}
		}
	}
	return nil
}

func encodeDocument(document any, most int, check func() error) ([]byte, error) {
	if err := check(); err != nil {
		return nil, err
	}
	data, err := json.Marshal(document)
	if err == nil && len(data) > most {
		err = fmt.Errorf("%w: %d bytes, at most %d", ErrReport, len(data), most)
	}
	return data, err
}

// decodeDocument reads the version first: what another one means is not known.
func decodeDocument(data []byte, most int, into any, version *int) error {
	if len(data) > most {
		return fmt.Errorf("%w: more than %d bytes", ErrReport, most)
	}
	var head struct {
		Version int `json:"v"`
	}
	if json.Unmarshal(data, &head) == nil && head.Version != ReportVersion && head.Version > 0 {
		return fmt.Errorf("%w: %d, this program knows %d; update the older of box and centre", ErrReportVersion, head.Version, ReportVersion)
	}
	if json.Unmarshal(data, into) != nil || *version != ReportVersion {
		return fmt.Errorf("%w: no document of version %d", ErrReport, ReportVersion)
	}
	return nil
}

// ReportText returns as much of a text as a report may hold.
func ReportText(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, text)
	return text[:min(len(text), maxReportText)]
}

// plainText reports whether a text may be shown on a terminal: printable ASCII.
func plainText(text string) bool {
	if len(text) > maxReportText {
		return false
	}
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
