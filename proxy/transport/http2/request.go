package http2

import (
	"bytes"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"

	"pace/proxy/transport"
)

// fit reports whether the request can be written as it is. CONNECT cannot: it would make a tunnel.
func fit(r *transport.Request) bool {
	return r.Method != "" && r.Method != http.MethodConnect && httpguts.ValidHeaderFieldName(r.Method) &&
		(r.Target == "*" || strings.HasPrefix(r.Target, "/")) && isPrintable(r.Target) &&
		httpguts.ValidHostHeader(r.Host) && httpguts.ValidHeaderFieldValue(r.AnnouncedTrailer)
}

// isPrintable reports whether s has no blank or control byte.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

var blank http.Request

// request returns the request as net/http sends it. Host becomes :authority, and the fields of the connection are left
// out: HTTP/2 has none of them, and an upgrade is not possible.
func (x *exchange) request() *http.Request {
	req := x.req
	r := blank.WithContext(x.ctx)
	r.Method, r.URL, r.Host, r.Header = req.Method, &x.url, req.Host, x.header
	host := req.Host
	if host == "" {
		host = "localhost" // there must be one
	}
	x.url = url.URL{Scheme: x.pool.scheme, Host: host, Opaque: req.Target}
	if strings.HasPrefix(req.Target, "//") { // net/http takes it for an authority, and then cuts this one off again
		x.url.Opaque = "//" + host + req.Target
	}
	setFields(x.header, req)
	if !req.HasBody() {
		return r
	}
	r.Body, r.ContentLength = &x.upload, req.ContentLength
	if req.Trailer != nil {
		x.trailer = http.Header{}
		for name := range strings.SplitSeq(req.AnnouncedTrailer, ",") {
			if name = textproto.TrimString(name); mayTrail(name) {
				x.trailer[http.CanonicalHeaderKey(name)] = nil
			}
		}
		r.Trailer = x.trailer
	}
	return r
}

// setFields makes h the fields of the request.
func setFields(h http.Header, req *transport.Request) {
	clear(h)
	h["User-Agent"] = nil // or net/http adds its own
	block := string(req.Fields)
	values := make([]string, 0, bytes.Count(req.Fields, []byte{'\n'})+2)
	add := func(name, value string) {
		if old := h[name]; len(old) > 0 {
			h[name] = append(old, value)
			return
		}
		values = append(values, value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	for line := range strings.Lines(block) {
		name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if !isOfConnection(name) {
			add(textproto.CanonicalMIMEHeaderKey(name), textproto.TrimString(value))
		}
	}
	if req.TrailersOK {
		add("Te", "trailers")
	}
	if req.Expect && req.HasBody() {
		add("Expect", "100-continue")
	}
}

// isOfConnection reports whether HTTP/2 must not carry a field with this name (RFC 9113 §8.2.2).
func isOfConnection(name string) bool {
	for _, one := range [...]string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "Te", "Http2-Settings"} {
		if strings.EqualFold(name, one) {
			return true
		}
	}
	return false
}

// mayTrail reports whether a field with this name may stand in a trailer.
func mayTrail(name string) bool {
	return httpguts.ValidHeaderFieldName(name) && httpguts.ValidTrailerHeader(name) && !isOfConnection(name)
}
