// Package card makes the text of a device's status card: the one pinned message in its room that says how it is. All of it is
// pure. The card is read on phones, so it is short lines and no table, and the same in plain text and in HTML.
package card
