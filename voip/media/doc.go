// Package media makes the gateway a party of WebRTC calls, for devices that have no WebRTC stack of their own.
//
// An Engine owns the port that all calls share. Engine.Open makes the leg of one call (voip.Leg), which talks to the person's
// client and sends it what a Source plays. RTP is forwarded as it is.
//
// What comes from the person's client is hostile: session descriptions are bounded, names in candidates are never looked
// up, and addresses that Config.Permit refuses get no connectivity checks.
package media
