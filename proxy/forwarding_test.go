package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"pace/proxy/front"
	"pace/proxy/message"
	"pace/proxy/transport"
	"pace/proxy/upstream"
	"pace/telemetry/telemetrytest"
)

// newHandler returns a Handler that serves nobody, before a backend that nobody asks.
func newHandler(t testing.TB, change func(*setup)) *Handler {
	t.Helper()
	tel := telemetrytest.New(t, func(o *telemetrytest.Options) { o.SampleRatio, o.NoExporter = 0, true })
	o := setup{
		Options: Options{
			Telemetry: tel.Telemetry, Log: tel.Log.Logger, InFlight: new(front.InFlight),
			PlanOptions: PlanOptions{ProxyName: "X-Proxy", ProxyValue: "pace"},
		},
		pool: upstream.Options{Name: "default", Addresses: addresses("10.0.0.1:80")},
	}
	if change != nil {
		change(&o)
	}
	return o.handler()
}

// outgoing returns the field lines of r, as it came from peer, for its first attempt.
func (h *Handler) outgoing(peer string, r *http.Request) (lines string) {
	c := &front.Conn{Peer: message.NewPeer(netip.MustParseAddrPort(peer), message.HTTP), Attached: new(transport.Pin)}
	r = r.WithContext(front.WithConn(r.Context(), c))
	r.RemoteAddr = peer
	h.Telemetry.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		plan := h.plan.Load()
		q := h.open(plan, w, r, h.whoAsked(plan, r))
		defer q.leave()
		defer q.end()
		q.describe()
		q.act()
		q.prepare()
		lines = string(h.Telemetry.AppendPropagation(r.Context(), q.fields, q.rec, q.rec.BeginAttempt("10.0.0.1:80", "10.0.0.1", 80)))
	}), nil).ServeHTTP(httptest.NewRecorder(), r)
	return lines
}

func parsed(t testing.TB, lines string) http.Header {
	t.Helper()
	h, err := textproto.NewReader(bufio.NewReader(strings.NewReader(lines + "\r\n"))).ReadMIMEHeader()
	if err != nil {
		t.Fatalf("%v in %q", err, lines)
	}
	return http.Header(h)
}

func TestForwarding(t *testing.T) {
	t.Parallel()
	claims := http.Header{
		"X-Forwarded-For": {"192.0.2.7", "10.2.2.2"}, "X-Forwarded-Host": {"shop.example"}, "X-Forwarded-Proto": {"https"},
		"Forwarded": {`for=192.0.2.7;host="shop.example"`}, "X-Real-Ip": {"192.0.2.7"}, "Via": {"1.1 front"},
	}
	for name, tt := range map[string]struct {
		peer string
		want http.Header
	}{
		"what an untrusted peer claims is replaced": {"198.51.100.1:1", http.Header{
			"X-Forwarded-For": {"198.51.100.1"}, "X-Forwarded-Host": {"here.example:81"}, "X-Forwarded-Proto": {"http"},
			"Forwarded": {`for=198.51.100.1;host="here.example:81";proto=http`}, "X-Real-Ip": nil, "Via": {"1.1 front, 1.1 pace"}}},
		"what a trusted proxy saw is continued": {"10.1.1.1:1", http.Header{
			"X-Forwarded-For": {"192.0.2.7, 10.2.2.2, 10.1.1.1"}, "X-Forwarded-Host": {"shop.example"}, "X-Forwarded-Proto": {"https"},
			"Forwarded": {`for=192.0.2.7;host="shop.example", for=10.1.1.1;host="shop.example";proto=https`}, "X-Real-Ip": {"192.0.2.7"}, "Via": {"1.1 front, 1.1 pace"}}},
		"an IPv6 address is quoted in Forwarded": {"[2001:db8::1]:1", http.Header{
			"X-Forwarded-For": {"2001:db8::1"}, "Forwarded": {`for="[2001:db8::1]";host="here.example:81";proto=http`}}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHandler(t, func(o *setup) { o.Trusted = prefixes("10.0.0.0/8") })
			r := httptest.NewRequest("GET", "/", nil)
			r.Host, r.Header = "here.example:81", claims.Clone()
			got := parsed(t, h.outgoing(tt.peer, r))
			for field, want := range tt.want {
				if !slices.Equal(got[field], want) {
					t.Errorf("%s: got %q, want %q", field, got[field], want)
				}
			}
		})
	}
}

