package upstream

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
)

// token returns what a client's cookie holds to stay at the backend at addr. It does not show the address, and is
// the same in every pace with this backend.
func token(addr string) string {
	sum := sha256.Sum256([]byte("pace sticky cookie\x00" + addr))
	return hex.EncodeToString(sum[:8])
}

// stickyTo returns the backend that the client's cookie names, or nil.
func (u *Upstream) stickyTo(h http.Header) *Backend {
	if u.o.StickyCookie == "" {
		return nil
	}
	value, ok := cookie(h, u.o.StickyCookie)
	if !ok {
		return nil
	}
	for _, b := range u.pool.Backends() {
		if owner(b).token == value {
			return owner(b)
		}
	}
	return nil
}

// StickyCookie returns the value of the Set-Cookie field with which the response of b to a request with header h
// keeps the client at b; "": none is needed. secure says that the client uses TLS.
func (u *Upstream) StickyCookie(b *Backend, h http.Header, secure bool) string {
	if u.o.StickyCookie == "" {
		return ""
	}
	if value, ok := cookie(h, u.o.StickyCookie); ok && value == b.token {
		return ""
	}
	c := http.Cookie{Name: u.o.StickyCookie, Value: b.token, Path: "/", HttpOnly: true, Secure: secure}
	return c.String()
}
