package osdp

// doubles finds addresses that two readers have. Both answer at once and damage
// each other's answer, again and again, or one after the other, so that an
// answer comes which nobody asked for. Noise on the line damages everybody's.
// Where one of the two is so slow that it damages others' answers, listener finds it.
type doubles []double

type double struct {
	score     int
	suspected bool
	lastClean bool // its last question was answered well
	// heard is from second answers that came when the line was kept quiet for
	// them; see listener.
	heard int
}

const (
	// doubleSure is the score from which an address is suspected, doubleMost
	// bounds it: after so many clean answers the suspicion is dropped.
	doubleSure = 6
	doubleMost = 12
	// A second answer weighs more than a damaged one, for noise makes none.
	doubleAgain = 4
)

// damaged notes that an answer of i was damaged.
func (d doubles) damaged(i int) {
	d[i].lastClean = false
	d.add(i, 1)
}

// again notes an answer of i that nobody waited for. It is no second one where
// the first did not come: then it is just late.
func (d doubles) again(i int) {
	if d[i].lastClean {
		d.add(i, doubleAgain)
	}
}

// missed notes that i did not answer, so that what comes later is late. It
// reports whether a suspicion is dropped.
func (d doubles) missed(i int) (dropped bool) {
	d[i].lastClean = false
	return d.lower(i)
}

// clean notes a good answer of i. It reports whether a suspicion is dropped.
func (d doubles) clean(i int) (dropped bool) {
	d[i].lastClean = true
	return d.lower(i)
}

func (d doubles) lower(i int) (dropped bool) {
	d[i].score = max(d[i].score-1, 0)
	if d[i].score > 0 || !d[i].suspected {
		return false
	}
	d[i].suspected = false
	return true
}

func (d doubles) add(i, n int) {
	d[i].score = min(d[i].score+n, doubleMost)
	d[i].suspected = d[i].suspected || d[i].score >= doubleSure
}

// suspect reports whether two readers seem to have the address of i. Where
// half of a line's readers look like that, it is the line.
func (d doubles) suspect(i int) bool {
	if d[i].heard >= listenSure {
		return true
	}
	if !d[i].suspected {
		return false
	}
	noisy := 0
	for j := range d {
		if d[j].score >= doubleSure {
			noisy++
		}
	}
	return len(d) < 3 || 2*noisy < len(d)
}