// What the first proxy has to say, a trusted one that says nothing of it gets from us.
func TestForwarding_OfATrustedProxyThatSaysNothing(t *testing.T) {
	t.Parallel()
	h := newHandler(t, func(o *setup) { o.Trusted = prefixes("10.0.0.0/8") })
	got := parsed(t, h.outgoing("10.1.1.1:1", httptest.NewRequest("GET", "http://here.example/", nil)))
	for field, want := range map[string]string{"X-Forwarded-For": "10.1.1.1", "X-Forwarded-Host": "here.example", "X-Forwarded-Proto": "http", "Forwarded": `for=10.1.1.1;host="here.example";proto=http`} {
		if !slices.Equal(got[field], []string{want}) {
			t.Errorf("%s: got %q, want %q", field, got[field], want)
		}
	}
}

// A trailer comes when everybody has looked at the header. Nothing that stays behind there goes on
// here, nor what must be known before the body is read (RFC 9110 §6.5.1), and none of it is announced.
func TestTrailerOfARequest(t *testing.T) {
	t.Parallel()
	const trailer = "X-Foo: 1\r\nX-Late: 2\r\nX-Forwarded-For: 6.6.6.6\r\nX_forwarded_for: 6.6.6.6\r\nX-Real-Ip: 6.6.6.6\r\nX-Proxy: evil\r\nVia: evil\r\n" +
		"X-Request-Id: evil\r\nConnection: foo\r\nTe: x\r\nHost: evil\r\nExpect: 100-continue\r\nUpgrade: x\r\nTraceparent: evil\r\n" +
		"Keep-Alive: 1\r\nProxy-Authorization: x\r\nAuthorization: Basic x\r\nCookie: a=b\r\nContent-Type: x\r\nContent-Encoding: x\r\n" +
		"Content-Range: x\r\nRange: x\r\nIf-Match: x\r\nCache-Control: x\r\nMax-Forwards: 0\r\nX-Hop: 1\r\n"
	for name, change := range map[string]func(*setup){
		"from a stranger":      nil,
		"from a trusted proxy": func(o *setup) { o.Trusted = prefixes("127.0.0.0/8") },
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, change, rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
				for {
					q, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					announced := message.Announcement(q.Trailer)
					io.Copy(io.Discard, q.Body)
					io.WriteString(c, ok(fmt.Sprint(announced, " ", q.Trailer)))
				}
			}))
			for announcement, want := range map[string]string{
				"Trailer: X-Foo, X-Forwarded-For, Host, Cookie\r\n": "X-Foo map[X-Foo:[1] X-Late:[2]]",
				"": " map[X-Foo:[1] X-Late:[2]]",
			} {
				_, got := p.ask(t, "POST / HTTP/1.1\r\nHost: x\r\nConnection: X-Hop\r\n"+announcement+"Transfer-Encoding: chunked\r\n\r\n"+
					"5\r\nhello\r\n0\r\n"+trailer+"\r\n")
				if got != want {
					t.Errorf("announced by %q: got %s, want %s", announcement, got, want)
				}
			}
		})
	}
}

// replaced are the fields of proxies that pace writes itself.
var replaced = []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded"}

