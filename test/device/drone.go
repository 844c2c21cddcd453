package device

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"math"
	"time"
)

// Drone flies round a lake. Every Every (0 means 1 s) it publishes its battery (per cent) and position (JSON) to
// drones/<Name>/battery and /position, and with each Picture-th position (0 means 5th) a JPEG to /camera.
type Drone struct {
	Broker  string
	Name    string
	Every   time.Duration
	Picture int
}

// Run flies until ctx is done.
func (d Drone) Run(ctx context.Context) error {
	if d.Picture == 0 {
		d.Picture = 5
	}
	return with(ctx, Config{Addr: d.Broker, ClientID: d.Name}, func(ctx context.Context, c *Client) error {
		return every(ctx, d.Every, func(step int) error {
			publish := func(reading string, payload []byte) error {
				return c.Publish(ctx, Message{Topic: "drones/" + d.Name + "/" + reading, Payload: payload, QoS: 1})
			}
			if err := publish("battery", fmt.Append(nil, battery(step))); err != nil {
				return err
			}
			if err := publish("position", positionAt(step).json()); err != nil {
				return err
			}
			if step%d.Picture != d.Picture/2 {
				return nil
			}
			picture, err := Picture(step)
			if err != nil {
				return err
			}
			return publish("camera", picture)
		})
	})
}

// battery falls from 100 to 20 per cent and is changed then.
func battery(step int) int { return 100 - step/3%81 }

// position in degrees and metres, speed in metres a second.
type position struct{ lat, lon, alt, speed float64 }

const lap = 120 // steps once round

// positionAt is a place on the flight path, a lopsided loop of about 3 km.
func positionAt(step int) position {
	a := 2 * math.Pi * float64(step) / lap
	return position{
		lat:   47.3100 + 0.0090*math.Sin(a) + 0.0025*math.Sin(2*a),
		lon:   8.5800 + 0.0140*math.Cos(a),
		alt:   80 + 20*math.Sin(3*a),
		speed: 9 + 3*math.Cos(2*a),
	}
}

func (p position) json() []byte {
	return fmt.Appendf(nil, `{"lat":%.5f,"lon":%.5f,"alt":%.1f,"speed":%.1f}`, p.lat, p.lon, p.alt, p.speed)
}

// Size of the drone's pictures in pixels.
const (
	PictureWidth  = 320
	PictureHeight = 240
)

// Picture is what the drone sends at a step: a map of the lake with the way flown so far, as a JPEG.
func Picture(step int) ([]byte, error) {
	img := image.NewRGBA(image.Rect(0, 0, PictureWidth, PictureHeight))
	draw.Draw(img, img.Bounds(), image.NewUniform(color.RGBA{0x7d, 0xa8, 0x6b, 0xff}), image.Point{}, draw.Src)
	for y := range PictureHeight {
		for x := range PictureWidth {
			dx, dy := float64(x-PictureWidth/2)/95, float64(y-PictureHeight/2)/60
			switch d := dx*dx + dy*dy + 0.15*math.Sin(4*dx); {
			case d < 1:
				img.Set(x, y, color.RGBA{0x4f, 0x86, 0xb8, 0xff}) // water
			case d < 1.08:
				img.Set(x, y, color.RGBA{0xd8, 0xcc, 0x9a, 0xff}) // shore
			case x%40 == 0 || y%40 == 0:
				img.Set(x, y, color.RGBA{0x73, 0x9c, 0x62, 0xff}) // grid
			}
		}
	}
	const parts = 8 // dots between two positions
	for i := max(0, step-lap) * parts; i <= step*parts; i++ {
		dot(img, pathPoint(float64(i)/parts), 1, color.RGBA{0xff, 0xe0, 0x40, 0xff})
	}
	dot(img, pathPoint(0), 4, color.RGBA{0xff, 0xff, 0xff, 0xff}) // home
	dot(img, pathPoint(float64(step)), 5, color.RGBA{0xd0, 0x20, 0x20, 0xff})
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 85}); err != nil {
		return nil, fmt.Errorf("draw the map: %w", err)
	}
	return b.Bytes(), nil
}

// pathPoint is the pixel of the flight path at a step.
func pathPoint(step float64) image.Point {
	a := 2 * math.Pi * step / lap
	return image.Pt(
		int(PictureWidth/2+130*math.Cos(a)),
		int(PictureHeight/2-85*math.Sin(a)-22*math.Sin(2*a)),
	)
}

func dot(img *image.RGBA, at image.Point, radius int, c color.Color) {
	for y := -radius; y <= radius; y++ {
		for x := -radius; x <= radius; x++ {
			if x*x+y*y <= radius*radius {
				img.Set(at.X+x, at.Y+y, c)
			}
		}
	}
}
