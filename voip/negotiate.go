package voip

// negotiation is what happens to the session description within a call. The callee is the polite side: a leg that was
// called makes no offers, since pion can't take one back. A caller's offer counts only when it came back from the
// homeserver before any other (Echoed).
type negotiation struct {
	offers   int           // of the person
	asked    bool          // the leg has an offer and owes the answer
	waiting  *LegNegotiate // the offer after that; the latest wins
	ours     bool          // an offer of ours was sent
	standing bool          // and came back
}

const (
	sdpOffer  = "offer"
	sdpAnswer = "answer"
)

func (s *step) negotiated(ev Negotiated) {
	if !s.talking() || !s.fromPeer(ev.From) {
		return
	}
	switch ev.Desc.Type {
	case sdpOffer:
		s.offered(LegNegotiate{ev.Desc, ev.Streams})
	case sdpAnswer:
		if s.ours && s.standing {
			s.ours, s.standing = false, false
			s.do(LegNegotiate{ev.Desc, ev.Streams})
		}
	}
}

// offered: an offer is always answered, unless ours was first. Who floods gets no more answers.
func (s *step) offered(offer LegNegotiate) {
	if s.offers == maxOffers {
		return
	}
	s.offers++
	if s.ours && s.standing {
		return // theirs came second; they see ours and yield
	}
	if s.ours {
		s.ours = false
		s.do(LegOfferDropped{})
	}
	if s.asked {
		s.waiting = &offer
		return
	}
	s.asked = true
	s.do(offer)
}

func (s *step) legNegotiated(ev LegNegotiated) {
	if !s.talking() {
		return
	}
	switch {
	case ev.Desc.Type == sdpAnswer && s.asked:
		s.asked = false
		s.do(SendNegotiate(ev))
		if next := s.waiting; next != nil {
			s.waiting, s.asked = nil, true
			s.do(*next)
		}
	case ev.Desc.Type == sdpOffer && (s.Role != Caller || !s.accepted || s.asked || s.ours):
		s.do(LegOfferDropped{})
	case ev.Desc.Type == sdpOffer:
		s.ours = true
		s.do(SendNegotiate(ev))
	}
}

func (s *step) echoed() {
	if s.ours && !s.standing {
		s.standing = true
		s.do(LegOfferStands{})
	}
}
