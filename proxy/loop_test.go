package proxy

import (
	"net/http"
	"strings"
	"testing"

	"pace/proxy/message"
)

// A chain of as many paces as anybody may want passes, one more does not; its line is capped.
func TestLooped(t *testing.T) {
	t.Parallel()
	p := start(t, nil, origin(t, func(http.ResponseWriter, *http.Request) {}))
	ask := func(hops int) (status int) {
		resp, _ := p.ask(t, "GET / HTTP/1.1\r\nHost: x\r\nVia: "+strings.Repeat("1.1 pace, ", hops-1)+"1.1 pace\r\n\r\n")
		return resp.StatusCode
	}
	if got := ask(message.MaxHops); got != 200 {
		t.Errorf("after %d hops: status %d, want 200", message.MaxHops, got)
	}
	for range 3 {
		if got := ask(message.MaxHops + 1); got != 400 {
			t.Errorf("after %d hops: status %d, want 400", message.MaxHops+1, got)
		}
	}
	for _, l := range p.lines(t, 4)[1:] {
		if l["outcome"] != "bad_request" || l["attempts"] != 0.0 {
			t.Errorf("got %v", l)
		}
	}
	waitFor(t, "the warning", func() bool {
		return len(p.said(t, "request loop: a backend routes back to pace")) > 0
	})
}
