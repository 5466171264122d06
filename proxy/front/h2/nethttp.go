package h2

import (
	"net/http"
	"reflect"
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
	for _, field := range [...]string{"rws", "stream", "id"} {
		if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
			return 0
		}
		if v = v.Elem().FieldByName(field); !v.IsValid() {
			return 0
		}
	}
	if v.Kind() != reflect.Uint32 {
		return 0
	}
	return uint32(v.Uint())
}
