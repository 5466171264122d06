package contract

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"pace/e2e/pacetest"
)

// overEachH2 runs f with backends over h2c and over h2.
func overEachH2(t *testing.T, f func(t *testing.T, o h2Side)) {
	t.Run("h2c", func(t *testing.T) {
		t.Parallel()
		f(t, h2Side{})
	})
	t.Run("h2", func(t *testing.T) {
		t.Parallel()
		f(t, h2Side{pacetest.NewCA(t)})
	})
}

// h2Side is how the backends of a test are spoken to.
type h2Side struct{ ca *pacetest.CA } // nil: without TLS

// tls is how a backend speaks TLS; nil: it does not.
func (o h2Side) tls(protocols ...string) *tls.Config {
	if o.ca == nil {
		return nil
	}
	c := o.ca.Server("127.0.0.1").Clone()
	c.NextProtos = protocols
	return c
}

func (o h2Side) backend(t *testing.T, behaviour func(*pacetest.H2Exchange), settings ...http2.Setting) *pacetest.H2Backend {
	t.Helper()
	return pacetest.NewH2Backend(t, o.tls("h2"), behaviour, settings...)
}

func (o h2Side) config(backends ...interface{ Address() string }) pacetest.Config {
	cfg := unhurried(upstreams(backends...))
	if o.ca != nil {
		set(cfg, "upstreams.tls", "ca", o.ca.File())
	}
	return cfg
}

func (o h2Side) scheme() string {
	if o.ca == nil {
		return "http"
	}
	return "https"
}

// serverOf is a backend of net/http.
type serverOf struct{ url string }

func (s serverOf) Address() string { return s.url[strings.Index(s.url, "://")+3:] }
func (s serverOf) URL() string     { return s.url }

// nethttp starts a backend of net/http.
func (o h2Side) nethttp(t *testing.T, handler http.HandlerFunc) serverOf {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	if o.ca != nil {
		s.EnableHTTP2, s.TLS = true, o.tls("h2", "http/1.1")
		s.StartTLS()
		t.Cleanup(s.Close)
		return serverOf{"h2://" + s.Listener.Addr().String()}
	}
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return serverOf{"h2c://" + s.Listener.Addr().String()}
}

func TestH2Backend_Request(t *testing.T) {
	t.Parallel()
	overEachH2(t, func(t *testing.T, o h2Side) {
		b := o.backend(t, func(x *pacetest.H2Exchange) {
			x.AwaitEnd()
			x.SendHeader(false, ":status", "103", "link", "</a>")
			x.SendHeader(false, ":status", "200", "x-one", "1", "x-one", "2", "trailer", "x-end")
			x.SendData(false, "fi")
			x.SendData(false, "ne")
			x.SendHeader(true, "x-end", "bye", "x-unannounced", "too")
		})
		p, spans := pacetest.StartTraced(t, o.config(b))
		pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
			path := "/" + string(mode) + "//a?b=%2F"
			req := p.Request("POST", path, "hello", "X-Two", "1", "X-Two", "2", "Te", "trailers", "Connection", "X-Hop, TE", "X-Hop", "1",
				"Keep-Alive", "9", "Upgrade", "websocket", "Cookie", "a=1; b=2")
			if mode == pacetest.H2C {
				for _, name := range []string{"Connection", "X-Hop", "Keep-Alive", "Upgrade"} {
					req.Header.Del(name)
				}
			}
			req.Host = "Example.com:8443"
			got := pacetest.Do(mode.Client(t), req)
			wantStatus(t, got, 200)
			if got.Body != "fine" || fmt.Sprint(got.Header["X-One"]) != "[1 2]" || got.Trailer.Get("X-End") != "bye" || got.Trailer.Get("X-Unannounced") != "too" {
				t.Errorf("the client got %+v", got)
			}
			if via := got.Header.Get("Via"); via != "2 pace" {
				t.Errorf("Via: %s", via)
			}
			reached := b.Got(path)
			if len(reached) != 1 {
				t.Fatalf("the backend got %d requests", len(reached))
			}
			r := reached[0]
			if r.Method != "POST" || r.Scheme != o.scheme() || r.Authority != "Example.com:8443" || r.Body != "hello" || !r.Ended || r.Reset {
				t.Errorf("the backend got %+v", r)
			}
			if fmt.Sprint(r.Header["X-Two"]) != "[1 2]" || r.Header.Get("Te") != "trailers" || r.Header.Get("Content-Length") != "5" ||
				strings.Join(r.Header["Cookie"], "; ") != "a=1; b=2" {
				t.Errorf("the backend got %v", r.Header)
			}
			for _, name := range []string{"Host", "Connection", "X-Hop", "Keep-Alive", "Upgrade", "Transfer-Encoding", "Proxy-Connection"} {
				if r.Header[name] != nil {
					t.Errorf("the backend got %s: %v", name, r.Header[name])
				}
			}
			if slices.ContainsFunc(r.Names, func(name string) bool { return name != strings.ToLower(name) }) {
				t.Errorf("names with capitals: %v", r.Names)
			}
			trace := pacetest.WantTrace(spans, 1, pacetest.ID(got.Header.Get("X-Trace-Id")))
			for key, want := range map[string]any{"network.protocol.version": "2", "server.port": b.Port(), "network.peer.port": b.Port(), "http.response.status_code": 200} {
				wantAttr(t, trace.Clients[0].Attrs, key, want)
			}
			if line := p.WantAccess("/" + string(mode) + "//a"); line.Text("outcome") != "ok" || line.Int("bytes_in") != 5 || line.Int("bytes_out") != 4 {
				t.Errorf("the line says %v", line)
			}
		})
	})
}

