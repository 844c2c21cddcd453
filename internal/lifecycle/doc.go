// Package lifecycle runs the parts of the program as one: it starts them in order, stops all when one fails or when asked,
// in reverse order and with a deadline each, and knows which of them are ready and which are hung.
//
// A Group starts and stops. Start functions run one after the other, so that a part may rely on those before it; each Run
// has a goroutine of its own. Whatever stops the group (the stop context, the first error), the parts are stopped from the
// last to the first, each before the one it may rely on. A part that overruns its deadline is left behind and named in the
// error: the process is about to end.
//
// Health answers two questions that must not be mixed. Ready: can it do its work now, and if not, why. Hung: did a loop
// that promised to come round not come round; only a restart helps then. A homeserver that is away makes the program not
// ready; it does not make it hung.
package lifecycle
