// Command callbench measures the calls whose media goes through gatepost, from outside: a Dendrite, the real binary, devices
// that send plain RTP, and people's clients made with pion. It prints one line a figure on standard output, tab-separated
// (figure, name, value, unit, what it must be, ok or miss), and what led to it on standard error. A miss is no failure of
// the program: it ends with 0 unless something could not be measured. Linux only. Generator and receivers are in this
// process and share the machine with what they measure, so that delays are bounds from above.
package main
