// Package device simulates what publishes to gatepost: an MQTT client that behaves as a careful device does, and devices
// made of it: a weather station, a door with a lock, a drone, and others that announce themselves by a convention. It speaks
// plain MQTT 3.1.1 over TCP, written out here so that a test knows every byte: packet ids are kept over reconnects, and what
// was not acknowledged is sent again in the same order with the DUP flag, for as long as the process lives.
package device
