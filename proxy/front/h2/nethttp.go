package h2

import (
	"net/http"
	"reflect"
	"sync/atomic"
)

// resets are the faults for which net/http resets a stream before a handler sees its request, in the words of
// HTTP2Config.CountError. It reports no header whose fields are invalid there; [incoming] finds these.
var resets = map[string]bool{
	"stream_PROTOCOL_ERROR_bad_connect":           true,
	"stream_PROTOCOL_ERROR_bad_path_method":       true, // also no :scheme, or an unknown one
	"stream_PROTOCOL_ERROR_bad_path":              true,
	"stream_PROTOCOL_ERROR_userinfo_in_authority": true,
	"stream_PROTOCOL_ERROR_over_max_streams":      true,
	"stream_REFUSED_STREAM_over_max_streams_race": true,
}

// ResetsRequest reports whether an error that net/http names to HTTP2Config.CountError is a request that it
// resets before a handler sees it.
func ResetsRequest(name string) bool { return resets[name] }

// StreamID returns the id of the HTTP/2 stream on which w responds, or 0 if it cannot be found, as with HTTP/1.
// net/http offers no way to ask, so this looks into its response writer; it changes nothing there. TestStreamID
// fails if another Go version keeps the id elsewhere. Then a stream whose client broke a rule would get the
// outcome client_gone.
func StreamID(w http.ResponseWriter) uint32 {
	v := reflect.ValueOf(w)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return 0
	}
	path := pathOfID.Load()
	if path == nil || path.of != v.Type() {
		if path = findID(v.Type()); path == nil {
			return 0
		}
		pathOfID.Store(path)
	}
	for _, i := range path.fields {
		if v.IsNil() {
			return 0
		}
		v = v.Elem().Field(i)
	}
	return uint32(v.Uint())
}

// idPath is where a type of response writer keeps the id of its stream: which field of which field. To find it by
// name again for each request would take longer than to read it.
type idPath struct {
	of     reflect.Type
	fields [3]int
}

var pathOfID atomic.Pointer[idPath] // of the last type that has one: net/http's for HTTP/2

// findID returns nil if t has no such field, as the response writer of HTTP/1.
func findID(t reflect.Type) *idPath {
	path := &idPath{of: t}
	for i, name := range [...]string{"rws", "stream", "id"} {
		if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
			return nil
		}
		field, ok := t.Elem().FieldByName(name)
		if !ok || len(field.Index) != 1 {
			return nil
		}
		path.fields[i], t = field.Index[0], field.Type
	}
	if t.Kind() != reflect.Uint32 {
		return nil
	}
	return path
}
