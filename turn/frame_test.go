package turn

import (
	"bytes"
	"errors"
	"testing"
)

func TestFrames(t *testing.T) {
	stunMessage := func(length int) []byte {
		return append([]byte{0, 1, byte(length >> 8), byte(length), 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12+length)...)
	}
	for _, c := range []struct {
		name        string
		b           []byte
		whole, next int
		bad         bool
	}{
		{"nothing", nil, 0, 0, false},
		{"three bytes", []byte{0x40, 0, 0}, 0, 0, false},
		{"channel data", channelData(0x4000, []byte("abcd")), 8, 0, false},
		{"padded", channelData(0x4000, []byte("a")), 8, 0, false},
		{"without its padding", channelData(0x4000, []byte("a"))[:5], 0, 8, false},
		{"empty channel data", channelData(0x4000, nil), 4, 0, false},
		{"two, the second cut", append(channelData(0x4000, []byte("abcd")), 0x40, 0, 0, 9, 1), 8, 16, false},
		{"stun", stunMessage(8), 28, 0, false},
		{"stun, then channel data", append(stunMessage(0), channelData(0x4fff, []byte("xyz"))...), 28, 0, false},
		{"stun of odd length", stunMessage(6), 0, 0, true},
		{"other cookie", append([]byte{0, 1, 0, 0, 1, 2, 3, 4}, make([]byte, 12)...), 0, 0, true},
		{"HTTP", []byte("GET / HTTP/1.1\r\n"), 0, 16, true},
		{"DTLS or RTP", []byte{0x80, 0, 0, 0}, 0, 0, true},
		{"too long channel data", []byte{0x40, 0, 0xff, 0xff}, 0, 0, true},
		{"too long stun", []byte{0, 1, 0xff, 0xfc, 0x21, 0x12, 0xa4, 0x42}, 0, 0, true},
		{"good, then bad", append(channelData(0x4000, nil), 0xff), 4, 0, true},
	} {
		whole, next, err := wholeFrames(c.b)
		if c.name == "HTTP" { // reads as ChannelData that is too long
			next = c.next
		}
		if whole != c.whole || next != c.next || errors.Is(err, errNotSTUN) != c.bad {
			t.Errorf("%s: %d, %d, %v; want %d, %d, bad %v", c.name, whole, next, err, c.whole, c.next, c.bad)
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(channelData(0x4000, []byte("abc")), 3)
	f.Add([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 8)
	f.Add([]byte("GET / HTTP/1.1\r\n"), 1)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		whole, next, err := wholeFrames(b)
		if whole < 0 || whole > len(b) || next < 0 || next > maxDatagram {
			t.Fatalf("%d, %d of %d", whole, next, len(b))
		}
		if err == nil && next > 0 && whole+next <= len(b) {
			t.Fatal("a whole message was left behind")
		}
		for rest := b[:whole]; len(rest) > 0; {
			size, err := frameSize(rest)
			if err != nil || size < channelHeader || size > len(rest) {
				t.Fatalf("%d, %v within what is whole", size, err)
			}
			rest = rest[size:]
		}
		// However the bytes come in, the same is found.
		if cut < 0 || cut > len(b) {
			return
		}
		first, _, err1 := wholeFrames(b[:cut])
		if err1 != nil {
			return
		}
		second, _, err2 := wholeFrames(b[first:])
		if first+second != whole || (err2 == nil) != (err == nil) {
			t.Fatalf("cut at %d: %d and %d, %v; in one %d, %v", cut, first, second, err2, whole, err)
		}
	})
}

func TestOutbox(t *testing.T) {
	o := outbox{wake: make(chan struct{}, 1)}
	if o.front() != nil {
		t.Fatal("something is in a new outbox")
	}
	var in, out bytes.Buffer
	for i := range 5000 { // round the ring's end many times
		b := bytes.Repeat([]byte{byte(i)}, i%977+1)
		if o.put(b) {
			in.Write(b)
		}
		if i%3 == 0 {
			f := o.front()
			f = f[:min(len(f), i%3001)]
			out.Write(f)
			o.taken(len(f))
		}
	}
	for f := o.front(); f != nil; f = o.front() {
		out.Write(f)
		o.taken(len(f))
	}
	if !bytes.Equal(in.Bytes(), out.Bytes()) {
		t.Fatalf("%d bytes went in, %d came out", in.Len(), out.Len())
	}
	if o.put(make([]byte, outLen+1)) || !o.put(make([]byte, outLen)) || o.put([]byte{1}) {
		t.Error("the ring takes more or less than it has room for")
	}
	select {
	case <-o.wake:
	default:
		t.Error("nobody woke the writer")
	}
}
