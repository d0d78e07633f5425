// Package station is the box assembled: the store, the leaf node that follows
// the feed, the serial lines with their gates, the clock, the local switches
// and the status page. Open acquires everything, Run serves, Close gives it
// back in reverse order.
package station
