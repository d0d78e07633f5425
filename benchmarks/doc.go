// Command benchmarks compares Gateline's store with others on the same work:
// the same records, lookups and updates, each store in a process of its own, and
// every answer checked. README.md says how to run it, what the figures mean and
// how each store is set.
//
// It is a module of its own, so that the other stores never enter the product's
// go.mod.
package main
