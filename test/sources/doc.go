// Package sources holds the tests of calls to devices of which the gateway is the WebRTC party, with peers that are not ours: the
// person's client is made of aiortc (person.py), the cameras are go2rtc and FFmpeg's libraries (camera.py), and the device on libpeer is
// a stand-in made of aiortc from libpeer's protocol (small.py). Between them are the built gatepost and a real homeserver, all on loopback.
// Sound is judged by its frequency, pictures by their colour. Build tag interop; `make interop-sources` installs what is needed.
package sources