// One connection carries all requests, and is there in the gauge.
func TestH2Backend_OneConnection(t *testing.T) {
	t.Parallel()
	overEachH2(t, func(t *testing.T, o h2Side) {
		all := make(chan struct{})
		b := o.backend(t, func(x *pacetest.H2Exchange) { <-all; pacetest.H2Fine(x) })
		p := pacetest.Start(t, o.config(b))
		const requests = 40
		var clients sync.WaitGroup
		for i := range requests {
			clients.Go(func() {
				if got := p.Get(fmt.Sprint("/", i)); got.Status != 200 || got.Body != "fine" {
					t.Errorf("%d: %+v", i, got)
				}
			})
		}
		pacetest.Eventually(t, func() error {
			if n := len(b.Requests()); n != requests {
				return notYet("%d requests at once", n)
			}
			return nil
		})
		p.WantMetric(1, "pace_backend_connections", "state", "active")
		p.WantMetric(requests, "pace_backend_active_requests")
		close(all)
		clients.Wait()
		p.WantMetric(1, "pace_backend_connections", "state", "idle")
		p.WantMetric(0, "pace_backend_connections", "state", "active")
		if b.Accepted() != 1 {
			t.Errorf("%d connections", b.Accepted())
		}
	})
}

// A backend that lets a connection carry few streams gets more connections, and at most max_connections.
func TestH2Backend_FewStreams(t *testing.T) {
	t.Parallel()
	overEachH2(t, func(t *testing.T, o h2Side) {
		all := make(chan struct{})
		b := o.backend(t, func(x *pacetest.H2Exchange) {
			if x.Target != "/first" {
				<-all
			}
			pacetest.H2Fine(x)
		}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 2})
		p := pacetest.Start(t, set(o.config(b), "upstreams", "max_connections", 3))
		wantStatus(t, p.Get("/first"), 200)
		const requests = 8
		results := make(chan pacetest.Response, requests)
		for i := range requests {
			go func() { results <- p.Get(fmt.Sprint("/", i)) }()
		}
		for range requests - 6 {
			if got := <-results; got.Status != 503 {
				t.Errorf("got %+v", got)
			}
		}
		close(all)
		for range 6 {
			wantStatus(t, <-results, 200)
		}
		if b.Accepted() > 3 {
			t.Errorf("%d connections", b.Accepted())
		}
	})
}

// h2Fault is something that a backend does wrong, and what follows if it is the only one.
type h2Fault struct {
	name    string
	serve   func(*pacetest.H2Exchange)
	outcome string
	status  int // 0: a whole header came, and the rest did not
	retries int // by reason
	reason  string
	says    string // the error in the line; "": any
}

