package media

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/jpeg"

	"golang.org/x/image/draw"
)

// maxPixels is the largest picture that is decoded.
const maxPixels = 8_000_000

// Decoder makes thumbnails, one at a time: decoding is the only thing here that takes memory by the size of a picture (at
// most 64 MB for a moment). Safe for concurrent use.
type Decoder struct{ turn chan struct{} }

// NewDecoder makes a Decoder.
func NewDecoder() *Decoder { return &Decoder{make(chan struct{}, 1)} }

// Thumbnail decodes the picture b and makes a JPEG of it that fits into maxW by maxH pixels and is the right way up; a
// smaller picture keeps its size. What is transparent becomes white, of an animation it is the first picture. It waits for
// its turn until ctx is done. Errors: ErrUnknown, ErrMalformed, ErrTooLarge (more than 8 megapixels), that of ctx.
func (d *Decoder) Thumbnail(ctx context.Context, b []byte, maxW, maxH int) ([]byte, Info, error) {
	info, err := Inspect(b)
	if err != nil {
		return nil, Info{}, err
	}
	if info.Width == 0 {
		return nil, Info{}, ErrUnknown
	}
	if info.Width*info.Height > maxPixels {
		return nil, Info{}, ErrTooLarge
	}
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return nil, Info{}, ctx.Err()
	}
	src, err := decode(b)
	if err != nil {
		return nil, Info{}, err
	}
	o := 0
	if info.MIME == "image/jpeg" {
		o = jpegOrientation(b)
	}
	w, h := fit(info.Width, info.Height, maxW, maxH)
	if o >= 5 { // it is scaled as it lies and turned when it is small
		w, h = h, w
	}
	small := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(small, small.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
	draw.ApproxBiLinear.Scale(small, small.Bounds(), src, src.Bounds(), draw.Over, nil)
	small = turn(small, o)
	var out bytes.Buffer
	if err := jpeg.Encode(&out, small, &jpeg.Options{Quality: 80}); err != nil {
		return nil, Info{}, err
	}
	return out.Bytes(), Info{MIME: "image/jpeg", Ext: ".jpg", Width: small.Rect.Dx(), Height: small.Rect.Dy()}, nil
}

// decode is the one place where the decoders see a whole picture from outside; a panic in one of them is a broken picture.
func decode(b []byte) (img image.Image, err error) {
	defer func() {
		if recover() != nil {
			img, err = nil, ErrMalformed
		}
	}()
	img, _, err = image.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, ErrMalformed
	}
	return img, nil
}

// fit keeps the proportions and never enlarges; no side becomes 0.
func fit(w, h, maxW, maxH int) (int, int) {
	maxW, maxH = max(maxW, 1), max(maxH, 1)
	if w > maxW {
		w, h = maxW, max(h*maxW/w, 1)
	}
	if h > maxH {
		w, h = max(w*maxH/h, 1), maxH
	}
	return w, h
}

// turn puts a picture upright that lies as EXIF orientation o says.
func turn(in *image.RGBA, o int) *image.RGBA {
	if o < 2 || o > 8 {
		return in
	}
	w, h := in.Rect.Dx(), in.Rect.Dy()
	size := image.Rect(0, 0, w, h)
	if o >= 5 {
		size = image.Rect(0, 0, h, w)
	}
	out := image.NewRGBA(size)
	for y := range h {
		for x := range w {
			tx, ty := x, y
			switch o {
			case 2:
				tx = w - 1 - x
			case 3:
				tx, ty = w-1-x, h-1-y
			case 4:
				ty = h - 1 - y
			case 5:
				tx, ty = y, x
			case 6:
				tx, ty = h-1-y, x
			case 7:
				tx, ty = h-1-y, w-1-x
			case 8:
				tx, ty = y, w-1-x
			}
			out.SetRGBA(tx, ty, in.RGBAAt(x, y))
		}
	}
	return out
}
