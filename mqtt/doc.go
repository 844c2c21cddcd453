// Package mqtt is the client of an outside MQTT broker (3.1.1). It is the only package that knows the paho library.
//
// What it promises:
//
//   - A QoS 1 message is acknowledged to the broker only after its done(nil), in the order in which messages came. After
//     done(err) no QoS 1 message behind it is delivered or acknowledged; the connection is made anew after a pause, and the
//     broker delivers them again, with DUP set. So a message may come twice, and whoever receives it must be ready for
//     that. A QoS 0 message that is refused is lost and counted.
//   - Messages are delivered in the order of the broker, from one goroutine. What came before a connection was lost is
//     still delivered.
//   - Memory is bounded: while more than Config.MaxInFlight bytes wait for their done, nothing more is read from the
//     broker. The connection stays up meanwhile: pings go on. Only what comes from the broker is late then: answers to
//     Publish with QoS 1 and to SetFilters too.
//   - A payload above Config.MaxPayload is acknowledged, counted, logged with its topic and never delivered. It is not
//     kept in memory either.
//   - Nothing is published later than Publish was called: what cannot be written now is an error that says so. Nothing
//     is queued while there is no connection, since a late command would open a door that nobody is waiting at.
//   - The session at the broker outlives us (clean session off, unless Config.Clean). Filters are subscribed to as a whole
//     only on the first connection or when the broker has lost the session; otherwise only what changed is.
//
// Each connection has a paho client of its own, without paho's reconnecting and without its store: that would send
// publishes again on the next connection, complete their tokens without an answer, and hide whether the session was
// resumed. The bytes of a connection pass through a wire, which does what paho cannot: it holds back messages while there
// is no room for them, and cuts those that are too large before they are in memory.
//
// A broker does not tell a 3.1.1 client that it may not publish somewhere: mosquitto acknowledges and drops. Only the
// device's own answer says that a command arrived.
package mqtt
