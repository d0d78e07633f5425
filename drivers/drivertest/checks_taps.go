package drivertest

import (
	"slices"
	"strings"
	"time"

	"gateline/gateway"
)

// Checks of taps and what is shown, on a line without faults.

func checkVerdicts(p Protocol) error {
	w := newWorld(p, 1, addresses[:]...)
	for n, a := range answers() {
		for i := range w.posts {
			w.visit(i, credential(10*n+i), a)
		}
	}
	return w.verdict()
}

func checkUnreadable(p Protocol) error {
	w := newWorld(p, 2, addresses[:]...)
	unreadable := gateway.Answer{Verdict: gateway.VerdictManual, Reason: gateway.R25, TTL: lifetime}
	for i := range w.posts {
		w.visit(i, credential(i), answers()[0])
		w.live(lifetime)
		w.visit(i, gateway.Credential{}, unreadable)
	}
	return w.verdict()
}

func checkConcurrent(p Protocol) error {
	w := newWorld(p, 3, addresses[:]...)
	for round := range 12 {
		w.rush(round)
	}
	return w.verdict()
}

// rush presents a credential at every gate within some milliseconds, each to be
// answered differently, and checks the answers.
func (w *world) rush(round int) (visits []*visit) {
	kinds := answers()
	for i := range w.posts {
		a := kinds[(i+round)%len(kinds)]
		w.after(time.Duration(w.r.Int64N(int64(10*time.Millisecond))), func() {
			visits = append(visits, w.present(i, credential(100*round+i), a))
		})
	}
	w.live(10 * time.Millisecond)
	w.conclude(visits...)
	return visits
}

// checkReasons lets one gate show every reason with every verdict. R26, the
// switch, has words of its own: it says nothing of the rider.
func checkReasons(p Protocol) error {
	w := newWorld(p, 4, addresses[0])
	gate, n := w.posts[0], 0
	for _, a := range answers()[:4] {
		var first string
		for _, reason := range gateway.Reasons() {
			if reason == gateway.R26 {
				continue
			}
			gate.public = nil
			a.Reason = reason
			w.visit(0, credential(n), a)
			w.live(4 * time.Second)
			n++
			says := strings.Join(gate.public, "\n")
			if first == "" {
				first = says
			}
			if says == "" || says != first {
				w.fault("what is shown for the verdict %v differs by reason, or is nothing (PRV-05)", a.Verdict)
			}
		}
	}
	return w.verdict()
}

func checkLanes(p Protocol) error {
	w := newWorld(p, 5, addresses[:]...)
	lanes := []gateway.Lane{gateway.LaneManual, gateway.LaneAuto, gateway.LaneOpen}
	for shift := range lanes {
		for i, post := range w.posts {
			post.lane = lanes[(i+shift)%len(lanes)]
		}
		w.settle()
		for range 150 {
			w.live(100 * time.Millisecond)
			for i, post := range w.posts {
				if post.gate.Lane(w.now) != post.lane {
					w.fault("gate %d no longer shows the lane %v", i, post.lane)
				}
			}
		}
	}
	return w.verdict()
}

// noBoxLimit is how long a gate may go on as if there were a box.
const noBoxLimit = 12 * time.Second

func checkNoBox(p Protocol) error {
	w := newWorld(p, 6, addresses[:2]...)
	w.wire.change = func(from int, message []byte) []byte {
		if from == fromBox {
			return nil
		}
		return message
	}
	w.wait("gates that hear nothing show the manual lane", noBoxLimit, func() bool {
		return !slices.ContainsFunc(w.posts, func(p *post) bool { return p.gate.Lane(w.now) != gateway.LaneManual })
	})
	return w.verdict()
}
