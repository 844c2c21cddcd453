// Package avatar draws the pictures of rooms: one for each kind of device, white on a colour, square and readable when a client
// cuts a circle out of it. All of it is pure.
package avatar