// FuzzOutgoing holds that no request adds a line, takes one over that is pace's or the exchange's,
// or forges a forwarding field.
func FuzzOutgoing(f *testing.F) {
	f.Add("Connection: X-A, x-forwarded-for\r\nX-A: 1\r\nX-Forwarded-For: 6.6.6.6\r\nX-B: b\r\n", `ho"st\`, false)
	f.Add("Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nTracestate: a=b,c=\x80\r\nX-Request-Id: a b\r\n", "h", true)
	f.Add("Te: trailers\r\nUpgrade: h2c\r\nX-Proxy: forged\r\nExpect: 100-continue\r\nVia: 1.1 a\r\nVia: 1.1 b\r\n", "[::1]:80", true)
	f.Add("X_Forwarded_For: 6.6.6.6\r\nX.Proxy: forged\r\nTrace_parent: x\r\n", "h", false)
	f.Add("True-Client-Ip: 6.6.6.6\r\nX-Forwarded-Port: 1\r\nX_Forwarded_Prefix: /x\r\nX-Original-Url: /admin\r\nProxy: evil\r\n", "h", true)
	f.Add("Forwarded: for=\"\r\nX-Real-Ip: x\r\nKeep-Alive: 1\r\nContent-Length: 0\r\n", "é", true)
	h := newHandler(f, func(o *setup) { o.Trusted = prefixes("10.0.0.0/8") })
	f.Fuzz(func(t *testing.T, fields, host string, trusted bool) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET / HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n")))
		if err != nil || strings.ContainsFunc(host, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
			return
		}
		for _, values := range r.Header {
			for _, v := range values { // the server refuses such a request
				if strings.ContainsFunc(v, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
					return
				}
			}
		}
		r.Host, r.Header["Host"] = host, []string{host} // as from HTTP/2
		peer := map[bool]string{true: "10.1.1.1", false: "192.0.2.1"}[trusted]
		lines := h.outgoing(peer+":1", r)
		for line := range strings.SplitSeq(strings.TrimSuffix(lines, "\r\n"), "\r\n") {
			name, _, ok := strings.Cut(line, ": ")
			if !ok || strings.ContainsAny(line, "\r\n\x00") || name != http.CanonicalHeaderKey(name) && name != "traceparent" && name != "tracestate" {
				t.Fatalf("line %q in %q", line, lines)
			}
		}
		got := parsed(t, lines)
		for _, name := range []string{"Host", "Connection", "Te", "Upgrade", "Expect", "Content-Length", "Transfer-Encoding", "Trailer", "Keep-Alive", "Proxy-Connection"} {
			if got[name] != nil {
				t.Fatalf("%s is the exchange's own: %q", name, lines)
			}
		}
		for name := range got {
			if read := message.AsRead(name); read != name && (!h.plan.Load().filter.Passes(read, nil, true) || message.IsProxyField(read)) {
				t.Fatalf("%s may be read as another: %q", name, lines)
			}
			if name == "Proxy" || !trusted && message.IsProxyField(name) && !slices.Contains(replaced, name) {
				t.Fatalf("%s is not to go on: %q", name, lines)
			}
		}
		for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "Via", "X-Request-Id", "X-Proxy", "Traceparent"} {
			if name == "X-Forwarded-Host" && got[name] == nil && host == "" {
				continue
			}
			if len(got[name]) != 1 {
				t.Fatalf("%s stands there %d times: %q", name, len(got[name]), lines)
			}
		}
		if last := got.Get("X-Forwarded-For"); !strings.HasSuffix(last, peer) || !trusted && last != peer {
			t.Fatalf("X-Forwarded-For is %q", last)
		}
		if got.Get("X-Proxy") != "pace" || !trusted && (got["X-Real-Ip"] != nil || host != "" && !strings.HasPrefix(got.Get("Forwarded"), "for="+peer+`;host="`)) {
			t.Fatalf("forged: %q", lines)
		}
	})
}

// A large header is no reason to hold its buffer for ever, an ordinary one is no reason to make a new one.
func TestFields_KeepTheirBuffer(t *testing.T) {
	t.Parallel()
	for size, want := range map[int]bool{100: true, largestKept: true, largestKept + 1: false} {
		if got := kept(make([]byte, 0, size)) != nil; got != want {
			t.Errorf("%d bytes: kept %v, want %v", size, got, want)
		}
	}
}
