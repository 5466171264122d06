package front

import (
	"strings"
	"testing"
)

// TestRefusal is the table of status lines that net/http writes by itself.
func TestRefusal(t *testing.T) {
	for line, want := range map[string]string{
		"HTTP/1.1 400 Bad Request\r\n": "bad_request", "HTTP/1.1 431 x": "header_too_large", "HTTP/1.1 417": "unsupported",
		"HTTP/1.1 501": "unsupported", "HTTP/1.1 505": "unsupported", "HTTP/1.1 200 OK": "", "HTTP/1.1 404": "", "HTTP/1.1 4": "", "HTTP/1.1": "", "": "", "xHTTP/1.1 400": "",
	} {
		why, ok := refusal([]byte(line))
		if ok != (want != "") || ok && why.String() != want {
			t.Errorf("%q: got %v, %v; want %q", line, why, ok, want)
		}
	}
}

// Who may not be listened to is told what to do.
func TestListen_SaysWhatToDo(t *testing.T) {
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for address, want := range map[string]string{
		l.Addr().String(): "the address is in use; stop who has it",
		"192.0.2.1:80":    "choose an address of this machine",
	} {
		if _, err := Listen(address); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), address) {
			t.Errorf("%s: got %v, want %q", address, err, want)
		}
	}
}
