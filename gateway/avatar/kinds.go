package avatar

import (
	"image/color"

	"github.com/gatepost/gatepost/mqtt/convention"
)

// picture is what stands for a kind.
type picture struct {
	ground color.NRGBA
	is     shape
}

// The grounds: red for what guards, blue for air and water, and so on.
var (
	red    = color.NRGBA{0xb3, 0x3a, 0x3a, 0xff}
	blue   = color.NRGBA{0x2f, 0x6f, 0xa8, 0xff}
	green  = color.NRGBA{0x3b, 0x80, 0x4d, 0xff}
	amber  = color.NRGBA{0xb8, 0x7a, 0x12, 0xff}
	violet = color.NRGBA{0x70, 0x55, 0x9c, 0xff}
	slate  = color.NRGBA{0x50, 0x5f, 0x6e, 0xff}
)

// of is the picture of a kind. One that is not known is some device.
func of(kind convention.Kind) picture {
	switch kind {
	case convention.Lock:
		bow := ring(50, 45, 13, 7).within(rect(0, 0, 100, 45))
		return picture{red, all(bow, box(29, 45, 71, 76, 5)).without(disc(50, 57, 4.5), rect(48, 57, 52, 67))}
	case convention.AlarmPanel:
		return picture{red, polygon(50, 20, 75, 30, 72, 57, 50, 81, 28, 57, 25, 30).without(box(46.5, 33, 53.5, 56, 3), disc(50, 64, 4))}
	case convention.Siren:
		dome := all(disc(50, 52, 17).within(rect(0, 0, 100, 52)), rect(33, 52, 67, 64))
		return picture{red, all(dome, box(26, 67, 74, 76, 3), line(50, 20, 50, 27, 4), line(27, 29, 32, 34, 4), line(73, 29, 68, 34, 4))}
	case convention.Camera:
		return picture{slate, all(box(20, 35, 63, 66, 6), polygon(66, 46, 80, 37, 80, 64, 66, 55)).without(ring(42, 50.5, 8, 4))}
	case convention.Valve:
		return picture{blue, all(polygon(22, 46, 22, 78, 50, 62), polygon(78, 46, 78, 78, 50, 62), disc(50, 62, 7), rect(47, 34, 53, 62), line(35, 32, 65, 32, 7))}
	case convention.Cover:
		return picture{violet, all(box(24, 24, 76, 32, 2), rect(28, 36, 72, 41), rect(28, 45, 72, 50), rect(28, 54, 72, 59), rect(28, 63, 72, 68), line(64, 68, 64, 77, 3))}
	case convention.Climate:
		tube := all(line(47, 30, 47, 60, 15), disc(47, 66, 13.5)).without(all(line(47, 30, 47, 60, 7), disc(47, 66, 9.5)))
		return picture{amber, all(tube, line(47, 45, 47, 66, 4), disc(47, 66, 6.5), rect(60, 30, 70, 34), rect(60, 41, 67, 45), rect(60, 52, 70, 56))}
	case convention.Heater:
		return picture{amber, all(drop(50, 60, 21).without(drop(50, 64, 12)), drop(50, 66, 7))}
	case convention.Humidifier:
		return picture{blue, all(drop(50, 42, 10), drop(34, 67, 9), drop(66, 67, 9))}
	case convention.Fan:
		blade := func(x, y float64) bool { dx, dy := (x-56)/9, (y-34)/15; return dx*dx+dy*dy <= 1 }
		s := shape(blade)
		return picture{blue, all(all(s, s.turned(120), s.turned(240)).without(disc(50, 50, 8)), disc(50, 50, 5))}
	case convention.Vacuum:
		return picture{slate, disc(50, 50, 29).without(ring(50, 50, 21, 3).within(rect(0, 0, 100, 50)), disc(50, 50, 5), rect(40, 64, 60, 67))}
	case convention.Mower:
		body := polygon(24, 62, 28, 46, 60, 46, 72, 62)
		return picture{green, all(body, line(30, 46, 18, 28, 4), disc(34, 65, 9), disc(64, 65, 9), line(22, 78, 80, 78, 4)).without(disc(34, 65, 4), disc(64, 65, 4))}
	case convention.Lamp:
		bulb := all(disc(50, 42, 20), polygon(35, 54, 65, 54, 59, 66, 41, 66))
		return picture{amber, all(bulb, line(43, 71, 57, 71, 4), line(46, 77, 54, 77, 4))}
	case convention.Plug:
		return picture{green, all(rect(38, 22, 44, 40), rect(56, 22, 62, 40), box(30, 40, 70, 50, 2), disc(50, 50, 17).within(rect(0, 50, 100, 100)), line(50, 64, 50, 80, 6))}
	case convention.Drone:
		arms := all(line(30, 34, 70, 66, 5), line(70, 34, 30, 66, 5))
		rotors := all(ring(28, 33, 10, 4), ring(72, 33, 10, 4), ring(28, 67, 10, 4), ring(72, 67, 10, 4))
		return picture{violet, all(arms, rotors, box(42, 40, 58, 60, 6))}
	case convention.Tracker:
		return picture{red, all(disc(50, 42, 20), polygon(31.5, 50, 68.5, 50, 50, 82)).without(disc(50, 42, 8))}
	case convention.Remote:
		return picture{slate, box(36, 20, 64, 80, 8).without(disc(50, 33, 6), disc(44, 49, 3), disc(56, 49, 3), disc(44, 59, 3), disc(56, 59, 3), disc(44, 69, 3), disc(56, 69, 3))}
	case convention.Sensor:
		sides := all(polygon(50, 50, 90, 15, 90, 85), polygon(50, 50, 10, 15, 10, 85))
		return picture{green, all(disc(50, 50, 6), all(ring(50, 50, 16, 5), ring(50, 50, 28, 5)).within(sides))}
	case convention.Bridge:
		spokes := all(line(50, 50, 50, 27, 4), line(50, 50, 29, 66, 4), line(50, 50, 71, 66, 4))
		return picture{slate, all(spokes, disc(50, 50, 11), disc(50, 26, 8), disc(29, 67, 8), disc(71, 67, 8))}
	default:
		pin := line(42, 24, 42, 76, 3)
		pins := all(pin, line(50, 24, 50, 76, 3), line(58, 24, 58, 76, 3))
		chip := all(pins, pins.turned(90), box(32, 32, 68, 68, 4))
		return picture{slate, chip.without(ring(50, 50, 8, 4))}
	}
}
