package message

import (
	"net/http"
	"testing"
)

func TestAnnouncement(t *testing.T) {
	if got := Announcement(http.Header{"X-B": nil, "X-A": nil}); got != "X-A, X-B" {
		t.Errorf("got %q", got)
	}
	if got := Announcement(nil); got != "" {
		t.Errorf("got %q", got)
	}
}
