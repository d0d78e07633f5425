package gateway

import "time"

// Day is a calendar day in Asia/Shanghai, counted from 1970-01-01. Zero means
// "none". The largest, 32767, is 2059-09-18.
type Day int16

// ZoneOffset is the offset of Asia/Shanghai from UTC. The zone has had no
// daylight saving since 1991, so it is a constant and no zone file is needed
// (TIME-05, IMP-18).
const ZoneOffset = 8 * time.Hour

// Zone is Asia/Shanghai.
var Zone = time.FixedZone("CST", int(ZoneOffset/time.Second))

const secondsPerDay = 24 * 60 * 60

// DayOf returns the day in Asia/Shanghai on which t falls, whatever the zone
// of t or of the machine. A t outside 1970-01-02 … 2059-09-18 gives 0.
func DayOf(t time.Time) Day {
	seconds := t.Unix() + int64(ZoneOffset/time.Second)
	if seconds < secondsPerDay || seconds >= 32768*secondsPerDay {
		return 0
	}
	return Day(seconds / secondsPerDay)
}

// Start returns the instant at which the day begins.
func (d Day) Start() time.Time {
	return time.Unix(int64(d)*secondsPerDay, 0).Add(-ZoneOffset).In(Zone)
}

// String returns the day as 2006-01-02, or "none".
func (d Day) String() string {
	if d == 0 {
		return "none"
	}
	return d.Start().Format(time.DateOnly)
}
