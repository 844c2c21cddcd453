// Package legacy turns the events of the Matrix VoIP module (m.call.*, version "1" and what is left of version 0) into the
// words of package voip, and back. It is pure. "Legacy" is what clients call it since MatrixRTC is there; it is what Element
// Web, Element Classic and Nheko speak.
//
// What comes in is written by strangers: Decode bounds sizes and counts and refuses what is malformed. What goes out is made
// here and not with a library's structs, since the version must be the string "1" and an end of candidates must have neither
// sdpMid nor sdpMLineIndex (Matrix specification v1.19, Voice over IP).
package legacy
