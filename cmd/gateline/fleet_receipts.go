package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gateline/central"
	"gateline/central/fleet"
	"gateline/gateway"
)

const (
	// receiptsEvery is the time between two looks while receipts are waited for.
	receiptsEvery = 2 * time.Second
	mostWait      = 7 * 24 * time.Hour
)

// receipts are what the stations have told of the centre's last order to erase every
// record.
type receipts struct {
	Order fleet.Order `json:"order"`
	// Erased have carried it out, Sunset of those by themselves before it came.
	Erased int `json:"erased"`
	Sunset int `json:"by_sunset"`
	// Missing have not said so; those that are silent may have, and cannot say it.
	Missing []missingReceipt `json:"missing"`
}

type missingReceipt struct {
	Station   string      `json:"station"`
	State     fleet.State `json:"state"`
	ReportedS float64     `json:"reported_s"` // seconds ago
}

// receiptsOf sorts the stations; false where nothing was ordered.
func receiptsOf(page *central.FleetPage) (*receipts, bool) {
	if page.Purge == nil {
		return nil, false
	}
	r := &receipts{Order: *page.Purge, Missing: []missingReceipt{}}
	for i := range page.Stations {
		s := &page.Stations[i]
		switch fleet.ReceiptOf(s.Report, page.Purge) {
		case fleet.NoReceipt:
			r.Missing = append(r.Missing, missingReceipt{Station: s.Station, State: s.State, ReportedS: s.ReportedS})
		case fleet.BySunset:
			r.Sunset++
			r.Erased++
		default:
			r.Erased++
		}
	}
	return r, true
}

func (r *receipts) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "ordered %s, entry %d of %016x\n", r.Order.Ordered.In(gateway.Zone).Format(time.DateTime), r.Order.Number, r.Order.Epoch)
	fmt.Fprintf(&b, "erased by %d of %s", r.Erased, counted(r.Erased+len(r.Missing), "station"))
	if r.Sunset > 0 {
		fmt.Fprintf(&b, ", %d of them by themselves at the sunset", r.Sunset)
	}
	for _, m := range r.Missing {
		fmt.Fprintf(&b, "\n  missing  %s  %v, heard %s ago", m.Station, m.State, ago(seconds(m.ReportedS)))
	}
	return b.String()
}

func newFleetReceipts(o *ops) *cobra.Command {
	var wait time.Duration
	c := &cobra.Command{
		Use:   "receipts",
		Short: "Show which stations have erased their records, after a purge",
		Long: "Shows which stations have said that they have carried out the last 'gateline ops\n" +
			"policy purge', and which have not, those that are silent among them. A station that\n" +
			"has erased its records by itself at the sunset of the policy had nothing left.\n" +
			"Exits with 1 while one is missing.\n\n" +
			"With --wait it goes on looking until none is missing, at most that long. A station\n" +
			"that is no more is taken off the list with 'gateline fleet forget'; first see to it\n" +
			"that the disk of its box is destroyed.",
		Args: cobra.NoArgs,
		RunE: o.run(func(cmd *cobra.Command, _ []string) (answer, error) {
			if wait < 0 || wait > mostWait {
				return answer{}, errUsage{fmt.Errorf("--wait %v is not between 0 and %v", wait, mostWait)}
			}
			r, err := o.awaitReceipts(cmd, wait)
			if err != nil {
				return answer{}, err
			}
			a := answer{Receipts: r, text: r.text()}
			if len(r.Missing) > 0 {
				return a, errReported
			}
			return a, nil
		}),
	}
	c.Flags().DurationVar(&wait, "wait", 0, "go on until no receipt is missing, at most that long")
	return c
}

var errNoPurge = errors.New("nothing was ever ordered to be erased: 'gateline ops policy purge' does that, once the policy has ended")

// awaitReceipts looks until no receipt is missing, at most for wait. A centre that is
// started again meanwhile is asked again.
func (o *ops) awaitReceipts(cmd *cobra.Command, wait time.Duration) (*receipts, error) {
	deadline := time.Now().Add(wait)
	for answered := false; ; {
		r, err := o.receipts(cmd)
		answered = answered || err == nil
		left := time.Until(deadline)
		if err != nil && !answered || err == nil && len(r.Missing) == 0 || left <= 0 {
			return r, err
		}
		pause := time.NewTimer(min(left, receiptsEvery))
		select {
		case <-cmd.Context().Done():
			pause.Stop()
			return nil, cmd.Context().Err()
		case <-pause.C:
		}
	}
}

// receipts asks the centre.
func (o *ops) receipts(cmd *cobra.Command) (r *receipts, err error) {
	err = o.ask(cmd, askLimit, func(ctx context.Context, c *central.Client) error {
		page, err := c.Fleet(ctx)
		if err != nil {
			return err
		}
		ordered := false
		if r, ordered = receiptsOf(&page); !ordered {
			return errNoPurge
		}
		return nil
	})
	return r, err
}