var h2Faults = []h2Fault{
	{"a stream that is refused", pacetest.H2Refuse, "upstream_reset", 502, 1, "refused_stream", ""},
	{"a GOAWAY that excludes the stream", func(x *pacetest.H2Exchange) { x.GoAway(0, http2.ErrCodeNo) }, "upstream_reset", 502, 1, "goaway", ""},
	{"a GOAWAY with an error that excludes the stream", func(x *pacetest.H2Exchange) { x.GoAway(0, http2.ErrCodeEnhanceYourCalm); x.CloseConn() }, "upstream_reset", 502, 1, "goaway", ""},
	{"a GOAWAY that includes the stream, and then the end", func(x *pacetest.H2Exchange) { x.GoAway(x.Stream, http2.ErrCodeNo); x.CloseConn() }, "upstream_reset", 502, 0, "", ""},
	{"a reset for a rule", func(x *pacetest.H2Exchange) { x.SendReset(http2.ErrCodeProtocol) }, "upstream_reset", 502, 0, "", ""},
	{"a reset for HTTP/1.1", func(x *pacetest.H2Exchange) { x.SendReset(http2.ErrCodeHTTP11Required) }, "upstream_reset", 502, 0, "", ""},
	{"the end", func(x *pacetest.H2Exchange) { x.CloseConn() }, "upstream_reset", 502, 0, "", ""},
	{"a header without a status", func(x *pacetest.H2Exchange) { x.SendHeader(true, "a", "b") }, "upstream_invalid", 502, 0, "", "what the backend sent is not valid HTTP/2"},
	{"a name with a capital", func(x *pacetest.H2Exchange) { x.SendHeader(true, ":status", "200", "A", "b") }, "upstream_invalid", 502, 0, "", "what the backend sent is not valid HTTP/2"},
	{"a value with a line break", func(x *pacetest.H2Exchange) { x.SendHeader(true, ":status", "200", "a", "b\r\nc: d") }, "upstream_invalid", 502, 0, "", ""},
	{"a frame that is none", func(x *pacetest.H2Exchange) { x.Frame(http2.FrameWindowUpdate, 0, "\x00") }, "upstream_invalid", 502, 0, "", "what the backend sent is not valid HTTP/2"},
	{"a status 101", func(x *pacetest.H2Exchange) { x.SendHeader(false, ":status", "101") }, "upstream_invalid", 502, 0, "", ""},
	{"a header that is too large", func(x *pacetest.H2Exchange) { x.SendHeader(true, ":status", "200", "a", strings.Repeat("x", 3000)) }, "upstream_invalid", 502, 0, "", ""},
	{"silence", func(x *pacetest.H2Exchange) { x.AwaitReset() }, "upstream_timeout", 504, 0, "", ""},
	{"a reset in the body", func(x *pacetest.H2Exchange) {
		x.SendHeader(false, ":status", "200")
		x.SendData(false, "fi")
		x.SendReset(http2.ErrCodeInternal)
	}, "upstream_truncated", 0, 0, "", "the backend reset the stream: INTERNAL_ERROR"},
	{"the end in the body", func(x *pacetest.H2Exchange) {
		x.SendHeader(false, ":status", "200")
		x.SendData(false, "fi")
		x.CloseConn()
	}, "upstream_truncated", 0, 0, "", ""},
	{"a body that is too short", func(x *pacetest.H2Exchange) {
		x.SendHeader(false, ":status", "200", "content-length", "4")
		x.SendData(true, "fi")
	}, "upstream_truncated", 0, 0, "", "the body is shorter than its content-length"},
	{"silence in the body", func(x *pacetest.H2Exchange) {
		x.SendHeader(false, ":status", "200")
		x.SendData(false, "fi")
		x.AwaitReset()
	}, "upstream_stalled", 0, 0, "", ""},
}

// Whatever the only backend does wrong, it gets one request for each attempt, and client, metric, line and span say the
// same of it.
func TestH2Backend_Faults(t *testing.T) {
	t.Parallel()
	overEachH2(t, func(t *testing.T, o h2Side) {
		for _, f := range h2Faults {
			for _, method := range []string{"GET", "POST"} {
				t.Run(method+", "+f.name, func(t *testing.T) {
					t.Parallel()
					o.wantFault(t, method, f)
				})
			}
		}
	})
}

