package voip

import (
	"slices"
	"time"
)

// Step moves c and says what must now happen, in order. It does nothing itself. An event that has no meaning in the state
// of the call, or comes from somebody who has no say in it, has no effects.
func (c *Call) Step(now time.Time, ev Event) []Effect {
	if c.State == Over || c.State == New && !begins(ev) {
		return nil
	}
	s := step{Call: c, now: now}
	switch ev := ev.(type) {
	case Dialed:
		s.dialed()
	case Invited:
		s.invited(ev)
	case Answered:
		s.answered(ev)
	case Candidates:
		s.candidates(ev)
	case Selected:
		s.selectedParty(ev)
	case Rejected:
		s.rejected(ev)
	case HungUp:
		s.hungUp(ev)
	case Negotiated:
		s.negotiated(ev)
	case StreamsChanged:
		if s.fromPeer(ev.From) && s.talking() {
			s.do(LegStreams{ev.Streams})
		}
	case PeerLeft:
		if ev.User == c.Person {
			s.end(Left)
		}
	case Echoed:
		s.echoed()
	case LegOffered:
		s.legOffered(ev)
	case LegAnswered:
		s.legAnswered(ev)
	case LegAccepted:
		s.legAccepted()
	case LegCandidates:
		s.legCandidates(ev)
	case LegNegotiated:
		s.legNegotiated(ev)
	case LegConnected:
		s.legConnected()
	case LegDisconnected:
		if s.talking() && !c.cfg.Blind && !c.broken && c.State == Connected {
			c.broken = true
			s.do(SetTimer{TimerRecover, c.cfg.Recover})
		}
	case LegHungUp:
		s.give(ev.Reason)
	case Expired:
		s.expired(ev.Timer)
	case Ended:
		s.give(ev.Reason)
	}
	return s.effects
}

func begins(ev Event) bool {
	switch ev.(type) {
	case Dialed, Invited:
		return true
	}
	return false
}

// step is one call of Step: the call, and the effects so far.
type step struct {
	*Call
	now     time.Time
	effects []Effect
}

func (s *step) do(effects ...Effect) { s.effects = append(s.effects, effects...) }

// move changes the state. A move that is not in the table is a mistake of this package.
func (s *step) move(to State) {
	if !slices.Contains(moves[s.State], to) {
		panic("voip: no move from " + string(s.State) + " to " + string(to))
	}
	s.State = to
}

func (s *step) talking() bool { return s.State == Connecting || s.State == Connected }

// fromPeer tells whether p is the party that this call is with.
func (s *step) fromPeer(p Party) bool { return p.User == s.Person && p.ID == s.Peer }

// dialed: we call. First the leg must say what it offers.
func (s *step) dialed() {
	if s.State != New {
		return
	}
	s.Role, s.Began = Caller, s.now
	s.move(Preparing)
	s.do(SetTimer{TimerPrepare, s.cfg.Prepare}, LegPrepare{})
}

func (s *step) legOffered(ev LegOffered) {
	if s.State != Preparing {
		return
	}
	s.move(Inviting)
	s.do(StopTimer{TimerPrepare}, SendInvite{ev.Offer, ev.Streams, s.cfg.Lifetime}, SetTimer{TimerLifetime, s.cfg.Lifetime})
	s.flush()
}

// answered: the first answer is the one that counts.
func (s *step) answered(ev Answered) {
	if ev.From.User == s.Self.User && ev.From.ID != s.Self.ID && s.State == Ringing {
		s.end(Elsewhere)
		return
	}
	if s.State != Inviting || ev.From.User != s.Person {
		return
	}
	s.Peer, s.Version, s.Answered = ev.From.ID, ev.Version, s.now
	s.talk()
	s.do(LegAnswer{ev.Answer, ev.Streams, ev.DTMF})
	for _, e := range s.early {
		if e.party == s.Peer {
			s.stash = e.list
		}
	}
	s.early = nil
}

// legAccepted: now the others can be told, and the candidates handed over that came before.
func (s *step) legAccepted() {
	if s.Role != Caller || !s.talking() || s.accepted {
		return
	}
	s.accepted = true
	if s.Version != Version0 {
		s.do(SendSelect{s.Peer})
	}
	s.handOver()
}

// talk begins the part of a call that both sides are in.
func (s *step) talk() {
	s.move(Connecting)
	s.do(StopTimer{TimerLifetime}, SetTimer{TimerMax, s.cfg.Max})
	if !s.cfg.Blind {
		s.do(SetTimer{TimerConnect, s.cfg.Connect})
	}
	s.do(ReportAnswer{})
}

