package front

import (
	"net/http"
	"reflect"

	"pace/telemetry"
)

// refusedStreams are the faults for which net/http resets a stream before a handler sees its request, as
// it names them to HTTP2Config.CountError. Of a header whose fields are invalid it names nothing there:
// that is what [h2Incoming] is for.
var refusedStreams = map[string]bool{
	"stream_PROTOCOL_ERROR_bad_connect":           true,
	"stream_PROTOCOL_ERROR_bad_path_method":       true, // also no :scheme, or an unknown one
	"stream_PROTOCOL_ERROR_bad_path":              true,
	"stream_PROTOCOL_ERROR_userinfo_in_authority": true,
	"stream_PROTOCOL_ERROR_over_max_streams":      true,
	"stream_REFUSED_STREAM_over_max_streams_race": true,
}

// countH2Error counts the requests that net/http resets. It is not told on which connection.
func (s *Server) countH2Error(name string) {
	if refusedStreams[name] {
		s.refuse(telemetry.RefusedH2Error, nil)
	}
}

// StreamID returns the id of the HTTP/2 stream that w answers, or 0 if that cannot be told. net/http offers
// no way to ask, so this looks it up in its response writer; it changes nothing there. TestStreamID fails
// if another Go version keeps the id elsewhere. Then a stream that a client broke would read client_gone.
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
