package message

import "testing"

// A Filter is made of what the configuration adds to the fields that no request may bring along.
func TestFilter(t *testing.T) {
	f := NewFilter("x-edge", "", "traceparent")
	tests := []struct {
		name       string
		field      string // canonical
		connection []string
		fromProxy  bool // the peer is a trusted proxy
		want       bool // in the header
		late       bool // in the trailer
	}{
		{"a field that is nobody's passes", "X-Csrf-Token", nil, false, true, true},
		{"also in another spelling", "X_csrf_token", nil, false, true, true},
		{"a hop-by-hop field stays behind", "Keep-Alive", nil, true, false, false},
		{"a field that Connection lists stays behind", "X-Hop", []string{"close, x-hop"}, true, false, false},
		{"a field of framing stays behind", "Content-Length", nil, true, false, false},
		{"also in a spelling that CGI reads alike", "Content_length", nil, true, false, false},
		{"a field that pace writes stays behind", "X-Forwarded-For", nil, true, false, false},
		{"a field of the configuration stays behind", "X-Edge", nil, true, false, false},
		{"also in a spelling that CGI reads alike, if the name was in small letters", "X_edge", nil, true, false, false},
		{"a field of tracing stays behind", "Traceparent", nil, true, false, false},
		{"what proxies say passes from a trusted one", "X-Real-Ip", nil, true, true, false},
		{"but from nobody else", "X-Real-Ip", nil, false, false, false},
		{"nor in a spelling that the trusted proxy may have let through", "X_real_ip", nil, true, false, false},
		{"what must be known before the body passes in the header only", "Authorization", nil, false, true, false},
	}
	for _, tt := range tests {
		if got := f.Passes(tt.field, tt.connection, tt.fromProxy); got != tt.want {
			t.Errorf("%s: %s passes %v, want %v", tt.name, tt.field, got, tt.want)
		}
		if got := f.PassesLate(tt.field, tt.connection); got != tt.late {
			t.Errorf("%s: %s passes in a trailer %v, want %v", tt.name, tt.field, got, tt.late)
		}
	}
}
