package media

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/image/webp"
)

const secret = "GPS 52.5200 13.4050 serial 0815"

// picture is w by h, red in its left upper quarter and blue elsewhere.
func picture(w, h int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.Set(x, y, color.RGBA{B: 255, A: 255})
			if x < w/2 && y < h/2 {
				m.Set(x, y, color.RGBA{R: 255, A: 255})
			}
		}
	}
	return m
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func segment(marker byte, body string) []byte {
	s := []byte{0xff, marker, 0, 0}
	binary.BigEndian.PutUint16(s[2:], uint16(len(body)+2))
	return append(s, body...)
}

// exif says how the picture lies, in the byte order of its maker, and a secret.
func exif(order binary.ByteOrder, orientation uint16) string {
	t := []byte("II*\x00")
	if order == binary.BigEndian {
		t = []byte("MM\x00*")
	}
	add16 := func(v uint16) { b := make([]byte, 2); order.PutUint16(b, v); t = append(t, b...) }
	add32 := func(v uint32) { b := make([]byte, 4); order.PutUint32(b, v); t = append(t, b...) }
	add32(8)
	add16(2)
	add16(0x010f) // maker
	add16(2)
	add32(uint32(len(secret)))
	add32(38)
	add16(0x0112)
	add16(3)
	add32(1)
	add16(orientation)
	add16(0)
	add32(0)
	return exifHeader + string(t) + secret
}

// cameraJPEG is a picture as a phone writes it: with everything in it.
func cameraJPEG(t testing.TB, w, h int, orientation uint16) []byte {
	var plain bytes.Buffer
	if err := jpeg.Encode(&plain, picture(w, h), nil); err != nil {
		t.Fatal(err)
	}
	b := plain.Bytes()
	out := slices.Clone(b[:2])
	out = append(out, segment(jpegAPP0, "JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x02\x02"+secret[:12])...) // with a preview
	out = append(out, segment(jpegAPP0, "JFXX\x00"+secret)...)
	out = append(out, segment(jpegAPP1, exif(binary.LittleEndian, orientation))...)
	out = append(out, segment(jpegAPP1, "http://ns.adobe.com/xap/1.0/\x00"+secret)...)
	out = append(out, segment(jpegAPP2, "ICC_PROFILE\x00profile")...)
	out = append(out, segment(jpegAPP2, "MPF\x00"+secret)...)
	out = append(out, segment(0xed, "Photoshop 3.0\x00"+secret)...)
	out = append(out, segment(jpegCOM, secret)...)
	out = append(out, 0xff, 0xff, 0xff) // fill
	out = append(out, b[3:]...)
	return append(out, "\xff\xd8\xff\xe1"+secret...) // a second picture behind the end
}

func chunkPNG(name, body string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	b = append(b, name+body...)
	return string(binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE([]byte(name+body))))
}

func cameraPNG(t testing.TB) []byte {
	var plain bytes.Buffer
	if err := png.Encode(&plain, picture(20, 10)); err != nil {
		t.Fatal(err)
	}
	s := plain.String()
	head := len(pngSignature) + 25
	return []byte(s[:head] + chunkPNG("pHYs", "\x00\x00\x00\x01\x00\x00\x00\x01\x00") + chunkPNG("tEXt", "Comment\x00"+secret) + chunkPNG("iTXt", secret) +
		chunkPNG("zTXt", secret) + chunkPNG("eXIf", secret) + chunkPNG("tIME", "1234567") + chunkPNG("prVt", secret) + s[head:] + secret)
}

func chunkRIFF(name, body string) string {
	b := binary.LittleEndian.AppendUint32([]byte(name), uint32(len(body)))
	b = append(b, body...)
	if len(body)%2 == 1 {
		b = append(b, 0)
	}
	return string(b)
}

// tinyWebP is one lossless pixel.
const tinyWebP = "UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA=="

func cameraWebP(t testing.TB) []byte {
	plain := must[[]byte](t)(base64.StdEncoding.DecodeString(tinyWebP))
	image := string(plain[12:])
	body := "WEBP" + chunkRIFF("VP8X", "\x2c\x00\x00\x00\x00\x00\x00\x00\x00\x00") + chunkRIFF("ICCP", "odd") + image +
		chunkRIFF("EXIF", exif(binary.BigEndian, 6)) + chunkRIFF("XMP ", secret) + chunkRIFF("abcd", secret)
	return []byte(chunkRIFF("RIFF", body) + secret)
}