// invited: the person calls.
func (s *step) invited(ev Invited) {
	if s.State != New || ev.From.User != s.Person {
		return
	}
	s.Role, s.Began, s.Peer, s.Version = Callee, s.now, ev.From.ID, ev.Version
	s.move(Ringing)
	s.do(SetTimer{TimerLifetime, min(max(ev.Left, 0), longestLifetime)}, LegInvite{ev.Offer, ev.Streams, ev.Auto})
}

func (s *step) legAnswered(ev LegAnswered) {
	if s.State != Ringing {
		return
	}
	s.Answered = s.now
	s.talk()
	s.do(SendAnswer(ev))
	s.flush() // what was gathered before the answer follows it
	s.handOver()
}

// selectedParty: the caller has several answers, and says whose it takes.
func (s *step) selectedParty(ev Selected) {
	if s.Role != Callee || !s.fromPeer(ev.From) {
		return
	}
	if ev.Party != s.Self.ID {
		s.end(Elsewhere)
	}
}

// rejected: a rejection counts for all devices of the person, unless one of them has answered.
func (s *step) rejected(ev Rejected) {
	switch {
	case ev.From.User == s.Self.User && ev.From.ID != s.Self.ID && s.State == Ringing:
		s.end(Elsewhere)
	case s.State == Inviting && ev.From.User == s.Person:
		s.Peer = ev.From.ID
		s.do(SendSelect{ev.From.ID})
		s.end(orElse(ev.Reason, Rejection))
	}
}

// hungUp: only the party that the call is with can end it. Before one is chosen any of them can: the old version has no
// rejection.
func (s *step) hungUp(ev HungUp) {
	chosen := s.Role == Callee || s.talking()
	if ev.From.User != s.Person || chosen && ev.From.ID != s.Peer || s.State == Preparing {
		return
	}
	s.end(orElse(ev.Reason, UserHangup))
}

func orElse(r, other Reason) Reason {
	if r == "" {
		return other
	}
	return r
}

func (s *step) legConnected() {
	if !s.talking() || s.cfg.Blind {
		return
	}
	if s.State == Connecting {
		s.move(Connected)
		s.Flowed = s.now
		s.do(StopTimer{TimerConnect})
	}
	if s.broken {
		s.broken = false
		s.do(StopTimer{TimerRecover})
	}
}

func (s *step) expired(t Timer) {
	switch {
	case t == TimerPrepare && s.State == Preparing:
		s.end(MediaFailed) // the person never heard of it
	case t == TimerLifetime && s.State == Inviting:
		s.give(InviteTimeout)
	case t == TimerLifetime && s.State == Ringing:
		s.end(InviteTimeout) // the caller's devices know it themselves
	case t == TimerConnect && s.State == Connecting:
		s.give(ICEFailed)
	case t == TimerRecover && s.broken:
		s.give(ICETimeout)
	case t == TimerMax && s.talking():
		s.give(MaxCall)
	case t == TimerCandidates && s.batching:
		s.batching = false
		s.flush()
	}
}

// give ends the call from our side and tells the person.
func (s *step) give(r Reason) {
	r = orElse(r, UserHangup)
	said := r
	switch r {
	case MaxCall, Left, Rejection:
		said = UserHangup
	}
	switch {
	case s.State == Preparing: // nothing was sent
	case s.State == Ringing && s.Version != Version0 && r != UnknownError:
		if said == UserHangup {
			said = "" // a rejection needs no reason
		}
		s.do(SendReject{said})
	default:
		s.do(SendHangup{said})
	}
	s.end(r)
}

// end is the last of a call. What the leg and the person need not be told is not told.
func (s *step) end(r Reason) {
	for _, t := range s.running() {
		s.do(StopTimer{t})
	}
	s.move(Over)
	s.Reason, s.Finished = r, s.now
	s.early, s.stash, s.out, s.negotiation = nil, nil, nil, negotiation{}
	s.do(LegClose{r}, Report{s.summary()})
}

// running are the timers that may not have run out.
func (s *step) running() []Timer {
	var list []Timer
	switch s.State {
	case Preparing:
		list = append(list, TimerPrepare)
	case Inviting, Ringing:
		list = append(list, TimerLifetime)
	case Connecting, Connected:
		list = append(list, TimerMax)
		if s.State == Connecting && !s.cfg.Blind {
			list = append(list, TimerConnect)
		}
	}
	if s.broken {
		list = append(list, TimerRecover)
	}
	if s.batching {
		list = append(list, TimerCandidates)
	}
	return list
}

// refuse ends a call before its leg has heard of it.
func (c *Call) refuse(now time.Time, role Role, r Reason) []Effect {
	s := step{Call: c, now: now}
	s.Role, s.Began = role, now
	switch {
	case role == Caller: // the person never hears of it
	case s.Version == Version0:
		s.do(SendHangup{r})
	default:
		s.do(SendReject{r})
	}
	s.move(Over)
	s.Reason, s.Finished = r, now
	s.do(Report{s.summary()})
	return s.effects
}
