package proxy

import (
	"net/http"
	"strings"
	"testing"
)

func TestHops(t *testing.T) {
	for name, tt := range map[string]struct {
		via  []string
		want int
	}{
		"no field":                      {nil, 0},
		"another proxy":                 {[]string{"1.1 nginx"}, 0},
		"one pace":                      {[]string{"1.1 pace"}, 1},
		"paces among others":            {[]string{"1.1 pace, 2 edge:443, 2 pace"}, 2},
		"several fields":                {[]string{"1.1 pace", "1.0 pace,HTTP/1.1 pace"}, 3},
		"one with a comment":            {[]string{"1.1 pace (0.1.0)"}, 1},
		"names that only begin like it": {[]string{"1.1 pacemaker, 1.1 pace.example, pace, 1.1"}, 0},
		"odd lists":                     {[]string{",, ,1.1\tpace ,"}, 1},
	} {
		if got := hops(tt.via); got != tt.want {
			t.Errorf("%s: got %d, want %d", name, got, tt.want)
		}
	}
}

// A chain of as many paces as anybody may want passes, one more does not; its line is capped.
func TestLooped(t *testing.T) {
	p := start(t, nil, origin(t, func(http.ResponseWriter, *http.Request) {}))
	ask := func(hops int) (status int) {
		resp, _ := p.ask(t, "GET / HTTP/1.1\r\nHost: x\r\nVia: "+strings.Repeat("1.1 pace, ", hops-1)+"1.1 pace\r\n\r\n")
		return resp.StatusCode
	}
	if got := ask(mostHops); got != 200 {
		t.Errorf("after %d hops: status %d, want 200", mostHops, got)
	}
	for range 3 {
		if got := ask(mostHops + 1); got != 400 {
			t.Errorf("after %d hops: status %d, want 400", mostHops+1, got)
		}
	}
	for _, l := range p.lines(t, 4)[1:] {
		if l["outcome"] != "bad_request" || l["attempts"] != 0.0 {
			t.Errorf("got %v", l)
		}
	}
	waitFor(t, "the warning", func() bool {
		return len(p.said(t, "a request came back too often: a backend leads to pace itself")) > 0
	})
}