func (o h2Side) wantFault(t *testing.T, method string, f h2Fault) {
	b := o.backend(t, f.serve)
	cfg := o.config(b)
	set(cfg, "upstreams", "max_response_header_bytes", 2048)
	switch f.outcome {
	case "upstream_timeout":
		set(cfg, "upstreams", "response_timeout", "2s") // in which the backend has got the request
	case "upstream_stalled":
		set(cfg, "upstreams", "body_timeout", "2s")
	}
	p, spans := pacetest.StartTraced(t, cfg)
	got := p.Send(method, "/x", "")
	if f.status == 0 && (got.Status != 200 || got.Err == nil) || f.status != 0 && (got.Status != f.status || got.Err != nil) {
		t.Errorf("the client got %d, %v", got.Status, got.Err)
	}
	trace := pacetest.WantTrace(spans, 1+f.retries, pacetest.Path("/x"))
	wantAttr(t, trace.Server.Attrs, "pace.outcome", f.outcome)
	if n := len(trace.Clients); n != 1+f.retries {
		t.Errorf("%d CLIENT spans, want %d", n, 1+f.retries)
	}
	if n := len(b.Got("/x")); n != 1+f.retries {
		t.Errorf("the backend got %d requests, want %d", n, 1+f.retries)
	}
	for _, client := range trace.Clients {
		wantAttr(t, client.Attrs, "error.type", f.outcome)
		wantAttr(t, client.Attrs, "network.peer.port", b.Port())
	}
	p.WantMetric(1, "pace_requests_total", "pace_outcome", f.outcome, "pace_side", "backend")
	p.WantMetric(float64(f.retries), "pace_retries_total")
	if f.retries > 0 {
		p.WantMetric(1, "pace_retries_total", "reason", f.reason)
		wantAttr(t, trace.Server.Named("pace.retry")[0].Attrs, "pace.retry.reason", f.reason)
	}
	p.WantMetric(float64(1+f.retries), "http_client_request_duration_seconds_count")
	line := p.WantAccess("/x")
	if line.Text("outcome") != f.outcome || line.Int("attempts") != 1+f.retries || line.Text("error") == "" || strings.Contains(line.Text("error"), "debug") ||
		f.says != "" && line.Text("error") != f.says {
		t.Errorf("the line says %v", line)
	}
}

// What one backend has certainly not processed goes to the other one, whatever the method is.
func TestH2Backend_Failover(t *testing.T) {
	t.Parallel()
	overEachH2(t, func(t *testing.T, o h2Side) {
		for reason, serve := range map[string]func(*pacetest.H2Exchange){
			"refused_stream": pacetest.H2Refuse,
			"goaway":         func(x *pacetest.H2Exchange) { x.GoAway(0, http2.ErrCodeNo) },
		} {
			t.Run(reason, func(t *testing.T) {
				t.Parallel()
				bad, fine := o.backend(t, serve), o.backend(t, pacetest.H2Fine)
				p, spans := pacetest.StartTraced(t, o.config(bad, fine))
				failovers := 0
				for i := range 8 {
					method := []string{"GET", "POST"}[i/2%2]
					got := p.Send(method, fmt.Sprint("/", i), "")
					wantStatus(t, got, 200)
					trace := pacetest.WantTrace(spans, 1, pacetest.ID(got.Header.Get("X-Trace-Id")))
					if len(trace.Clients) == 2 {
						failovers++
						event := trace.Server.Named("pace.failover")[0].Attrs
						for key, want := range map[string]any{"from": bad.Address(), "to": fine.Address(), "reason": reason, "attempt": 1} {
							wantAttr(t, event, "pace.failover."+key, want)
						}
						if number(event["pace.failover.bytes_sent"]) == 0 {
							t.Errorf("the failover says that nothing was sent: %v", event)
						}
						wantAttr(t, trace.Clients[0].Attrs, "error.type", "upstream_reset")
						wantAttr(t, trace.Clients[1].Attrs, "http.request.resend_count", 1)
					}
				}
				if n := len(bad.Requests()); n != failovers || n == 0 || len(fine.Requests()) != 8 {
					t.Errorf("%d failovers, the bad backend got %d requests, the other one %d", failovers, n, len(fine.Requests()))
				}
				p.WantMetric(float64(failovers), "pace_failovers_total", "reason", reason)
				p.WantMetric(float64(failovers), "pace_failovers_total")
				p.WantMetric(0, "pace_retries_total")
			})
		}
	})
}

