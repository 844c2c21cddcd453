package avatar

import (
	"bytes"
	"image/png"
	"testing"

	"github.com/gatepost/gatepost/mqtt/convention"
)

var kinds = []convention.Kind{
	convention.Lock, convention.AlarmPanel, convention.Siren, convention.Camera, convention.Valve, convention.Cover, convention.Climate,
	convention.Heater, convention.Humidifier, convention.Fan, convention.Vacuum, convention.Mower, convention.Lamp, convention.Plug,
	convention.Drone, convention.Tracker, convention.Remote, convention.Sensor, convention.Bridge, convention.Other,
}

// Each kind has a picture of its own, small, and with enough white to be seen within the circle that clients cut out.
func TestPictures(t *testing.T) {
	seen := map[string]convention.Kind{}
	for _, kind := range kinds {
		data := PNG(kind)
		if other, is := seen[string(data)]; is {
			t.Errorf("%q looks like %q", kind, other)
		}
		seen[string(data)] = kind
		if len(data) > 8<<10 {
			t.Errorf("%q has %d bytes", kind, len(data))
		}
		picture, err := png.Decode(bytes.NewReader(data))
		if err != nil || picture.Bounds().Dx() != Size || picture.Bounds().Dy() != Size {
			t.Fatalf("%q: %v", kind, err)
		}
		white, lost := 0, 0
		for y := range Size {
			for x := range Size {
				if r, g, b, _ := picture.At(x, y).RGBA(); min(r, g, b) < 0xf000 {
					continue
				}
				white++
				if dx, dy := x-Size/2, y-Size/2; dx*dx+dy*dy > Size*Size/4 {
					lost++
				}
			}
		}
		if part := 100 * white / (Size * Size); part < 5 || part > 40 || lost > 0 {
			t.Errorf("%q: %d %% is white, %d pixels of it outside the circle", kind, part, lost)
		}
	}
	if !bytes.Equal(PNG("unheard of"), PNG(convention.Other)) {
		t.Error("a kind that is not known is not some device")
	}
}
