package avatar

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/png"

	"github.com/gatepost/gatepost/mqtt/convention"
)

// Size is the width and height of a picture in pixels. Each is drawn of samples by samples points.
const (
	Size    = 128
	samples = 3
)

// Version changes with the pictures: one that was uploaded by another version is uploaded again.
const Version = 1

// PNG draws the picture of a kind of device; one that is not known is some device. The same kind gives the same bytes.
func PNG(kind convention.Kind) []byte {
	p := of(kind)
	canvas := image.NewNRGBA(image.Rect(0, 0, Size, Size))
	draw.Draw(canvas, canvas.Bounds(), image.NewUniform(p.ground), image.Point{}, draw.Src)
	draw.DrawMask(canvas, canvas.Bounds(), image.NewUniform(color.White), image.Point{}, coverage(p.is), image.Point{}, draw.Over)
	var out bytes.Buffer
	if err := png.Encode(&out, canvas); err != nil {
		panic(err) // of a picture in memory into memory
	}
	return out.Bytes()
}

// coverage is how much of each pixel is in s.
func coverage(s shape) *image.Alpha {
	mask := image.NewAlpha(image.Rect(0, 0, Size, Size))
	const step = 100.0 / Size / samples
	for py := range Size {
		for px := range Size {
			n := 0
			for i := range samples * samples {
				x, y := float64(px*samples+i%samples), float64(py*samples+i/samples)
				if s((x+0.5)*step, (y+0.5)*step) {
					n++
				}
			}
			mask.SetAlpha(px, py, color.Alpha{A: uint8(n * 255 / (samples * samples))})
		}
	}
	return mask
}