// A GOAWAY of the only backend is one retry on a new connection, which works.
func TestH2Backend_GoAwayOnce(t *testing.T) {
	t.Parallel()
	overEachH2(t, func(t *testing.T, o h2Side) {
		b := o.backend(t, pacetest.H2OnceThen(func(x *pacetest.H2Exchange) { x.GoAway(0, http2.ErrCodeNo) }, pacetest.H2Fine))
		p, spans := pacetest.StartTraced(t, o.config(b))
		got := p.Send("POST", "/x", "")
		wantStatus(t, got, 200)
		reached := b.Got("/x")
		if len(reached) != 2 || reached[0].Conn == reached[1].Conn {
			t.Errorf("the backend got %+v", reached)
		}
		trace := pacetest.WantTrace(spans, 1, pacetest.ID(got.Header.Get("X-Trace-Id")))
		if events := trace.Server.Named("pace.retry"); len(events) != 1 || len(trace.Clients) != 2 {
			t.Errorf("events %v, %d CLIENT spans", events, len(trace.Clients))
		}
		p.WantMetric(1, "pace_retries_total", "reason", "goaway")
	})
}

// A body that was read is sent again, whatever the method is, since the backend has not processed the request: if pace still
// has it whole, or keeps it.
func TestH2Backend_BodyIsSentAgain(t *testing.T) {
	t.Parallel()
	overEachH2(t, func(t *testing.T, o h2Side) {
		refuse := func(x *pacetest.H2Exchange) { x.AwaitEnd(); x.SendReset(http2.ErrCodeRefusedStream) }
		goAway := func(x *pacetest.H2Exchange) { x.AwaitEnd(); x.GoAway(0, http2.ErrCodeNo) }
		small, large := "hello", strings.Repeat("hello", 20_000)
		for name, tt := range map[string]struct {
			first        func(*pacetest.H2Exchange)
			method, body string
			kept         int
			want         int
		}{
			"refused": {refuse, "POST", small, 0, 200}, "GOAWAY": {goAway, "POST", small, 0, 200}, "64 KiB": {goAway, "POST", large[:64<<10], 0, 200},
			"large": {refuse, "POST", large, 0, 502}, "idempotent": {goAway, "PUT", large, 0, 502}, "kept": {refuse, "POST", large, 1 << 20, 200},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := o.backend(t, pacetest.H2OnceThen(tt.first, pacetest.H2Fine))
				p := pacetest.Start(t, set(o.config(b), "upstreams.retry", "max_replay_bytes", tt.kept))
				wantStatus(t, p.Send(tt.method, "/x", tt.body), tt.want)
				reached := b.Got("/x")
				for _, r := range reached {
					if r.Body != tt.body {
						t.Errorf("the backend got %d bytes", len(r.Body))
					}
				}
				if want := 1 + tt.want/200%2; len(reached) != want {
					t.Errorf("the backend got %d requests, want %d", len(reached), want)
				}
				if line := p.WantAccess("/x"); line.Int("bytes_in") != len(tt.body) {
					t.Errorf("the line says %v", line)
				}
			})
		}
	})
}

// A client that leaves makes pace reset the stream, and the connection serves others.
func TestH2Backend_ClientLeaves(t *testing.T) {
	t.Parallel()
	overEachH2(t, func(t *testing.T, o h2Side) {
		for name, tt := range map[string]struct {
			serve   func(*pacetest.H2Exchange)
			outcome string
			phase   string // in which it leaves
		}{
			"while it waits": {func(x *pacetest.H2Exchange) { x.AwaitReset() }, "client_gone", "wait"},
			"in the body": {func(x *pacetest.H2Exchange) {
				x.SendHeader(false, ":status", "200")
				x.SendData(false, "fi")
				x.AwaitReset()
			}, "client_aborted", "receive"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := o.backend(t, func(x *pacetest.H2Exchange) {
					if x.Target == "/x" {
						tt.serve(x)
					} else {
						pacetest.H2Fine(x)
					}
				})
				p := pacetest.Start(t, o.config(b))
				wantStatus(t, p.Get("/before"), 200)
				ctx, leave := context.WithCancel(t.Context())
				client := pacetest.H1.Client(t)
				done := make(chan error)
				go func() {
					resp, err := client.Do(p.Request("GET", "/x", "").WithContext(ctx))
					if err == nil {
						_, err = io.ReadAll(resp.Body)
					}
					done <- err
				}()
				pacetest.Eventually(t, func() error {
					if len(b.Got("/x")) == 0 {
						return notYet("no request")
					}
					return nil
				})
				awaitPhase(t, p, tt.phase)
				leave()
				if err := <-done; !errors.Is(err, context.Canceled) {
					t.Errorf("the client got %v", err)
				}
				b.WantReset("/x", http2.ErrCodeCancel)
				if line := p.WantAccess("/x"); line.Text("outcome") != tt.outcome {
					t.Errorf("the line says %v", line)
				}
				wantStatus(t, p.Get("/after"), 200)
				if b.Accepted() != 1 {
					t.Errorf("%d connections", b.Accepted())
				}
			})
		}
	})
}

