package voip

import "time"

// Our candidates go in batches (each event is a row in the homeserver's database): the caller's every 2 s, since ringing
// takes longer than that anyway, the callee's every 500 ms, since the person waits.
const (
	batchCaller = 2 * time.Second
	batchCallee = 500 * time.Millisecond
)

// legCandidates: nothing goes out before the invitation or answer that it belongs to; clients drop it.
func (s *step) legCandidates(ev LegCandidates) {
	for _, c := range ev.List {
		if s.said == maxCandidates {
			break
		}
		s.said++
		s.out = append(s.out, c)
	}
	if !s.batching {
		s.flush()
	}
}

// flush sends what is there, and begins the time until the next batch.
func (s *step) flush() {
	if len(s.out) == 0 || s.State != Inviting && !s.talking() {
		return
	}
	every := batchCallee
	if s.Role == Caller {
		every = batchCaller
	}
	s.batching = true
	s.do(SendCandidates{s.out}, SetTimer{TimerCandidates, every})
	s.out = nil
}

// candidates of the person: for the leg once it has the description they belong to, aside until then.
func (s *step) candidates(ev Candidates) {
	if ev.From.User != s.Person {
		return
	}
	if s.State == Preparing || s.State == Inviting {
		s.keepEarly(ev)
		return
	}
	if ev.From.ID != s.Peer {
		return
	}
	for _, c := range ev.List {
		if s.given == maxCandidates {
			break
		}
		s.given++
		s.stash = append(s.stash, c)
	}
	s.handOver()
}

// keepEarly keeps candidates of a party that may yet answer.
func (s *step) keepEarly(ev Candidates) {
	i := 0
	for i < len(s.early) && s.early[i].party != ev.From.ID {
		i++
	}
	if i == len(s.early) {
		if i == maxParties {
			return
		}
		s.early = append(s.early, early{party: ev.From.ID})
	}
	e := &s.early[i]
	e.list = append(e.list, ev.List[:min(len(ev.List), maxCandidates-len(e.list))]...)
}

// handOver gives the leg the person's candidates, if it can use them: a callee's leg has the offer from the beginning, a
// caller's has the answer once it said so.
func (s *step) handOver() {
	if len(s.stash) == 0 || s.Role == Caller && !s.accepted {
		return
	}
	s.do(LegAdd{s.stash})
	s.stash = nil
}
