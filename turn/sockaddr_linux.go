package turn

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sockaddr is room for the socket address of either family, as the kernel reads and writes it.
type sockaddr struct{ raw unix.RawSockaddrInet6 }

// set writes to and returns the length the kernel wants to be told.
func (s *sockaddr) set(to *endpoint) uint32 {
	port := (*[2]byte)(unsafe.Pointer(&s.raw.Port)) // same place in both families
	binary.BigEndian.PutUint16(port[:], to.port)
	if to.family() == ipv4 {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(s))
		v4.Family, v4.Addr = unix.AF_INET, [4]byte(to.ip[12:])
		return unix.SizeofSockaddrInet4
	}
	s.raw.Family, s.raw.Flowinfo, s.raw.Addr, s.raw.Scope_id = unix.AF_INET6, 0, to.ip, 0
	return unix.SizeofSockaddrInet6
}

// get reads an address the kernel wrote. False: its family is neither. A zone is ignored: link-local peers are refused,
// and link-local clients have no use for a relay.
func (s *sockaddr) get(e *endpoint) bool {
	e.port = binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&s.raw.Port))[:])
	switch s.raw.Family {
	case unix.AF_INET:
		e.ip = mapped((*unix.RawSockaddrInet4)(unsafe.Pointer(s)).Addr)
	case unix.AF_INET6:
		e.ip = s.raw.Addr
	default:
		return false
	}
	return true
}

func mapped(v4 [4]byte) [16]byte {
	return [16]byte{10: 0xff, 11: 0xff, 12: v4[0], 13: v4[1], 14: v4[2], 15: v4[3]}
}

// control is room for the control messages of one datagram: which of our addresses, and how to cut it into segments.
type control struct {
	n   int
	buf [10]uint64 // aligned as the kernel wants it
}

const controlLen = int(unsafe.Sizeof(control{}.buf))

// add makes room for a control message of size bytes and returns its data. The caller knows that it fits: there are at
// most one of each kind.
func (c *control) add(level, typ int32, size int) unsafe.Pointer {
	h := (*unix.Cmsghdr)(unsafe.Add(unsafe.Pointer(&c.buf), c.n))
	h.Level, h.Type = level, typ
	h.SetLen(unix.CmsgLen(size))
	data := unsafe.Add(unsafe.Pointer(h), unix.CmsgLen(0))
	c.n += unix.CmsgSpace(size)
	return data
}

// source says from which of our addresses the datagram leaves.
func (c *control) source(local [16]byte) {
	if familyOf(local) == ipv4 {
		info := (*unix.Inet4Pktinfo)(c.add(unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo))
		*info = unix.Inet4Pktinfo{Spec_dst: [4]byte(local[12:])}
		return
	}
	info := (*unix.Inet6Pktinfo)(c.add(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo))
	*info = unix.Inet6Pktinfo{Addr: local}
}

// segments has the kernel cut the datagram into datagrams of size bytes; the last may be shorter.
func (c *control) segments(size int) {
	*(*uint16)(c.add(unix.SOL_UDP, unix.UDP_SEGMENT, 2)) = uint16(size)
}

// destination reads, out of the first n bytes of c that the kernel wrote, to which of our addresses a datagram was sent.
// False: it is not said.
func (c *control) destination(n int) ([16]byte, bool) {
	n = min(n, controlLen)
	for at := 0; at+unix.SizeofCmsghdr <= n; {
		h := (*unix.Cmsghdr)(unsafe.Add(unsafe.Pointer(&c.buf), at))
		size := int(h.Len)
		if size < unix.CmsgLen(0) || at+size > n {
			return [16]byte{}, false
		}
		data, length := unsafe.Add(unsafe.Pointer(h), unix.CmsgLen(0)), size-unix.CmsgLen(0)
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && length >= unix.SizeofInet4Pktinfo:
			return mapped((*unix.Inet4Pktinfo)(data).Spec_dst), true
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && length >= unix.SizeofInet6Pktinfo:
			return (*unix.Inet6Pktinfo)(data).Addr, true
		}
		at += unix.CmsgSpace(length)
	}
	return [16]byte{}, false
}
