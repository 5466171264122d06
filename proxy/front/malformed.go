package front

import (
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"pace/proxy/message"
)

// Malformed reports whether net/http or quic-go passed a request that RFC 9112, 9113 or 9114 calls malformed. Over
// HTTP/1.1 net/http refuses most of these itself, but it does not look at the host in an absolute target.
func Malformed(r *http.Request) bool {
	if !httpguts.ValidHostHeader(r.Host) {
		return true
	}
	if r.ProtoMajor >= 2 {
		return !httpguts.ValidHeaderFieldName(r.Method) || !validPath(r) || lengthLies(r) // a method is a token, and so is a name
	}
	return namesNoHost(r)
}

// namesNoHost reports whether an absolute target has no host, as in "http:///x" or "http:/x". Such a URI
// is invalid (RFC 9110 §4.2.1), and its readers disagree on whether "x" is a host or a path.
func namesNoHost(r *http.Request) bool {
	return r.URL.Host == "" && r.URL.Scheme != ""
}

// validPath reports whether :path is what HTTP/2 and HTTP/3 allow: a path, or the asterisk. An absolute URI has no meaning
// there, and a backend that took it for the target would read another host from it. Over HTTP/1.1 a blank ends the
// target.
func validPath(r *http.Request) bool {
	if strings.Contains(r.RequestURI, " ") {
		return false
	}
	return strings.HasPrefix(r.RequestURI, "/") || r.RequestURI == "*" || r.Method == http.MethodConnect
}

// lengthLies reports whether Content-Length fields are not numbers, contradict each other, or contradict the end
// of the stream. net/http treats all of these as an empty body, and would drop the bytes that come.
func lengthLies(r *http.Request) bool {
	for _, v := range r.Header["Content-Length"] {
		n, err := strconv.ParseUint(v, 10, 63) // takes digits only, no sign and no blanks
		if err != nil || int64(n) != r.ContentLength {
			return true
		}
	}
	return false
}

// MaybeEmpty reports whether one must read to know if the request has a body. Over HTTP/2 a handler begins before
// the stream ends: more bytes may come than an announced length of 0, and a request that needs no body may have
// one, or end with an empty DATA frame.
//
// Over HTTP/3 nothing but the end of the stream tells that a request has no body: POST is asked, too. Only the client of
// a gRPC call may wait for its server before it sends the first message.
func MaybeEmpty(r *http.Request) bool {
	if r.ProtoMajor < 2 {
		return false
	}
	switch {
	case r.ProtoMajor == 3 && r.ContentLength < 0:
		return !message.IsGRPC(r.Header)
	case r.ContentLength == 0:
		return r.Header["Content-Length"] != nil
	case r.ContentLength > 0:
		return false
	}
	return r.Method != http.MethodPost && r.Method != http.MethodPut && r.Method != http.MethodPatch
}