func animatedWebP(t testing.TB) []byte {
	plain := must[[]byte](t)(base64.StdEncoding.DecodeString(tinyWebP))
	frame := chunkRIFF("ANMF", strings.Repeat("\x00", 16)+string(plain[12:])+chunkRIFF("note", secret))
	return []byte(chunkRIFF("RIFF", "WEBP"+chunkRIFF("VP8X", "\x0e\x00\x00\x00\x00\x00\x00\x00\x00\x00")+chunkRIFF("ANIM", "\x00\x00\x00\x00\x00\x00")+frame+frame+chunkRIFF("EXIF", secret)))
}

func cameraGIF(t testing.TB) []byte {
	frame := image.NewPaletted(image.Rect(0, 0, 8, 6), color.Palette{color.Black, color.White})
	var plain bytes.Buffer
	if err := gif.EncodeAll(&plain, &gif.GIF{Image: []*image.Paletted{frame, frame}, Delay: []int{1, 1}}); err != nil {
		t.Fatal(err)
	}
	s := plain.String()
	if !strings.Contains(s, "NETSCAPE2.0") {
		t.Fatal("the sample does not loop")
	}
	at := strings.Index(s, "\x21\xff")
	block := string(rune(len(secret))) + secret + "\x00"
	return []byte(s[:at] + "\x21\xfe" + block + "\x21\xff\x0bXMP DataXMP" + block + s[at:] + secret)
}

func samples(t testing.TB) map[string][]byte {
	return map[string][]byte{
		"image/jpeg": cameraJPEG(t, 40, 20, 6),
		"image/png":  cameraPNG(t),
		"image/webp": cameraWebP(t),
		"image/gif":  cameraGIF(t),
	}
}

func TestStripRemovesAllButThePicture(t *testing.T) {
	all := samples(t)
	for mime, b := range all {
		if !bytes.Contains(b, []byte(secret)) {
			t.Fatalf("%s: the sample has no secret", mime)
		}
		before := must[Info](t)(Inspect(b))
		if before.MIME != mime {
			t.Errorf("%s: taken for %s", mime, before.MIME)
		}
		input := slices.Clone(b)
		out, err := Strip(b, mime)
		if err != nil {
			t.Errorf("%s: %v", mime, err)
			continue
		}
		if !bytes.Equal(b, input) {
			t.Errorf("%s: the input was changed", mime)
		}
		for _, left := range []string{"GPS", "0815", "Comment", "XMP", "xap"} {
			if bytes.Contains(out, []byte(left)) {
				t.Errorf("%s: %q is left", mime, left)
			}
		}
		if after := must[Info](t)(Inspect(out)); after != before {
			t.Errorf("%s: %v became %v", mime, before, after)
		}
		want, _, err := image.Decode(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%s: the sample cannot be decoded: %v", mime, err)
		}
		got, _, err := image.Decode(bytes.NewReader(out))
		if err != nil {
			t.Errorf("%s: %v", mime, err)
			continue
		}
		if !samePixels(got, want) {
			t.Errorf("%s: other pixels", mime)
		}
		if again := must[[]byte](t)(Strip(out, mime)); !bytes.Equal(again, out) {
			t.Errorf("%s: a second time makes a difference", mime)
		}
	}
}

func samePixels(a, b image.Image) bool {
	if a.Bounds() != b.Bounds() {
		return false
	}
	for y := a.Bounds().Min.Y; y < a.Bounds().Max.Y; y++ {
		for x := a.Bounds().Min.X; x < a.Bounds().Max.X; x++ {
			r, g, bl, al := a.At(x, y).RGBA()
			r2, g2, bl2, al2 := b.At(x, y).RGBA()
			if r != r2 || g != g2 || bl != bl2 || al != al2 {
				return false
			}
		}
	}
	return true
}