// A body that the backend takes no more of has stalled, in the words of the contract.
func TestH2Backend_StalledUpload(t *testing.T) {
	t.Parallel()
	overEachH2(t, func(t *testing.T, o h2Side) {
		b := o.backend(t, func(x *pacetest.H2Exchange) { x.AwaitReset() }, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100})
		p, spans := pacetest.StartTraced(t, set(o.config(b), "upstreams", "response_timeout", "2s"))
		wantStatus(t, p.Get("/warm-up"), 504) // now pace knows the window
		b.HoldWindow()
		got := p.Send("POST", "/x", strings.Repeat("x", 10000))
		wantStatus(t, got, 504)
		pacetest.Eventually(t, func() error { // RST_STREAM, or the end of a connection on which nothing came
			if got := b.Got("/x"); len(got) != 1 || !got[0].Reset || len(got[0].Body) != 100 {
				return notYet("the backend saw %+v", got)
			}
			return nil
		})
		trace := pacetest.WantTrace(spans, 1, pacetest.Path("/x"))
		wantAttr(t, trace.Server.Attrs, "pace.outcome", "upstream_stalled")
		p.WantMetric(1, "pace_requests_total", "pace_outcome", "upstream_stalled", "pace_side", "backend")
		if line := p.WantAccess("/x"); line.Text("outcome") != "upstream_stalled" || line.Int("status") != 504 {
			t.Errorf("the line says %v", line)
		}
	})
}

// Large bodies go both ways at once, whole, and a client that takes nothing does not stop the others.
func TestH2Backend_LargeBodies(t *testing.T) {
	t.Parallel()
	overEachH2(t, func(t *testing.T, o h2Side) {
		echo := o.nethttp(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			http.NewResponseController(w).EnableFullDuplex()
			io.Copy(w, r.Body)
		})
		p := pacetest.Start(t, o.config(echo))
		slow, err := pacetest.H1.Client(t).Do(p.Request("POST", "/slow", strings.Repeat("s", 4<<20)))
		if err != nil {
			t.Fatal(err)
		}
		defer slow.Body.Close()
		body := strings.Repeat("0123456789abcdef", 1<<16)
		for i := range 4 {
			got := p.Send("POST", fmt.Sprint("/", i), body)
			wantStatus(t, got, 200)
			if got.Body != body {
				t.Errorf("%d of %d bytes came back", len(got.Body), len(body))
			}
		}
	})
}

