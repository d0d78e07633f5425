package simulator

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"gateline/central"
	"gateline/gateway"
	"gateline/gateway/station"
	"gateline/replication"
)

// begin keeps a part of the world going as run does; end ends it and waits.
func (w *world) begin(name string, f func(context.Context) error) (end func()) {
	ctx, cancel := context.WithCancel(w.ctx)
	ended := make(chan struct{})
	w.run(name, func(context.Context) error {
		defer close(ended)
		if err := f(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		return nil
	})
	return func() {
		cancel()
		<-ended
	}
}

// startBox opens the box and runs it.
func (w *world) startBox() (err error) {
	w.box, err = station.Open(w.ctx, w.boxConfig, station.Options{Log: w.cfg.log, Version: "simulated", Now: w.cfg.now, OnApplied: w.onApplied, OnAnswered: w.cfg.onAnswered})
	if err != nil {
		return fmt.Errorf("open the simulated box: %w", err)
	}
	w.applied.Store(w.box.Position().Number)
	w.endBox = w.begin("box", w.box.Run)
	return nil
}

// stopBox ends the box, if it runs.
func (w *world) stopBox() error {
	if w.endBox == nil {
		return nil
	}
	w.endBox()
	w.endBox = nil
	return w.box.Close()
}

// startCentre opens the centre and runs it.
func (w *world) startCentre() (err error) {
	w.centre, err = central.Open(central.Config{Dir: w.centreDir(), LeafListen: w.leafAddr, Link: w.cfg.stations, TokenKey: w.key, FeedKeys: []gateway.FeedSecret{w.feed},
		ShardCycle: w.cfg.shardCycle, Now: w.cfg.now, Rules: w.cfg.rules, Log: w.cfg.log})
	if err != nil {
		return fmt.Errorf("open the simulated centre: %w", err)
	}
	w.leafAddr = w.centre.LeafAddr()
	w.endCentre = w.begin("centre", w.centre.Run)
	if w.conn, err = w.centre.Connect(nats.Name("simulator")); err != nil {
		return fmt.Errorf("connect to the simulated centre: %w", err)
	}
	w.client = central.NewClient(w.conn)
	return nil
}

func (w *world) centreDir() string { return filepath.Join(w.dir, "centre") }

// stopCentre ends the centre, if it runs.
func (w *world) stopCentre() error {
	if w.endCentre == nil {
		return nil
	}
	w.endCentre()
	w.endCentre = nil
	if w.conn != nil {
		w.conn.Close()
	}
	return w.centre.Close()
}

// writeShards has the centre's publisher store a snapshot of every shard at
// once, while the centre is stopped: the centre itself takes a minute and a half.
// It returns their bytes.
func (w *world) writeShards(progress func(done, total int)) (bytes uint64, err error) {
	if err := w.stopCentre(); err != nil {
		return 0, err
	}
	shards := make([][]gateway.Change, gateway.Shards)
	if err := w.centre.Records(func(t gateway.Token, r gateway.Record) error {
		id := gateway.ShardOf(t)
		shards[id] = append(shards[id], gateway.Change{Token: t, Record: r})
		return nil
	}); err != nil {
		return 0, err
	}
	if bytes, err = w.publishShards(shards, progress); err != nil {
		return 0, fmt.Errorf("write the shards: %w", err)
	}
	return bytes, w.startCentre()
}

func (w *world) publishShards(shards [][]gateway.Change, progress func(done, total int)) (bytes uint64, err error) {
	hub, err := replication.OpenHub(replication.HubConfig{Dir: filepath.Join(w.centreDir(), "streams"), Log: w.cfg.log})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, hub.Close()) }()
	conn, err := hub.Connect()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return 0, err
	}
	publisher, err := replication.OpenPublisher(w.ctx, js, replication.PublisherConfig{Keys: []gateway.FeedSecret{w.feed}, Log: w.cfg.log})
	if err != nil {
		return 0, err
	}
	// The head, which says that they are all there, is stored with the one after
	// the last.
	for i := range gateway.Shards + 1 {
		id := gateway.ShardID(i % gateway.Shards)
		if err := publisher.PublishShard(w.ctx, gateway.Shard{ID: id, Records: shards[id]}); err != nil {
			return 0, err
		}
		progress(i, gateway.Shards)
	}
	stream, err := js.Stream(w.ctx, replication.StreamShards)
	if err != nil {
		return 0, err
	}
	return stream.CachedInfo().State.Bytes, nil
}

// figures reads the box's metrics, each by its name and labels as they are
// written.
func (w *world) figures() (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(w.ctx, figuresLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.box.StatusAddr()+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("read the simulated box's metrics: %w", err)
	}
	defer response.Body.Close()
	all := make(map[string]float64)
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), " ")
		if value, err := strconv.ParseFloat(text, 64); err == nil {
			all[name] = value
		}
	}
	return all, lines.Err()
}

const (
	figuresLimit = 10 * time.Second
	// figuresEvery spaces the readings of watchFigures, which take time of what is
	// measured.
	figuresEvery = 10 * time.Millisecond
)

// watchFigures reads the box's metrics again and again until done says so; as
// poll otherwise.
func (w *world) watchFigures(limit time.Duration, what string, done func(map[string]float64) bool) error {
	var failed error
	var looked time.Time
	err := w.poll(limit, what, func() bool {
		if time.Since(looked) < figuresEvery {
			return false
		}
		looked = time.Now()
		var all map[string]float64
		if all, failed = w.figures(); failed != nil {
			return true
		}
		return done(all)
	})
	return errors.Join(failed, err)
}

// Names of the box's metrics that scenarios look at.
const (
	figureLoaded    = `gateline_shards_loading{state="loaded"}`
	figureMissing   = `gateline_shards_loading{state="missing"}`
	figureDifferent = `gateline_shards_verified_total{result="different"}`
	figureRepaired  = `gateline_shards_repaired_total`
	figureReloads   = `gateline_shards_reloads_total`
)
