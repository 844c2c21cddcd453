package media

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/pion/sdp/v3"

	"github.com/gatepost/gatepost/voip"
)

// Bounds on a session description of the other side.
const (
	maxSections   = 16
	maxCandidates = 64
)

// checked is a description of the other side that pion may have: bounded, and without the candidates that permit refuses.
func (e *Engine) checked(d voip.Description) (string, error) {
	if len(d.SDP) > voip.MaxSDP {
		return "", fmt.Errorf("%w: %d bytes", ErrDescription, len(d.SDP))
	}
	var s sdp.SessionDescription
	if err := s.UnmarshalString(d.SDP); err != nil {
		return "", fmt.Errorf("%w: %w", ErrDescription, err)
	}
	if n := len(s.MediaDescriptions); n == 0 || n > maxSections {
		return "", fmt.Errorf("%w: %d media sections", ErrDescription, n)
	}
	left := maxCandidates
	for _, m := range s.MediaDescriptions {
		kept := m.Attributes[:0]
		for _, a := range m.Attributes {
			if a.Key == "candidate" {
				if left == 0 || !e.permitted(a.Value) {
					continue
				}
				left--
			}
			kept = append(kept, a)
		}
		m.Attributes = kept
	}
	b, err := s.Marshal()
	return string(b), err
}

// permitted says whether checks may be sent to a candidate (RFC 8839 section 5.1). A name is no address: looking it up would
// be a request of its own, and a browser that hides its address reaches us by itself. Config.LocalNames makes an exception.
func (e *Engine) permitted(candidate string) bool {
	f := strings.Fields(strings.TrimPrefix(candidate, "candidate:"))
	if len(f) < 8 {
		return false
	}
	if e.cfg.LocalNames && strings.HasSuffix(f[4], ".local") && len(f[4]) <= maxName {
		return true
	}
	addr, err := netip.ParseAddr(f[4])
	return err == nil && addr.Zone() == "" && e.cfg.Permit(addr.Unmap())
}

// maxName is the longest name that is asked for, in bytes: browsers make a UUID of it.
const maxName = 64

// mirrored corrects the directions of our answer (RFC 3264 section 6.1): pion says sendrecv to sendonly, and browsers refuse
// that. held says that the other side wants no media.
func mirrored(offer, answer string) (fixed string, held bool, err error) {
	var o, a sdp.SessionDescription
	if err := o.UnmarshalString(offer); err != nil {
		return "", false, fmt.Errorf("%w: %w", ErrDescription, err)
	}
	if err := a.UnmarshalString(answer); err != nil {
		return "", false, fmt.Errorf("%w: %w", ErrDescription, err)
	}
	held = true
	for i, m := range a.MediaDescriptions {
		if i >= len(o.MediaDescriptions) {
			break
		}
		theirs := direction(o.MediaDescriptions[i])
		if theirs == "sendrecv" || theirs == "recvonly" {
			held = false
			continue
		}
		ours := "inactive"
		if was := direction(m); theirs == "sendonly" && (was == "sendrecv" || was == "recvonly") {
			ours = "recvonly"
		}
		for j, at := range m.Attributes {
			if isDirection(at.Key) {
				m.Attributes[j].Key = ours
			}
		}
	}
	b, err := a.Marshal()
	return string(b), held, err
}

func isDirection(key string) bool {
	return key == "sendrecv" || key == "sendonly" || key == "recvonly" || key == "inactive"
}

// direction of a media section; sendrecv when it says nothing (RFC 8866 section 6.7).
func direction(m *sdp.MediaDescription) string {
	for _, a := range m.Attributes {
		if isDirection(a.Key) {
			return a.Key
		}
	}
	return "sendrecv"
}
