package front

import (
	"strings"
	"testing"
)

// The error of an address that cannot be opened says what to do.
func TestListen_SaysWhatToDo(t *testing.T) {
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for address, want := range map[string]string{
		l.Addr().String(): "the address is in use; stop the process that uses it",
		"192.0.2.1:80":    "choose an address of this machine",
	} {
		if _, err := Listen(address); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), address) {
			t.Errorf("%s: got %v, want %q", address, err, want)
		}
	}
}
