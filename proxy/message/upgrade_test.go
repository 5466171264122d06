package message

import (
	"net/http"
	"testing"
)

func TestUpgrade(t *testing.T) {
	for name, tt := range map[string]struct {
		major, minor        int
		connection, upgrade string
		want                string
	}{
		"a WebSocket":                        {1, 1, "Upgrade", "websocket", "websocket"},
		"among other words":                  {1, 1, "keep-alive, upgrade", "websocket", "websocket"},
		"not named in Connection":            {1, 1, "keep-alive", "websocket", ""},
		"named in Connection, but not there": {1, 1, "upgrade", "", ""},
		"a switch to HTTP/2":                 {1, 1, "Upgrade, HTTP2-Settings", "h2c", ""},
		"also among others":                  {1, 1, "Upgrade", "websocket, H2C", ""},
		"HTTP/1.0 cannot":                    {1, 0, "Upgrade", "websocket", ""},
		"HTTP/2 has other ways":              {2, 0, "Upgrade", "websocket", ""},
	} {
		h := http.Header{"Connection": {tt.connection}}
		if tt.upgrade != "" {
			h.Set("Upgrade", tt.upgrade)
		}
		if got := Upgrade(tt.major, tt.minor, h); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

func TestExpectsContinue(t *testing.T) {
	for _, tt := range []struct {
		name         string
		major, minor int
		expect       []string
		want         bool
	}{
		{"a client of HTTP/1.1 may wait for 100", 1, 1, []string{"100-continue"}, true},
		{"in any case, among other words", 1, 1, []string{"x, 100-Continue"}, true},
		{"one of HTTP/2 may", 2, 0, []string{"100-continue"}, true},
		{"one of HTTP/1.0 knows no 100", 1, 0, []string{"100-continue"}, false},
		{"one that says nothing waits for nothing", 1, 1, nil, false},
		{"another expectation is another one", 1, 1, []string{"200-ok"}, false},
	} {
		if got := ExpectsContinue(tt.major, tt.minor, http.Header{"Expect": tt.expect}); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}
