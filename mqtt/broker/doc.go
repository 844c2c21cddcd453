// Package broker is the embedded MQTT broker (3.1, 3.1.1 and 5), so that nobody needs another one to begin. It wraps
// mochi-mqtt and is the only package that knows it.
//
// What it promises:
//
//   - What Config.Wants asks for is given to Config.Deliver and acknowledged (PUBACK, PUBREC) only after Deliver returned
//     nil. When it returns an error nothing is acknowledged and nobody gets the message; the client is disconnected and
//     sends again. Messages of one client are delivered in its order, one at a time; those of different clients at the
//     same time. Wills are delivered the same way.
//   - What Broker.Publish sends never comes back to Deliver.
//   - A client that stops reading stops nobody else: see conn. A client that sends garbage ends its own connection only.
//   - Client ids of different accounts are different sessions. Of one account the newcomer takes over.
//   - Rights are topic filters, checked for each publish, subscription, delivery and will.
//
// Sessions, retained messages and queues of MQTT clients live in memory and end with the process. What the library has
// open, and what a client sees of it, is written down in docs/mqtt.md.
//
// # Goroutines and locks
//
// Each connection has a reader (ours; the library runs its handlers in it), a writer of the library and a pump of conn.
// The order of locks: gate, then conn or the library's own. Nothing blocks on the network, on Deliver or on another
// client while it holds the gate. To keep the state of sessions in a file, the hook is the place: what must be durable
// before an acknowledgement belongs beside Deliver in OnPublish, what belongs to a session into OnSessionEstablish,
// OnSubscribed and OnQosComplete.
package broker
