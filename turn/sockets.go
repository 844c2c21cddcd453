package turn

// sockets are the relay sockets of a worker by handle. Handles begin with 1, so that 0 is none.
type sockets struct {
	all  []*socket
	free []int32
}

func (s *sockets) at(handle int32) *socket {
	if handle <= 0 || int(handle) >= len(s.all) {
		return nil
	}
	return s.all[handle]
}

func (s *sockets) add(new *socket) {
	if n := len(s.free); n > 0 {
		new.handle, s.free = s.free[n-1], s.free[:n-1]
		s.all[new.handle] = new
		return
	}
	if len(s.all) == 0 {
		s.all = append(s.all, nil)
	}
	new.handle = int32(len(s.all))
	s.all = append(s.all, new)
}

func (s *sockets) remove(handle int32) {
	s.all[handle] = nil
	s.free = append(s.free, handle)
}
