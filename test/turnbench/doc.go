// Command turnbench measures gatepost's TURN relay beside coturn and pion/turn, from outside, by their processes and the
// wire. It prints one line a figure on standard output, tab-separated (figure, name, value, unit, what it must be, ok or
// miss), and what led to it, with a table of all, on standard error.
//
// All servers get the same load from the same generator with the same settings, in turn, round by round, who begins
// changing with each round; a ratio is the median of the rounds' ratios, so that what disturbs the machine disturbs all. A
// figure for which the generator, and not the server, was the limit says so. A miss is no failure of the program: it ends
// with 0 unless something could not be measured. Linux only; root gives it large socket buffers.
package main
