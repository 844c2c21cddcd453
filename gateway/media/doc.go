// Package media looks at payloads: what they are, what of them may be shown, and how. All of it is pure, and all of it
// takes the payload for hostile: sizes are checked before anything is decoded, text that reaches a room carries no markup,
// no mention and no control characters, and pictures lose what their camera wrote into them.
//
// Nothing here keeps or changes a slice it is given. A result may share memory with its input where that is said.
package media
