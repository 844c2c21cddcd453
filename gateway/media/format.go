package media

import (
	"bytes"
	"image"
	_ "image/gif" // DecodeConfig of what Inspect names
	_ "image/jpeg"
	_ "image/png"

	_ "golang.org/x/image/webp"
)

// format is one of the file formats known here.
type format struct {
	kind Kind
	mime string
	ext  string
}

// sniff names the format by the first bytes; nil when none is known.
func sniff(b []byte) *format {
	if len(b) < 4 {
		return nil
	}
	has := func(prefix string) bool { return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix }
	inside := func(at int, s string) bool { return len(b) >= at+len(s) && string(b[at:at+len(s)]) == s }
	switch b[0] {
	case 0xff:
		switch {
		case b[1] == 0xd8 && b[2] == 0xff:
			return &format{Image, "image/jpeg", ".jpg"}
		case b[1]&0xf6 == 0xf0: // ADTS: 12 bits sync, layer 0
			return &format{Audio, "audio/aac", ".aac"}
		case b[1]&0xe0 == 0xe0 && b[1]&0x06 == 0x02 && b[2]&0xf0 != 0xf0: // MPEG layer III
			return &format{Audio, "audio/mpeg", ".mp3"}
		}
	case 0x89:
		if has("\x89PNG\r\n\x1a\n") {
			return &format{Image, "image/png", ".png"}
		}
	case 'G':
		if has("GIF87a") || has("GIF89a") {
			return &format{Image, "image/gif", ".gif"}
		}
	case 'R':
		switch {
		case !has("RIFF"):
		case inside(8, "WEBP"):
			return &format{Image, "image/webp", ".webp"}
		case inside(8, "WAVE"):
			return &format{Audio, "audio/wav", ".wav"}
		case inside(8, "AVI "):
			return &format{Video, "video/x-msvideo", ".avi"}
		}
	case 'O':
		if has("OggS") {
			return &format{Audio, "audio/ogg", ".ogg"}
		}
	case 'f':
		if has("fLaC") {
			return &format{Audio, "audio/flac", ".flac"}
		}
	case 'I':
		if has("ID3") && len(b) > 4 && b[3] < 0x10 {
			return &format{Audio, "audio/mpeg", ".mp3"}
		}
	case 0x1a:
		if has("\x1a\x45\xdf\xa3") && bytes.Contains(b[:min(len(b), 64)], []byte("webm")) {
			return &format{Video, "video/webm", ".webm"}
		}
	case 0:
		if inside(4, "ftyp") {
			switch {
			case inside(8, "M4A "):
				return &format{Audio, "audio/mp4", ".m4a"}
			case inside(8, "qt  "):
				return &format{Video, "video/quicktime", ".mov"}
			case inside(8, "isom"), inside(8, "iso2"), inside(8, "iso4"), inside(8, "iso5"), inside(8, "iso6"),
				inside(8, "mp41"), inside(8, "mp42"), inside(8, "avc1"), inside(8, "M4V "), inside(8, "dash"):
				return &format{Video, "video/mp4", ".mp4"}
			}
		}
	}
	return nil
}

// Info is what the first bytes and the header of a medium say.
type Info struct {
	MIME          string
	Ext           string // with its dot
	Width, Height int    // pixels; 0 for what is no picture
}

// maxSide bounds each side of a picture: what is beyond is not a picture of a device.
const maxSide = 32_768

// Inspect names the format of b, and the size of a picture as people see it (a JPEG that says it lies on its side is turned).
// Only headers are read. Errors: ErrUnknown, ErrMalformed, ErrTooLarge.
func Inspect(b []byte) (Info, error) {
	f := sniff(b)
	if f == nil {
		return Info{}, ErrUnknown
	}
	info := Info{MIME: f.mime, Ext: f.ext}
	if f.kind != Image {
		return info, nil
	}
	c, err := decodeConfig(b)
	if err != nil || c.Width <= 0 || c.Height <= 0 {
		return Info{}, ErrMalformed
	}
	if c.Width > maxSide || c.Height > maxSide {
		return Info{}, ErrTooLarge
	}
	info.Width, info.Height = c.Width, c.Height
	if f.mime == "image/jpeg" && jpegOrientation(b) >= 5 {
		info.Width, info.Height = c.Height, c.Width
	}
	return info, nil
}

// decodeConfig reads the header of a picture. A panic in a decoder is a broken picture.
func decodeConfig(b []byte) (c image.Config, err error) {
	defer func() {
		if recover() != nil {
			err = ErrMalformed
		}
	}()
	c, _, err = image.DecodeConfig(bytes.NewReader(b))
	return c, err
}
