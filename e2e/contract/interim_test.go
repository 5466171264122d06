package contract

import (
	"fmt"
	"io"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pace/e2e/pacetest"
)

// countInterims makes a request that counts the interim responses to it.
func countInterims(p *pacetest.Pace, mode pacetest.Mode, t *testing.T, method, path, body string) (pacetest.Response, map[int]int) {
	count := map[int]int{}
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		count[code]++
		if h.Get("Content-Length") != "" {
			t.Errorf("a %d has a length", code)
		}
		return nil
	}, Got100Continue: func() {}}
	req := p.Request(method, path, body)
	return pacetest.Do(mode.Client(t), req.WithContext(httptrace.WithClientTrace(req.Context(), trace))), count
}

// TestInterim_EachReachesTheClient: a resumable upload gets a report for each part that has arrived, and a 100
// passes even if the client did not ask for one (RFC 9110 §15.2).
func TestInterim_EachReachesTheClient(t *testing.T) {
	t.Parallel()
	const parts, size = 700, 1 << 10 // the responses are more than a header may have
	b := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{
		"/upload": func(x *pacetest.Exchange) {
			for n := range parts {
				x.ReadBodyN(size)
				x.Write("HTTP/1.1 104 Upload Resumption Supported\r\nLocation: /upload/8a6e0e804ab2bb1a9a5d6bbd4f0ad5ee\r\nUpload-Offset: %d\r\nContent-Length: 0\r\n\r\n", (n+1)*size)
			}
			pacetest.Fine(x)
		},
		"/hundred": func(x *pacetest.Exchange) {
			x.Write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 199 Odd\r\n\r\n")
			pacetest.Fine(x)
		},
		"/": pacetest.Fine,
	}))
	p, spans := pacetest.StartTraced(t, upstreams(b))
	for _, mode := range []pacetest.Mode{pacetest.H1, pacetest.H2C} {
		got, count := countInterims(p, mode, t, "POST", "/upload", strings.Repeat("x", parts*size))
		wantStatus(t, got, 200)
		if count[104] != parts {
			t.Errorf("%s: %v interim responses came, want %d times 104", mode, count, parts)
		}
		for _, method := range []string{"GET", "POST"} {
			body := strings.Repeat("x", len(method)-3)
			if got, count = countInterims(p, mode, t, method, "/hundred", body); got.Status != 200 || count[100] != 1 || count[199] != 1 {
				t.Errorf("%s, %s: status %d after %v", mode, method, got.Status, count)
			}
		}
		wantAttr(t, pacetest.WantTrace(spans, 1, pacetest.ID(got.Header.Get("X-Trace-Id"))).Server.Attrs, "pace.outcome", "ok")
	}
	if r := b.Got("/upload"); len(r) != 2 || len(r[0].Body) != parts*size || r[0].BodyErr != nil {
		t.Errorf("the backend got %d uploads", len(r))
	}
	p.WantMetric(6, "http_server_request_duration_seconds_count", "pace_outcome", "ok", "http_response_status_code", "200")
}

// TestInterim_NoneGoesToHTTP10, which cannot take them.
func TestInterim_NoneGoesToHTTP10(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		x.Write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
		pacetest.Fine(x)
	})
	p := pacetest.Start(t, upstreams(b))
	for _, request := range []string{"GET /x HTTP/1.0\r\n\r\n", "POST /x HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"} {
		w := p.Wire()
		w.Send(request)
		rest, err := w.Rest()
		if !strings.HasPrefix(rest, "HTTP/1.0 200 ") && !strings.HasPrefix(rest, "HTTP/1.1 200 ") || strings.Count(rest, "HTTP/1.") != 1 || err != nil {
			t.Errorf("%q got %q, %v", request, rest, err)
		}
	}
}

// TestInterim_ExtendsNoTimeout: a backend that only says that it is at work is given up in time
// (docs/decisions/0011).
func TestInterim_ExtendsNoTimeout(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"102 Processing", "103 Early Hints", "100 Continue"} {
		b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
			for x.Write("HTTP/1.1 %s\r\n\r\n", line) {
				time.Sleep(50 * time.Millisecond)
			}
		})
		cfg := set(upstreams(b), "upstreams", "response_timeout", "500ms")
		p := pacetest.Start(t, set(cfg, "upstreams", "max_retries", 0))
		began := time.Now()
		got := p.Get("/x")
		if took := time.Since(began); took < 400*time.Millisecond || took > 10*time.Second {
			t.Errorf("%s: given up after %v", line, took)
		}
		wantStatus(t, got, 504)
		if l := p.WantAccess("/x"); l.Text("outcome") != "upstream_timeout" {
			t.Errorf("%s: outcome %q", line, l.Text("outcome"))
		}
	}
}

// TestInterim_FloodsAreBounded, however small each response is.
func TestInterim_FloodsAreBounded(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		flood := strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 100)
		for x.Write("%s", flood) {
			sent.Add(int64(len(flood)))
		}
	})
	p := pacetest.Start(t, set(upstreams(b), "upstreams", "max_retries", 0))
	w := p.Wire()
	w.Send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	hints := 0
	for {
		resp := w.Head("GET")
		if resp.StatusCode != 103 {
			body, _ := io.ReadAll(resp.Body)
			if v := resp.Header.Get("Proxy-Status"); resp.StatusCode != 502 || !strings.HasPrefix(v, "pace; error=http_response_header_section_size") {
				t.Errorf("got %d, Proxy-Status %q, %q", resp.StatusCode, v, body)
			}
			break
		}
		hints++
	}
	if limit := 17 * 65536 / len("HTTP/1.1 103 Early Hints\r\n\r\n"); hints > limit || hints < 10_000 {
		t.Errorf("%d interim responses came, want at most %d", hints, limit)
	}
	if l := p.WantAccess("/x"); l.Text("outcome") != "upstream_invalid" {
		t.Errorf("outcome %q, want upstream_invalid", l.Text("outcome"))
	}
	p.WantMetric(1, "http_server_request_duration_seconds_count", "pace_outcome", "upstream_invalid")
}

// TestInterim_TheHundredComesOnce: a client that waits for a 100 gets exactly one, from pace or from the backend.
func TestInterim_TheHundredComesOnce(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		if x.Target == "/itself" {
			x.Write("HTTP/1.1 100 Continue\r\n\r\n")
		}
		x.Write("HTTP/1.1 103 Early Hints\r\nLink: </1>\r\n\r\n")
		x.ReadBody()
		x.Write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </2>\r\n\r\n")
		pacetest.Fine(x)
	})
	p := pacetest.Start(t, upstreams(b))
	for path, want := range map[string]string{"/itself": "100 103 103 200", "/never": "103 100 103 200"} {
		w := p.Wire()
		w.Send("POST " + path + " HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
		var got []string
		for len(got) == 0 || got[len(got)-1] != "200" {
			resp := w.Head("POST")
			got = append(got, fmt.Sprint(resp.StatusCode))
			if resp.StatusCode == 100 {
				w.Send("hello")
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %v, want %s", path, got, want)
		}
	}
}
