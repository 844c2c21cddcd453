package store

// arena holds encoded values until the transaction has ended, since bbolt does not copy them before. The zero value is
// empty.
type arena struct{ b []byte }

// maxArena is how much memory is kept for the next transaction.
const maxArena = 2 << 20

func (a *arena) reset() {
	if a.b = a.b[:0]; cap(a.b) > maxArena {
		a.b = nil
	}
}

// keep gives room for one value. f appends to what it gets.
func (a *arena) keep(f func(dst []byte) []byte) []byte {
	start := len(a.b)
	if cap(a.b)-start < 4<<10 {
		a.b = make([]byte, 0, max(2*cap(a.b), 64<<10)) // the old one stays alive through the values in it
		start = 0
	}
	a.b = f(a.b)
	return a.b[start:len(a.b):len(a.b)]
}
