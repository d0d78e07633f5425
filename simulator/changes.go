package simulator

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"gateline/central"
	"gateline/gateway"
)

const (
	// updateEvery is how often changes are handed to the centre.
	updateEvery = 50 * time.Millisecond
	// maxReports is how many reports one request carries at most.
	maxReports = gateway.MaxChanges / 4
)

// change feeds rate changes a second to the centre until ctx is done: health
// reports in batches, as they come, and in each round one upgrade or unbinding.
// Persons that spared names are left alone.
func (w *world) change(ctx context.Context, r *rand.Rand, rate int, spared func(person int) bool) error {
	tick := time.NewTicker(updateEvery)
	defer tick.Stop()
	start, made := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		due := min(int(time.Since(start).Seconds()*float64(rate))-made, 1+maxReports)
		if due <= 0 {
			continue
		}
		made += due
		if err := w.changeSome(r, due, spared); err != nil {
			return err
		}
	}
}

// changeSome makes due changes in two requests at most.
func (w *world) changeSome(r *rand.Rand, due int, spared func(person int) bool) error {
	w.changing.RLock()
	defer w.changing.RUnlock()
	credential := r.IntN(w.city.credentials)
	if person, _ := owner(credential); !spared(person) {
		if _, err := w.bind(credential, r.IntN(4) != 0); err != nil && !isNotBound(err) {
			return err
		}
	}
	today := gateway.DayOf(time.Now())
	statuses := make(map[int]status)
	for range due - 1 {
		if person := r.IntN(w.city.persons); !spared(person) {
			statuses[person] = someStatus(r, today)
		}
	}
	if len(statuses) == 0 {
		return nil
	}
	_, err := w.report(statuses)
	return err
}

// isNotBound recognises the refusal of an unbinding that has nothing to unbind.
func isNotBound(err error) bool {
	var refusal *central.Refusal
	return errors.As(err, &refusal) && refusal.Code == central.CodeNotBound
}
