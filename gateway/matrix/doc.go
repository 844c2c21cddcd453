// Package matrix is gatepost's side of a Matrix homeserver, and the only package that knows mautrix. It makes users and
// rooms, sends what the lanes hold, looks for what may have been sent, and takes in what people write.
//
// # Promises
//
// Nothing is retried behind the caller's back. Every request ends in one lane.Outcome, and "Unknown" is one of them: where
// doing a thing twice would show, an answer that was not seen in full (a time-out, a lost connection, half a body, a page
// of HTML, a 5xx) is Unknown, never Retry. Find says whether it was done.
//
// What the homeserver delivers is handed to the Inbox, which commits it, before it is acknowledged: an appservice
// transaction is answered with 200, and the next /sync asks for what follows, only after Inbox.Accept returned nil. Events
// come at least once; whoever keeps them drops repeated event ids.
//
// All answers and transactions are hostile input: bounded in size and time, checked, keys of events compared exactly (not
// folded by case, as encoding/json does). Texts of the homeserver are cut before they are shown. Tokens are never logged.
//
// # Two modes
//
// As an appservice, every request carries the as_token and the user it speaks as: the bot or a ghost. Transactions come to
// Listen's address. Where the homeserver has no appservice ping (Dendrite), which also means that redactions are not
// pushed, the bot reads by /sync as well, into the same inbox.
//
// As an account, there is one user and one token, everything comes by /sync, and there are no ghosts: every call is made
// by the bot, whatever user it names.
//
// # Life
//
// New checks its Config, Listen takes the port, Run asks the homeserver what it can do (Probe) until it answers, then keeps
// reading. Calls may be made before that; they fail with an Outcome like any other. Ready says what is wrong meanwhile.
package matrix
