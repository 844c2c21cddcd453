package turn

import (
	"encoding/binary"

	"github.com/pion/stun/v4"
)

// Error codes (RFC 8489 section 14.8, RFC 8656 section 19).
const (
	codeBadRequest        = 400
	codeUnauthenticated   = 401
	codeForbidden         = 403
	codeUnknownAttribute  = 420
	codeMismatch          = 437 // Allocation Mismatch
	codeStaleNonce        = 438
	codeFamilyUnsupported = 440
	codeWrongCredentials  = 441
	codeTransport         = 442
	codePeerFamily        = 443
	codeQuota             = 486
	codeCapacity          = 508
)

// proof is what a request showed: who it is from and how its answer is signed. The zero value is nobody.
type proof struct {
	username string
	identity identity
	key      key
	kind     stun.AttrType // which MESSAGE-INTEGRITY the answer carries
}

// prove checks the long-term credential of a request (RFC 8489 section 9.2.4), cheapest test first. a is the allocation
// of its 5-tuple or nil: its own key goes on after the secret that made it was replaced. A code other than 0 is the error
// to answer with.
func (h *handler) prove(m *stun.Message, req *request, a *allocation) (p proof, code int) {
	if !signed(m) {
		return p, codeUnauthenticated
	}
	creds := h.credentials.Load()
	name, hasName := m.Attributes.Get(stun.AttrUsername)
	hash, hasHash := m.Attributes.Get(stun.AttrUserhash)
	realm, hasRealm := m.Attributes.Get(stun.AttrRealm)
	nonce, hasNonce := m.Attributes.Get(stun.AttrNonce)
	if !hasName && !hasHash || !hasRealm || !hasNonce || len(name.Value) > maxUsername {
		return p, codeBadRequest
	}
	how, ok := chosenAlgorithm(m)
	if !ok {
		return p, codeBadRequest
	}
	if !h.nonces.valid(nonce.Value, req.from.client, req.now) {
		h.metrics.authFailures.Inc(authNonce)
		return p, codeStaleNonce
	}
	p.username = string(name.Value)
	if !hasName {
		p.username, _ = creds.byHash(hash.Value)
	}
	p.kind = stun.AttrMessageIntegrity
	if m.Contains(stun.AttrMessageIntegritySHA256) {
		p.kind = stun.AttrMessageIntegritySHA256
	}
	if a != nil && a.username == p.username && a.key.algorithm == how && verify(m, &a.key) {
		p.identity, p.key = a.identity, a.key
		return p, 0
	}
	p.identity, ok = creds.identify(p.username)
	if !ok || string(realm.Value) != creds.realm || h.revoked.has(p.username) {
		h.metrics.authFailures.Inc(authUser)
		return p, codeUnauthenticated
	}
	if p.key, ok = creds.prove(p.username, how, func(k *key) bool { return verify(m, k) }); !ok {
		h.metrics.authFailures.Inc(authPassword)
		return p, codeUnauthenticated
	}
	return p, 0
}

// chosenAlgorithm is how the client made its key: MD5 unless it says otherwise. It must say both what it was offered,
// unchanged, and what it chose of it; otherwise somebody between us may have taken the better one away (RFC 8489 sections
// 9.2.4 and 16.1.1).
func chosenAlgorithm(m *stun.Message) (algorithm, bool) {
	offered, hasOffered := m.Attributes.Get(stun.AttrPasswordAlgorithms)
	chosen, hasChosen := m.Attributes.Get(stun.AttrPasswordAlgorithm)
	if !hasOffered && !hasChosen {
		return withMD5, true
	}
	if !hasOffered || !hasChosen || string(offered.Value) != passwordAlgorithms || len(chosen.Value) != 4 ||
		binary.BigEndian.Uint16(chosen.Value[2:]) != 0 {
		return 0, false
	}
	how := algorithm(binary.BigEndian.Uint16(chosen.Value))
	return how, how == withMD5 || how == withSHA256
}

// The bounds of what answers a stranger: somebody may be forging the address of a victim.
const (
	maxAmplification  = 4
	maxStrangerAnswer = 120
)

// challenge answers a stranger with an error: what it needs to try again, if that fits, and never more than the bounds. It
// reports false when there is no answer, because it would be too long or there have been too many.
func (h *handler) challenge(t *table, req *request, code int, unknown []stun.AttrType) bool {
	limit := min(maxAmplification*len(req.message), maxStrangerAnswer)
	if !h.limiter.answer(req.from.client, req.transport, req.now) {
		h.metrics.dropped.Inc(dropLimited)
		return false
	}
	for _, long := range []bool{true, false} {
		t.out.begin(&t.in, stun.ClassErrorResponse)
		t.out.code(code)
		switch code {
		case codeUnauthenticated, codeStaleNonce:
			t.out.m.Add(stun.AttrRealm, []byte(h.credentials.Load().realm))
			t.out.m.Add(stun.AttrNonce, h.nonces.append(nil, req.from.client, req.now, long))
			if long {
				t.out.m.Add(stun.AttrPasswordAlgorithms, []byte(passwordAlgorithms))
			}
		case codeUnknownAttribute:
			t.out.unknown(unknown)
		}
		if t.in.Contains(stun.AttrFingerprint) {
			t.out.fingerprint()
		}
		if len(t.out.m.Raw) <= limit {
			return true
		}
	}
	h.metrics.dropped.Inc(dropAmplifies)
	return false
}