func TestStripKeepsWhatIsSeen(t *testing.T) {
	j := must[[]byte](t)(Strip(cameraJPEG(t, 40, 20, 6), "image/jpeg"))
	if o := jpegOrientation(j); o != 6 {
		t.Errorf("orientation %d", o)
	}
	if !bytes.Contains(j, []byte("ICC_PROFILE")) || !bytes.Contains(j, []byte("JFIF")) {
		t.Error("the colours of the JPEG are gone")
	}
	if j = must[[]byte](t)(Strip(cameraJPEG(t, 40, 20, 1), "image/jpeg")); bytes.Contains(j, []byte("Exif")) {
		t.Error("EXIF that says nothing")
	}
	if p := must[[]byte](t)(Strip(cameraPNG(t), "image/png")); !bytes.Contains(p, []byte("pHYs")) {
		t.Error("the proportions of the PNG are gone")
	}
	g := must[*gif.GIF](t)(gif.DecodeAll(bytes.NewReader(must[[]byte](t)(Strip(cameraGIF(t), "image/gif")))))
	if len(g.Image) != 2 || g.LoopCount != 0 {
		t.Errorf("%d pictures, loop %d", len(g.Image), g.LoopCount)
	}
	w := must[[]byte](t)(Strip(cameraWebP(t), "image/webp"))
	if flags := w[20]; flags != 0x20 {
		t.Errorf("the flags of the WebP are %#x", flags)
	}
	if _, err := webp.Decode(bytes.NewReader(w)); err != nil {
		t.Error(err)
	}
	a := must[[]byte](t)(Strip(animatedWebP(t), "image/webp"))
	if bytes.Contains(a, []byte("GPS")) || bytes.Count(a, []byte("ANMF")) != 2 || bytes.Count(a, []byte("VP8L")) != 2 {
		t.Errorf("the animation became %q", a)
	}
	if size := int(binary.LittleEndian.Uint32(a[4:])); size != len(a)-8 {
		t.Errorf("it says %d bytes and has %d", size, len(a)-8)
	}
}

func TestStripBroken(t *testing.T) {
	for mime, b := range samples(t) {
		for n := range len(b) - len(secret) - 4 { // cut anywhere: an error, or (a JPEG in its scan) a mended picture
			out, err := Strip(b[:n], mime)
			if err == nil && mime != "image/jpeg" {
				t.Errorf("%s cut at %d: no error", mime, n)
			}
			if err != nil && !errors.Is(err, ErrMalformed) {
				t.Errorf("%s cut at %d: %v", mime, n, err)
			}
			if bytes.Contains(out, []byte("serial")) {
				t.Errorf("%s cut at %d: the secret is left", mime, n)
			}
		}
	}
	if _, err := Strip([]byte("%PDF"), "application/pdf"); !errors.Is(err, ErrUnknown) {
		t.Errorf("a PDF: %v", err)
	}
	if _, err := Strip(samples(t)["image/png"], "image/jpeg"); !errors.Is(err, ErrMalformed) {
		t.Errorf("a PNG as JPEG: %v", err)
	}
	critical := []byte(pngSignature + chunkPNG("IHDR", "1234567890123") + chunkPNG("EVIL", secret) + chunkPNG("IEND", ""))
	if _, err := Strip(critical, "image/png"); !errors.Is(err, ErrMalformed) {
		t.Errorf("an unknown critical chunk: %v", err)
	}
	// A camera that is too hasty to write the end.
	j := cameraJPEG(t, 40, 20, 0)
	j = j[:bytes.LastIndex(j, []byte("\xff\xd9"))]
	out := must[[]byte](t)(Strip(j, "image/jpeg"))
	if _, err := jpeg.Decode(bytes.NewReader(out)); err != nil {
		t.Errorf("mended, yet %v", err)
	}
}

func TestInspect(t *testing.T) {
	var huge bytes.Buffer
	if err := png.Encode(&huge, image.NewGray(image.Rect(0, 0, maxSide+1, 1))); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		b    []byte
		want Info
		err  error
	}{
		{"jpeg", cameraJPEG(t, 40, 20, 1), Info{"image/jpeg", ".jpg", 40, 20}, nil},
		{"jpeg on its side", cameraJPEG(t, 40, 20, 6), Info{"image/jpeg", ".jpg", 20, 40}, nil},
		{"png", cameraPNG(t), Info{"image/png", ".png", 20, 10}, nil},
		{"gif", cameraGIF(t), Info{"image/gif", ".gif", 8, 6}, nil},
		{"webp", cameraWebP(t), Info{"image/webp", ".webp", 1, 1}, nil},
		{"sound", []byte("OggS\x00"), Info{"audio/ogg", ".ogg", 0, 0}, nil},
		{"text", []byte("hello"), Info{}, ErrUnknown},
		{"nothing", nil, Info{}, ErrUnknown},
		{"only magic", []byte("\x89PNG\r\n\x1a\n"), Info{}, ErrMalformed},
		{"long side", huge.Bytes(), Info{}, ErrTooLarge},
	} {
		got, err := Inspect(tc.b)
		if got != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%s: got %+v %v, want %+v %v", tc.name, got, err, tc.want, tc.err)
		}
	}
}

