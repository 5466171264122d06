package h1

import "testing"

// TestRefusal is the table of the status lines that net/http writes by itself.
func TestRefusal(t *testing.T) {
	for line, want := range map[string]string{
		"HTTP/1.1 400 Bad Request\r\n": "bad_request", "HTTP/1.1 431 x": "header_too_large", "HTTP/1.1 417": "unsupported",
		"HTTP/1.1 501": "unsupported", "HTTP/1.1 505": "unsupported", "HTTP/1.1 200 OK": "", "HTTP/1.1 404": "", "HTTP/1.1 4": "", "HTTP/1.1": "", "": "", "xHTTP/1.1 400": "",
	} {
		why, ok := Refusal([]byte(line))
		if ok != (want != "") || ok && why.String() != want {
			t.Errorf("%q: got %v, %v; want %q", line, why, ok, want)
		}
	}
}
