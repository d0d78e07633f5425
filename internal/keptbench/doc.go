// Command keptbench runs the benchmarks whose figures are kept in the tree and
// compares them with the kept ones; `make bench` runs it. It measures in rounds,
// every package once in each, so that a machine that is slower for a while is so for
// all of them.
//
// Machines differ and have their moods. So every run measures references too: how
// long one dependent read of memory takes, one block of AES and one synced write.
// How far these moved is said before all else: what moved as far as its reference
// says nothing of the code.
package main
