package avatar

import "math"

// shape says whether a point is in it. Pictures are 100 wide and high, y grows downwards; what is within 40 of the middle is
// seen by everybody.
type shape func(x, y float64) bool

func disc(cx, cy, r float64) shape {
	return func(x, y float64) bool { return (x-cx)*(x-cx)+(y-cy)*(y-cy) <= r*r }
}

// ring is a circle of radius r to the middle of a line w wide.
func ring(cx, cy, r, w float64) shape { return disc(cx, cy, r+w/2).without(disc(cx, cy, r-w/2)) }

func rect(x0, y0, x1, y1 float64) shape {
	return func(x, y float64) bool { return x >= x0 && x <= x1 && y >= y0 && y <= y1 }
}

// box is a rectangle with round corners of radius r.
func box(x0, y0, x1, y1, r float64) shape {
	return func(x, y float64) bool {
		dx, dy := max(x0+r-x, x-x1+r, 0), max(y0+r-y, y-y1+r, 0)
		return dx*dx+dy*dy <= r*r
	}
}

// line is one with round ends, w wide.
func line(x0, y0, x1, y1, w float64) shape {
	dx, dy := x1-x0, y1-y0
	return func(x, y float64) bool {
		t := min(max(((x-x0)*dx+(y-y0)*dy)/(dx*dx+dy*dy), 0), 1)
		return math.Hypot(x-x0-t*dx, y-y0-t*dy) <= w/2
	}
}

// polygon takes its corners as x, y, x, y, ...
func polygon(at ...float64) shape {
	return func(x, y float64) bool {
		in := false
		for i, j := 0, len(at)-2; i < len(at); i, j = i+2, i {
			if (at[i+1] > y) != (at[j+1] > y) && x < (at[j]-at[i])*(y-at[i+1])/(at[j+1]-at[i+1])+at[i] {
				in = !in
			}
		}
		return in
	}
}

// drop is a drop of water whose round part has the radius r.
func drop(cx, cy, r float64) shape {
	return all(disc(cx, cy, r), polygon(cx, cy-2.1*r, cx+0.88*r, cy-0.47*r, cx-0.88*r, cy-0.47*r))
}

// all is what is in any of them.
func all(list ...shape) shape {
	return func(x, y float64) bool {
		for _, s := range list {
			if s(x, y) {
				return true
			}
		}
		return false
	}
}

func (s shape) without(o ...shape) shape {
	hole := all(o...)
	return func(x, y float64) bool { return s(x, y) && !hole(x, y) }
}

func (s shape) within(o shape) shape {
	return func(x, y float64) bool { return s(x, y) && o(x, y) }
}

// turned is s turned clockwise about the middle, in degrees.
func (s shape) turned(degrees float64) shape {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	return func(x, y float64) bool {
		x, y = x-50, y-50
		return s(50+x*cos+y*sin, 50-x*sin+y*cos)
	}
}
