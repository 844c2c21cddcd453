package voip

import (
	"slices"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
)

// State of a call. The zero value is New.
type State string

// The states. What may follow what is the table moves.
const (
	New        State = ""           // nothing was said yet
	Preparing  State = "preparing"  // we call: the leg makes its offer
	Inviting   State = "inviting"   // we call: the person's devices ring
	Ringing    State = "ringing"    // we are called: the leg has the offer
	Connecting State = "connecting" // answered; media looks for a way
	Connected  State = "connected"  // media flows, as far as we know
	Over       State = "over"       // nothing happens any more
)

// moves are the legal steps. A call never stays outside of Over for longer than its timers allow.
var moves = map[State][]State{
	New:        {Preparing, Ringing, Over},
	Preparing:  {Inviting, Over},
	Inviting:   {Connecting, Over},
	Ringing:    {Connecting, Over},
	Connecting: {Connected, Over},
	Connected:  {Over},
}

// Version of the events of a peer. The old version, the integer 0, has neither parties nor select_answer nor reject.
type Version string

// The versions; an adapter reads everything else as Version1.
const (
	Version0 Version = "0"
	Version1 Version = "1"
)

// Role says who placed the call.
type Role string

// The roles.
const (
	Caller Role = "caller" // we did
	Callee Role = "callee" // the person did
)

// Reason why a call ended: those of the specification, and what other clients send, as they come.
type Reason string

// The reasons that we give.
const (
	UserHangup    Reason = "user_hangup"
	UserBusy      Reason = "user_busy"
	InviteTimeout Reason = "invite_timeout"
	ICEFailed     Reason = "ice_failed"  // no way was found
	ICETimeout    Reason = "ice_timeout" // media had flowed
	MediaFailed   Reason = "user_media_failed"
	UnknownError  Reason = "unknown_error"
	Replaced      Reason = "replaced"           // another call took the place (glare)
	Elsewhere     Reason = "answered_elsewhere" // by another device of the same user
	MaxCall       Reason = "max_call"           // as long as calls may be; the person reads user_hangup
	Left          Reason = "left"               // the person is no longer in the room
	Rejection     Reason = "rejected"
)

// Party is one device of a user in a call.
type Party struct {
	User ids.UserID
	ID   ids.PartyID
}

// Description is an SDP offer or answer of at most MaxSDP bytes, which the adapters hold it to.
type Description struct {
	Type string // offer or answer
	SDP  string
}

// MaxSDP is the longest SDP that is taken, in bytes.
const MaxSDP = 64 << 10

// Candidate is an ICE candidate as the specification has it. Without Candidate it ends them; then it has no MID and no Index.
type Candidate struct {
	Candidate string
	MID       string
	Index     *int
}

// Streams says what each media stream is (sdp_stream_metadata), by its id in the SDP. Nil: nothing was said.
type Streams map[string]Stream

// Stream is the purpose of one media stream and what of it is muted.
type Stream struct {
	Purpose                string // m.usermedia, m.screenshare
	AudioMuted, VideoMuted bool
}

// Timer names what runs out.
type Timer string

// The timers of a call.
const (
	TimerPrepare    Timer = "prepare"    // the leg makes no offer
	TimerLifetime   Timer = "lifetime"   // nobody answers
	TimerConnect    Timer = "connect"    // no media
	TimerRecover    Timer = "recover"    // media broke off
	TimerCandidates Timer = "candidates" // the next batch
	TimerMax        Timer = "max"        // the longest call
)

// Config is what a call is held to. Every zero value means the default.
type Config struct {
	Lifetime time.Duration // of our invitations; 90 s
	Prepare  time.Duration // for the leg to make an offer; 10 s
	Connect  time.Duration // from the answer to the first media; 45 s
	Recover  time.Duration // without media, once it has flowed; 35 s, since clients give up restarting ICE at 30
	Max      time.Duration // from the answer to the end; 1 h
	// Blind: the leg does not tell LegConnected, since it is a device that does its own media. Connect and Recover don't count.
	Blind bool
}

// longestLifetime bounds what a peer's invitation may claim.
const longestLifetime = 5 * time.Minute

func (cfg Config) withDefaults() Config {
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{
		{&cfg.Lifetime, 90 * time.Second},
		{&cfg.Prepare, 10 * time.Second},
		{&cfg.Connect, 45 * time.Second},
		{&cfg.Recover, 35 * time.Second},
		{&cfg.Max, time.Hour},
	} {
		if *d.v <= 0 {
			*d.v = d.d
		}
	}
	return cfg
}

// Call is one call between a leg of ours and one person. Make it with NewCall.
type Call struct {
	ID      ids.CallID
	Room    ids.RoomID
	Self    Party // as whom we speak
	Person  ids.UserID
	Role    Role
	State   State
	Version Version
	Peer    ids.PartyID // of the person: the one who invited, or the one whose answer was chosen
	Reason  Reason      // why it is over
	Began, Answered,
	Flowed, Finished time.Time // zero: not yet

	cfg Config

	early    []early     // what parties sent before one was chosen
	stash    []Candidate // of the person, until the leg has the answer
	out      []Candidate // ours, for the next batch
	batching bool        // TimerCandidates runs
	given    int         // candidates of the person that the leg was given
	said     int         // candidates of ours
	accepted bool        // caller: the leg has the answer
	broken   bool        // TimerRecover runs

	negotiation
}

// early are the candidates of a party that was not chosen yet.
type early struct {
	party ids.PartyID
	list  []Candidate
}

// Bounds on what the other side can make us keep or do, per call.
const (
	maxParties    = 16  // of a person, before one is chosen
	maxCandidates = 200 // of one side in all
	maxOffers     = 60  // within the call
)

// NewCall makes a call that has not begun: the next event is Dialed or Invited.
func NewCall(id ids.CallID, room ids.RoomID, self Party, person ids.UserID, cfg Config) *Call {
	return &Call{ID: id, Room: room, Self: self, Person: person, Version: Version1, cfg: cfg.withDefaults()}
}

// Live tells whether the call has begun and is not over.
func (c *Call) Live() bool { return c.State != New && c.State != Over }

// Clone is a copy that shares nothing that Step changes.
func (c *Call) Clone() *Call {
	n := *c
	n.early = slices.Clone(c.early)
	for i := range n.early {
		n.early[i].list = slices.Clone(n.early[i].list)
	}
	n.stash, n.out = slices.Clone(c.stash), slices.Clone(c.out)
	return &n
}

// Summary is what is left of a call.
type Summary struct {
	ID      ids.CallID
	Room    ids.RoomID
	Person  ids.UserID
	Role    Role
	Reason  Reason
	Began   time.Time
	Rang    time.Duration // until the answer, or the end
	Talked  time.Duration // from the answer to the end; 0: never answered
	Flowed  bool          // media did, as far as the leg tells
	Version Version
}

func (c *Call) summary() Summary {
	s := Summary{ID: c.ID, Room: c.Room, Person: c.Person, Role: c.Role, Reason: c.Reason, Began: c.Began, Flowed: !c.Flowed.IsZero(), Version: c.Version}
	if c.Answered.IsZero() {
		s.Rang = c.Finished.Sub(c.Began)
	} else {
		s.Rang, s.Talked = c.Answered.Sub(c.Began), c.Finished.Sub(c.Answered)
	}
	return s
}
