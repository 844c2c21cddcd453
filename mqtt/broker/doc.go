// Package broker is the embedded MQTT broker (3.1, 3.1.1 and 5), so that nobody needs another one to begin. What it reads and
// writes is encoded by mochi-mqtt, which only this package knows; sessions, queues and the rest are its own.
//
// What it promises:
//
//   - What Config.Wants asks for is given to Config.Deliver and acknowledged (PUBACK, PUBREC) only after Deliver returned
//     nil. When it returns an error nothing is acknowledged and nobody gets the message; the client is disconnected and
//     sends again. Messages of one client are delivered in its order, one at a time; those of different clients at the
//     same time. Wills are delivered the same way.
//   - What outlives a connection is in the Store before it is acknowledged: a session before CONNACK, subscriptions before
//     SUBACK, and before PUBACK or PUBREC what a message is retained as, its place in the queue of each durable session that
//     gets it, and the packet id of QoS 2. Another process that reads the Store goes on with it: in order, with the same
//     packet ids, and with DUP on all that may have been sent before.
//   - Without room in the Store clients still connect, get what waits for them, and acknowledge it, which makes room. What
//     is published is not acknowledged, and comes again (see Broker.stall).
//   - What Broker.Publish sends never comes back to Deliver.
//   - A client that stops reading stops nobody else: see conn. A client that sends garbage ends its own connection only.
//   - Client ids of different accounts are different sessions. Of one account the newcomer takes over.
//   - Rights are topic filters, checked for each publish, subscription, delivery and will.
//
// What it does not do, and what a client sees of it, is in docs/mqtt.md.
//
// # How a message goes
//
// The reader of its client delivers and routes it. If anything of it must survive, one Commit does: its Work finds who has
// subscribed and puts rows into their queues; its Settled, after that is durable, hands the message to those who are
// connected. Works and Settleds run one at a time, so all queues have one order, that of the Store. The pump of each
// connection takes what its client may have: of a durable session a few messages are in memory (session.tail), and what does
// not fit there is read from the Store when its turn comes. Acknowledged rows are deleted along with later changes (lazy).
//
// # Goroutines and locks
//
// Each connection has a reader and a pump. Besides them there are tend, which does what nobody waits for, and publishSys. The
// order of locks: sessions, then session, then conn or lazy; subscriptions before session; retained alone. None is held
// while the Store is called. What change, retained.pending and Broker.nextBody hold belongs to the Work that runs.
package broker
