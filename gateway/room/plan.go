package room

import (
	"maps"
	"slices"

	"github.com/gatepost/gatepost/internal/ids"
)

// Want is what a room should be by the configuration as it is now.
type Want struct {
	Alias    string // localpart of the alias
	Name     string
	Topic    string
	Avatar   string // names the picture; "" none
	Space    bool
	Encrypt  bool               // nothing readable is said there
	Parent   ids.RoomID         // the space it belongs to; "" none
	Ghost    ids.UserID         // must be in the room to speak; "" the bot speaks
	People   map[ids.UserID]int // to be invited, with their power level
	Leave    []ids.UserID       // ghosts that have nothing more to say there
	Gone     bool               // what it was about is no more: it leaves its space, and nobody is invited
	Federate bool               // somebody of People is of another server
}

// Have is what is recorded as done for a room. It is kept in the store; the zero value is a room of which nothing is done.
type Have struct {
	Token   string             `json:"token,omitempty"`  // random, in the creation content; committed before the room is asked for
	Suffix  int                `json:"suffix,omitempty"` // our alias was taken so many times
	Room    ids.RoomID         `json:"room_id,omitempty"`
	Name    string             `json:"name,omitempty"`
	Topic   string             `json:"topic,omitempty"`
	Avatar  string             `json:"avatar,omitempty"`
	Parent  ids.RoomID         `json:"parent,omitempty"`
	Sealed  bool               `json:"encrypted,omitempty"` // never taken back
	Ghosts  []ids.UserID       `json:"ghosts,omitempty"`    // joined
	Invited []ids.UserID       `json:"invited,omitempty"`   // once; who leaves is not called back
	Power   map[ids.UserID]int `json:"power,omitempty"`
}

// Do is what a Step does.
type Do uint8

// The steps, in their order. Each is idempotent: done twice because its record was lost, it changes nothing more.
const (
	MakeToken  Do = iota + 1 // record a random token
	FindOrMake               // find the room by its alias, or make it
	Encrypt                  // turn encryption on
	Join                     // invite Step.User, a ghost, and let it join
	Leave                    // Step.User, a ghost, leaves
	SetName
	SetTopic
	SetAvatar
	SetParent // put the room into the space Want.Parent, and take it out of the one that it is in
	LeaveParent
	SetPower // bring the levels of people to Want.People
	Invite   // Step.User
)

var names = map[Do]string{MakeToken: "token", FindOrMake: "room", Encrypt: "encryption", Join: "join", Leave: "leave", SetName: "name", SetTopic: "topic", SetAvatar: "avatar", SetParent: "space", LeaveParent: "out of the space", SetPower: "power", Invite: "invite"}

func (d Do) String() string { return names[d] }

// Step is the next thing to do.
type Step struct {
	Do   Do
	User ids.UserID
}

// Next says which step is missing between h and w; ok is false when none is.
func Next(w Want, h Have) (s Step, ok bool) {
	switch {
	case h.Token == "":
		return Step{Do: MakeToken}, true
	case h.Room == "":
		return Step{Do: FindOrMake}, true
	case w.Encrypt && !h.Sealed:
		return Step{Do: Encrypt}, true
	case w.Ghost != "" && !slices.Contains(h.Ghosts, w.Ghost):
		return Step{Join, w.Ghost}, true
	}
	for _, u := range w.Leave {
		if slices.Contains(h.Ghosts, u) {
			return Step{Leave, u}, true
		}
	}
	switch {
	case w.Name != h.Name:
		return Step{Do: SetName}, true
	case w.Topic != h.Topic:
		return Step{Do: SetTopic}, true
	case w.Avatar != h.Avatar:
		return Step{Do: SetAvatar}, true
	case w.Gone && h.Parent != "":
		return Step{Do: LeaveParent}, true
	case w.Gone:
		return Step{}, false
	case w.Parent != "" && w.Parent != h.Parent:
		return Step{Do: SetParent}, true
	case !maps.Equal(raised(w.People), raised(h.Power)):
		return Step{Do: SetPower}, true
	}
	for _, u := range slices.Sorted(maps.Keys(w.People)) {
		if !slices.Contains(h.Invited, u) {
			return Step{Invite, u}, true
		}
	}
	return Step{}, false
}

// Done is h after s was done for w. What FindOrMake found out is put into h by the caller.
func (h Have) Done(w Want, s Step) Have {
	switch s.Do {
	case Encrypt:
		h.Sealed = true
	case Join:
		h.Ghosts = append(slices.Clone(h.Ghosts), s.User)
	case Leave:
		h.Ghosts = slices.DeleteFunc(slices.Clone(h.Ghosts), func(u ids.UserID) bool { return u == s.User })
	case SetName:
		h.Name = w.Name
	case SetTopic:
		h.Topic = w.Topic
	case SetAvatar:
		h.Avatar = w.Avatar
	case SetParent:
		h.Parent = w.Parent
	case LeaveParent:
		h.Parent = ""
	case SetPower:
		h.Power = maps.Clone(w.People)
	case Invite:
		h.Invited = append(slices.Clone(h.Invited), s.User)
	}
	return h
}

// raised drops those who have the level of everybody.
func raised(p map[ids.UserID]int) map[ids.UserID]int {
	out := map[ids.UserID]int{}
	for u, l := range p {
		if l != 0 {
			out[u] = l
		}
	}
	return out
}