func TestThumbnail(t *testing.T) {
	d := NewDecoder()
	red := func(m image.Image, x, y int) bool { r, _, b, _ := m.At(x, y).RGBA(); return r > b }
	for o, corner := range map[uint16][2]int{1: {0, 0}, 2: {1, 0}, 3: {1, 1}, 4: {0, 1}, 5: {0, 0}, 6: {1, 0}, 7: {1, 1}, 8: {0, 1}} {
		b, info, err := d.Thumbnail(t.Context(), cameraJPEG(t, 400, 200, o), 100, 100)
		if err != nil {
			t.Fatal(err)
		}
		want := Info{"image/jpeg", ".jpg", 100, 50}
		if o >= 5 {
			want.Width, want.Height = 50, 100
		}
		if got := must[Info](t)(Inspect(b)); got != want || info != want {
			t.Errorf("orientation %d: %+v %+v, want %+v", o, got, info, want)
		}
		m := must[image.Image](t)(jpeg.Decode(bytes.NewReader(b)))
		for cx := range 2 {
			for cy := range 2 {
				x, y := want.Width/4+cx*want.Width/2, want.Height/4+cy*want.Height/2
				if got, should := red(m, x, y), corner == [2]int{cx, cy}; got != should {
					t.Errorf("orientation %d: red at %d,%d is %v", o, cx, cy, got)
				}
			}
		}
		if bytes.Contains(b, []byte("GPS")) {
			t.Error("the thumbnail has a secret")
		}
	}
	for _, mime := range []string{"image/png", "image/gif", "image/webp"} {
		if _, info, err := d.Thumbnail(t.Context(), samples(t)[mime], 320, 240); err != nil || info.Width > 20 {
			t.Errorf("%s: %+v %v", mime, info, err)
		}
	}
	if _, info, err := d.Thumbnail(t.Context(), cameraJPEG(t, 2000, 2, 1), 100, 100); err != nil || info.Width != 100 || info.Height != 1 {
		t.Errorf("a line: %+v %v", info, err)
	}
	var bomb bytes.Buffer
	if err := png.Encode(&bomb, image.NewGray(image.Rect(0, 0, 4000, 2001))); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		b    []byte
		want error
	}{
		{"8 megapixels and more", bomb.Bytes(), ErrTooLarge},
		{"sound", []byte("OggS\x00"), ErrUnknown},
		{"text", []byte("hello"), ErrUnknown},
		{"half", bomb.Bytes()[:100], ErrTooLarge},
		{"only a header", cameraPNG(t)[:60], ErrMalformed},
	} {
		if _, _, err := d.Thumbnail(t.Context(), tc.b, 100, 100); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
	}
}

func TestOneThumbnailAtATime(t *testing.T) {
	d := NewDecoder()
	d.turn <- struct{}{} // somebody decodes
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, _, err := d.Thumbnail(ctx, cameraPNG(t), 100, 100); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	<-d.turn
	if _, _, err := d.Thumbnail(t.Context(), cameraPNG(t), 100, 100); err != nil {
		t.Errorf("its turn: %v", err)
	}
}

func FuzzStrip(f *testing.F) {
	for _, b := range samples(f) {
		f.Add(b)
	}
	f.Add(animatedWebP(f))
	f.Add([]byte("\xff\xd8\xff\xe1\x00\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		input := slices.Clone(b)
		info, _ := Inspect(b)
		for _, mime := range []string{"image/jpeg", "image/png", "image/webp", "image/gif"} {
			out, err := Strip(b, mime)
			if err != nil {
				continue
			}
			if len(out) > len(b)+64 {
				t.Errorf("%s: %d bytes became %d", mime, len(b), len(out))
			}
			again, err := Strip(out, mime)
			if err != nil || !bytes.Equal(again, out) {
				t.Errorf("%s: a second time makes a difference (%v)", mime, err)
			}
			if after, err := Inspect(out); info.MIME == mime && err == nil && after != info {
				t.Errorf("%s: %+v became %+v", mime, info, after)
			}
		}
		if !bytes.Equal(b, input) {
			t.Error("the input was changed")
		}
		_ = KindOf(b)
	})
}
