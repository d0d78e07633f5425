package simulator

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"gateline/central"
	"gateline/gateway"
)

const (
	// loadBatch is how many credentials one import carries.
	loadBatch = 1000
	// loadersAtOnce is how many imports are under way.
	loadersAtOnce = 4
	// unboundShare of the credentials is known to the city and not upgraded.
	unboundShare = 33
	loadLimit    = 10 * time.Minute
)

// load fills the centre with the city's people and waits until the box holds
// them all. progress is told how many credentials the box has; it is called
// from one goroutine at a time.
func (w *world) load(r *rand.Rand, progress func(done, total int)) error {
	if err := w.loadCentre(r, progress); err != nil {
		return err
	}
	if err := w.caughtUp(w.centre.FeedNumber(), loadLimit); err != nil {
		return err
	}
	progress(w.city.credentials, w.city.credentials)
	return nil
}

// loadCentre fills the centre with the city's people.
func (w *world) loadCentre(r *rand.Rand, progress func(done, total int)) error {
	today := gateway.DayOf(time.Now())
	health := make([]status, w.city.persons)
	for p := range health {
		health[p] = someStatus(r, today)
	}
	g, ctx := errgroup.WithContext(w.ctx)
	g.SetLimit(loadersAtOnce)
	for from := 0; from < w.city.credentials && ctx.Err() == nil; from += loadBatch {
		rows := make([]central.Row, 0, loadBatch)
		for i := from; i < min(from+loadBatch, w.city.credentials); i++ {
			if r.IntN(unboundShare) == 0 {
				continue
			}
			person, _ := owner(i)
			w.model.load(i, health[person])
			rows = append(rows, central.Row{Credential: credentialText(i), Person: personID(person), Status: health[person].wire()})
		}
		g.Go(func() error { return w.importRows(ctx, rows) })
		progress(from, w.city.credentials)
	}
	if err := g.Wait(); err != nil {
		return w.cause(fmt.Errorf("load the city: %w", err))
	}
	return nil
}

func (w *world) importRows(ctx context.Context, rows []central.Row) error {
	if len(rows) == 0 {
		return nil
	}
	_, err := w.client.Import(ctx, rows)
	return err
}
