package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// plan is what a run is to do.
type plan struct {
	records, rounds int
	each, beside    time.Duration // of lookups alone, of those beside updates
	only            []string      // names of stores; none = all
	dir             string        // where stores are; "" = that for temporary files
	progress        io.Writer
}

// result is what a run found. Its JSON keys are for programs.
type result struct {
	Machine machine `json:"machine"`
	Records int     `json:"records"`
	Rounds  int     `json:"rounds"`
	Seconds float64 `json:"seconds"` // of lookups alone
	Beside  float64 `json:"beside"`  // of those beside updates
	// UpdatesPerSecond and Batch are what is asked of every store beside lookups.
	UpdatesPerSecond int       `json:"updates_per_second"`
	Batch            int       `json:"batch"`
	Stores           []outcome `json:"stores"`
}

// outcome is what was found of one store.
type outcome struct {
	Name  string `json:"name"`
	About string `json:"about,omitempty"`
	// Skipped says why there is nothing else.
	Skipped string `json:"skipped,omitempty"`
	// Median is of each figure of all rounds; its Max are the longest of all.
	Median *round  `json:"median,omitempty"`
	Rounds []round `json:"rounds,omitempty"`
}

// round is what was found of one store in one round.
type round struct {
	Load    loaded   `json:"load"`
	Lookups measured `json:"lookups"`
}

// measureAll makes the rounds, in each of which every store has its turn, so that
// what else the machine does meets them alike.
func measureAll(ctx context.Context, p plan) (r result, err error) {
	base, err := os.MkdirTemp(p.dir, "gateline-benchmarks")
	if err != nil {
		return r, fmt.Errorf("make a folder for the stores: %w; choose another with --dir", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(base)) }()
	r = result{
		Machine: thisMachine(base), Records: p.records, Rounds: p.rounds, Seconds: p.each.Seconds(), Beside: p.beside.Seconds(),
		UpdatesPerSecond: updatesPerSecond, Batch: batchSize,
	}
	var running []peer
	for _, peer := range peers() {
		if len(p.only) > 0 && !slices.ContainsFunc(p.only, func(name string) bool { return strings.EqualFold(name, peer.name) }) {
			continue
		}
		o := outcome{Name: peer.name, About: peer.about}
		if peer.missing != nil {
			o.Skipped = peer.missing()
		}
		if o.Skipped != "" {
			fmt.Fprintf(p.progress, "%s is left out: %s\n", o.Name, o.Skipped)
		}
		r.Stores = append(r.Stores, o)
		running = append(running, peer)
	}
	tokens := filepath.Join(base, "tokens")
	fmt.Fprintf(p.progress, "%d tokens in order …\n", p.records)
	if err := writeTokens(tokens, p.records); err != nil {
		return r, err
	}
	for n := range p.rounds {
		for i, peer := range running {
			o := &r.Stores[i]
			if o.Skipped != "" {
				continue
			}
			found, err := oneRound(ctx, p, peer, filepath.Join(base, "store"), tokens)
			if err != nil {
				return r, err
			}
			o.Rounds = append(o.Rounds, found)
			fmt.Fprintf(p.progress, "round %d of %d  %-10s  load %.1f s, first answer %.0f ms, lookup %s, beside updates %s\n", n+1, p.rounds,
				peer.name, found.Load.Seconds, found.Lookups.OpenMS, shortTime(found.Lookups.Quiet.P50), shortTime(found.Lookups.Busy.P50))
		}
	}
	for i := range r.Stores {
		if o := &r.Stores[i]; len(o.Rounds) > 0 {
			m := medianOf(o.Rounds)
			o.Median = &m
		}
	}
	return r, nil
}

// oneRound loads a store, measures it and removes it.
func oneRound(ctx context.Context, p plan, peer peer, dir, tokens string) (r round, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return r, fmt.Errorf("make a folder for %s: %w; choose another with --dir", peer.name, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	t := task{Peer: peer.name, Dir: dir, Records: p.records, Each: p.each, Beside: p.beside}
	load := t
	load.Tokens = tokens
	if err := runChild(ctx, load, &r.Load); err != nil {
		return r, err
	}
	return r, runChild(ctx, t, &r.Lookups)
}

// medianOf returns a round that has of each figure the median of all, of each
// longest time the longest.
func medianOf(rounds []round) (m round) {
	figure := func(of func(*round) float64) float64 {
		var all []float64
		for i := range rounds {
			all = append(all, of(&rounds[i]))
		}
		slices.Sort(all)
		return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
	}
	count := func(of func(*round) int64) int64 {
		return int64(figure(func(r *round) float64 { return float64(of(r)) }))
	}
	times := func(of func(*round) *latency) (l latency) {
		for i := range rounds {
			l.Lookups += of(&rounds[i]).Lookups
			l.Max = max(l.Max, of(&rounds[i]).Max)
		}
		l.P50 = figure(func(r *round) float64 { return of(r).P50 })
		l.P99 = figure(func(r *round) float64 { return of(r).P99 })
		l.P999 = figure(func(r *round) float64 { return of(r).P999 })
		return l
	}
	m.Load = loaded{
		Seconds: figure(func(r *round) float64 { return r.Load.Seconds }),
		Disk:    count(func(r *round) int64 { return r.Load.Disk }),
		Peak:    count(func(r *round) int64 { return r.Load.Peak }),
	}
	m.Lookups = measured{
		OpenMS:    figure(func(r *round) float64 { return r.Lookups.OpenMS }),
		SettledMS: figure(func(r *round) float64 { return r.Lookups.SettledMS }),
		Memory: memory{
			Anonymous: count(func(r *round) int64 { return r.Lookups.Memory.Anonymous }),
			Mapped:    count(func(r *round) int64 { return r.Lookups.Memory.Mapped }),
		},
		Quiet:            times(func(r *round) *latency { return &r.Lookups.Quiet }),
		Busy:             times(func(r *round) *latency { return &r.Lookups.Busy }),
		Misses:           times(func(r *round) *latency { return &r.Lookups.Misses }),
		Batch:            times(func(r *round) *latency { return &r.Lookups.Batch }),
		Allocs:           figure(func(r *round) float64 { return r.Lookups.Allocs }),
		AllocBytes:       figure(func(r *round) float64 { return r.Lookups.AllocBytes }),
		UpdatesPerSecond: figure(func(r *round) float64 { return r.Lookups.UpdatesPerSecond }),
		OverheadNS:       figure(func(r *round) float64 { return r.Lookups.OverheadNS }),
	}
	return m
}
