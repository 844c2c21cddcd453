package source

import (
	"encoding/json"
	"fmt"
	"strings"
)

// What libpeer's signalling over MQTT takes and gives: JSON-RPC 2.0, requests by the gateway only.
const (
	maxReply     = 64 << 10 // bytes
	maxRequest   = 4000     // bytes: the device has 4096 for a message with its topic
	maxLine      = 255      // bytes of a line of SDP
	deviceChecks = 10       // candidates of ours
)

// rpcRequest is what the device is asked.
type rpcRequest struct {
	Version string `json:"jsonrpc"`
	ID      int    `json:"id"` // more than 0
	Method  string `json:"method"`
	Params  string `json:"params,omitempty"`
}

// rpcReply is what it says to that.
type rpcReply struct {
	ID     int
	Result string
	Code   int // of an error; 0: none
}

func encodeRequest(r rpcRequest) ([]byte, error) {
	r.Version = "2.0"
	b, err := json.Marshal(r)
	if err == nil && len(b) > maxRequest {
		err = fmt.Errorf("%d bytes are more than a device takes", len(b))
	}
	return b, err
}

// decodeReply reads a message of the device. The error wraps ErrMalformed.
func decodeReply(payload []byte) (rpcReply, error) {
	if len(payload) > maxReply {
		return rpcReply{}, fmt.Errorf("%w: %d bytes", ErrMalformed, len(payload))
	}
	var m struct {
		Version string  `json:"jsonrpc"`
		ID      int     `json:"id"`
		Result  *string `json:"result"`
		Error   *struct {
			Code int `json:"code"`
		} `json:"error"`
	}
	if json.Unmarshal(payload, &m) != nil || m.Version != "2.0" {
		return rpcReply{}, fmt.Errorf("%w: not JSON-RPC 2.0, or a field has the wrong type", ErrMalformed)
	}
	r := rpcReply{ID: m.ID}
	switch {
	case m.ID <= 0:
		return rpcReply{}, fmt.Errorf("%w: no id", ErrMalformed)
	case m.Error != nil:
		if r.Code = m.Error.Code; r.Code == 0 {
			return rpcReply{}, fmt.Errorf("%w: an error without code", ErrMalformed)
		}
	case m.Result != nil:
		r.Result = *m.Result
	default:
		return rpcReply{}, fmt.Errorf("%w: neither result nor error", ErrMalformed)
	}
	return r, nil
}

// leftOut begin the lines that a small device has no use for, and little room.
var leftOut = []string{"a=extmap", "a=rtcp-fb:", "a=msid-semantic:", "a=rtcp-rsize", "a=rtcp:", "a=end-of-candidates", "a=ssrc-group:"}

// forDevice makes a description of ours one that libpeer reads: short lines, few candidates, each with a foundation of
// its own, IPv4 over UDP for component 1.
func forDevice(text string) (string, error) {
	var out strings.Builder
	foundations := map[string]bool{}
next:
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		for _, p := range leftOut {
			if strings.HasPrefix(line, p) {
				continue next
			}
		}
		if c, ok := strings.CutPrefix(line, "a=candidate:"); ok {
			f := strings.Fields(c)
			if len(f) < 8 || f[1] != "1" || !strings.EqualFold(f[2], "udp") || strings.Contains(f[4], ":") || foundations[f[0]] || len(foundations) == deviceChecks {
				continue
			}
			foundations[f[0]] = true
		}
		if len(line) > maxLine {
			return "", fmt.Errorf("a line of %d bytes is more than a device takes", len(line))
		}
		if line != "" {
			out.WriteString(line + "\r\n")
		}
	}
	return out.String(), nil
}
