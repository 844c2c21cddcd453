// Package source is the device's side of calls for which the gateway is the WebRTC party: cameras that speak RTSP, servers
// that speak WHEP, devices on libpeer, and plain RTP. Each is a media.Source, made anew for each call.
//
// Packets are handed on as they came; only H264 is packed otherwise where WebRTC needs it (RFC 6184): parameter sets before
// each picture that can be decoded alone, and no packet that is too large for a path.
//
// Addresses come from the configuration. What devices answer is hostile: bounded, never followed to another host, never looked
// up. User names and passwords in addresses are sent to the configured host alone and never logged.
package source