// Events come one by one, and go on beyond every timeout; a backend that leaves ends them.
func TestH2Backend_Events(t *testing.T) {
	t.Parallel()
	overEachH2(t, func(t *testing.T, o h2Side) {
		next, last := make(chan string), make(chan bool)
		b := o.backend(t, func(x *pacetest.H2Exchange) {
			x.SendHeader(false, ":status", "200", "content-type", "text/event-stream")
			for text := range next {
				x.SendData(false, "data: "+text+"\n\n")
			}
			<-last
			x.CloseConn()
		})
		cfg := o.config(b)
		set(cfg, "upstreams", "body_timeout", "100ms")
		p := pacetest.Start(t, cfg)
		resp, err := pacetest.H1.Client(t).Do(p.Request("GET", "/events", ""))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for i := range 5 {
			text := fmt.Sprint("event ", i)
			next <- text
			piece := make([]byte, len("data: \n\n")+len(text))
			if _, err := io.ReadFull(resp.Body, piece); err != nil || string(piece) != "data: "+text+"\n\n" {
				t.Fatalf("%q, %v", piece, err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		p.WantMetric(1, "pace_streams", "kind", "sse")
		close(next)
		close(last)
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Error("the client saw a whole stream")
		}
		p.WantMetric(0, "pace_streams", "kind", "sse")
	})
}

// 100-continue, HEAD, 204, 304 and a response that comes before the request's end, with a backend of net/http.
func TestH2Backend_OddResponses(t *testing.T) {
	t.Parallel()
	overEachH2(t, func(t *testing.T, o h2Side) {
		b := o.nethttp(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/204":
				w.WriteHeader(204)
			case "/304":
				w.Header().Set("Content-Length", "7")
				w.WriteHeader(304)
			case "/head":
				w.Header().Set("Content-Length", "7")
			case "/early":
				w.WriteHeader(403)
				io.WriteString(w, "no")
			default:
				io.Copy(w, r.Body)
			}
		})
		p := pacetest.Start(t, o.config(b))
		for _, tt := range []struct {
			method, path string
			status       int
			body         string
		}{{"GET", "/204", 204, ""}, {"GET", "/304", 304, ""}, {"HEAD", "/head", 200, ""}, {"POST", "/204", 204, ""}, {"OPTIONS", "/x", 200, ""}} {
			if got := p.Send(tt.method, tt.path, ""); got.Status != tt.status || got.Body != tt.body || got.Err != nil {
				t.Errorf("%s %s: %+v", tt.method, tt.path, got)
			}
		}
		w := p.Wire()
		w.Send("POST /expect HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
		if head := w.Head("POST"); head.StatusCode != 100 {
			t.Errorf("got %d", head.StatusCode)
		}
		w.Send("hello")
		if got := w.Response("POST"); got.Status != 200 || got.Body != "hello" {
			t.Errorf("got %+v", got)
		}
		w = p.Wire()
		w.Send("POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\nhello")
		if got := w.Response("POST"); got.Status != 403 || got.Body != "no" {
			t.Errorf("got %+v", got)
		}
	})
}

// A backend over https:// chooses HTTP/2 or HTTP/1.1, and an upgrade goes over HTTP/1.1 in any case.
func TestH2Backend_Negotiated(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		protocols []string
		version   string
	}{{[]string{"h2", "http/1.1"}, "2"}, {[]string{"http/1.1"}, "1.1"}, {nil, "1.1"}} {
		t.Run(fmt.Sprint(tt.protocols), func(t *testing.T) {
			t.Parallel()
			o := h2Side{pacetest.NewCA(t)}
			var mu sync.Mutex
			protos, peers := []string{}, map[string]bool{}
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				protos, peers[r.RemoteAddr] = append(protos, r.Proto), true
				mu.Unlock()
				if r.Header.Get("Upgrade") != "" {
					w.Header().Set("Upgrade", "echo")
					w.Header().Set("Connection", "Upgrade")
					w.WriteHeader(101)
					c, _, _ := http.NewResponseController(w).Hijack()
					io.WriteString(c, "switched")
					c.Close()
					return
				}
				io.WriteString(w, "fine")
			}))
			s.TLS = o.tls(tt.protocols...)
			s.EnableHTTP2 = slices.Contains(tt.protocols, "h2")
			s.StartTLS()
			t.Cleanup(s.Close)
			p, spans := pacetest.StartTraced(t, o.config(serverOf{"https://" + s.Listener.Addr().String()}))
			for i := range 3 {
				got := p.Get(fmt.Sprint("/", i))
				wantStatus(t, got, 200)
				trace := pacetest.WantTrace(spans, 1, pacetest.ID(got.Header.Get("X-Trace-Id")))
				wantAttr(t, trace.Clients[0].Attrs, "network.protocol.version", tt.version)
				wantAttr(t, trace.Clients[0].Attrs, "pace.connection.reused", i > 0)
				if ms := number(trace.Server.Attrs["pace.phase.tls"]); (ms > 0) != (i == 0) {
					t.Errorf("request %d has pace.phase.tls %v", i, ms)
				}
			}
			mu.Lock()
			want := "HTTP/" + strings.TrimSuffix(tt.version+".0", ".1.0")
			if tt.version == "1.1" {
				want = "HTTP/1.1"
			}
			if len(peers) != 1 || fmt.Sprint(protos) != fmt.Sprint([]string{want, want, want}) {
				t.Errorf("the backend saw %v on %d connections", protos, len(peers))
			}
			mu.Unlock()
			w := p.Wire()
			w.Send("GET /up HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			if head := w.Head("GET"); head.StatusCode != 101 {
				t.Errorf("the upgrade got %d", head.StatusCode)
			}
			if rest, _ := w.Rest(); rest != "switched" {
				t.Errorf("after the upgrade came %q", rest)
			}
			wantStatus(t, p.Get("/after"), 200)
		})
	}
}

// A header that is larger than the backend takes is not sent, and the client is not blamed for leaving.
func TestH2Backend_HeaderThatTheBackendDoesNotTake(t *testing.T) {
	t.Parallel()
	overEachH2(t, func(t *testing.T, o h2Side) {
		b := o.backend(t, pacetest.H2Fine, http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 2000})
		p := pacetest.Start(t, o.config(b))
		for _, body := range []string{"", "hello"} {
			wantStatus(t, p.Send("POST", "/large", body, "X-Large", strings.Repeat("x", 3000)), 400)
			wantStatus(t, p.Send("POST", "/small", body), 200)
		}
		if n := len(b.Got("/large")); n != 0 {
			t.Errorf("the backend got %d requests", n)
		}
		p.WantMetric(2, "pace_requests_total", "pace_outcome", "bad_request")
	})
}

// h2:// never falls back.
func TestH2Backend_NotAgreedOn(t *testing.T) {
	t.Parallel()
	o := h2Side{pacetest.NewCA(t)}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the backend got a request") }))
	s.TLS = o.tls("http/1.1")
	s.StartTLS()
	t.Cleanup(s.Close)
	p := pacetest.Start(t, o.config(serverOf{"h2://" + s.Listener.Addr().String()}))
	got := p.Get("/x")
	wantStatus(t, got, 502)
	if status := got.Header.Get("Proxy-Status"); !strings.Contains(status, "error=tls_protocol_error") {
		t.Errorf("Proxy-Status: %s", status)
	}
	if line := p.WantAccess("/x"); line.Text("outcome") != "tls_failed" || !strings.Contains(line.Text("error"), "application protocol") {
		t.Errorf("the line says %v", line)
	}
}

// A backend is checked over the protocol that its requests use.
func TestH2Backend_Checks(t *testing.T) {
	t.Parallel()
	overEachH2(t, func(t *testing.T, o h2Side) {
		b := o.backend(t, func(x *pacetest.H2Exchange) {
			if x.Target != "/healthz" || x.Scheme != o.scheme() {
				x.SendHeader(true, ":status", "500")
				return
			}
			pacetest.H2Fine(x)
		})
		cfg := o.config(b)
		cfg["upstreams.health"] = pacetest.Table{"path": "/healthz", "interval": "100ms", "timeout": "5s"}
		p := pacetest.Start(t, cfg)
		pacetest.Eventually(t, func() error {
			if m := p.Metrics(); m.Sum("pace_health_checks_total", "result", "passed") < 2 || m.Sum("pace_backend_up") != 1 {
				return notYet("no check has passed")
			}
			return nil
		})
		p.WantMetric(0, "pace_health_checks_total", "result", "failed")
		if n := len(b.Got("/healthz")); n < 2 {
			t.Errorf("the backend got %d checks", n)
		}
	})
}

// A client has its response when it has as many bytes as the header announces, and may leave then: the backend may end its
// stream later.
func TestH2Backend_ClientLeavesWithAWholeResponse(t *testing.T) {
	t.Parallel()
	overEachH2(t, func(t *testing.T, o h2Side) {
		b := o.backend(t, func(x *pacetest.H2Exchange) {
			x.AwaitEnd()
			x.SendHeader(false, ":status", "200", "content-length", "4")
			x.SendData(false, "fine")
			x.AwaitReset()
		})
		p := pacetest.Start(t, o.config(b))
		for _, request := range []string{"GET /get HTTP/1.1\r\nHost: x\r\n\r\n", "POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"} {
			method, _, _ := strings.Cut(request, " ")
			w := p.Wire()
			w.Send(request)
			if got := w.Response(method); got.Body != "fine" || got.Err != nil {
				t.Errorf("%s: %+v", method, got)
			}
			w.Close()
			if line := p.WantAccess("/" + strings.ToLower(method)); line.Text("outcome") != "ok" || line.Int("bytes_out") != 4 {
				t.Errorf("the line says %v", line)
			}
		}
	})
}
