package contract

import (
	"fmt"
	"strings"
	"testing"

	"pace/e2e/pacetest"
	"pace/e2e/parts"
)

// browserPage is a page whose script leaves what it has seen in window.seen, also when it fails. It has no icon that the
// browser would ask for.
func browserPage(script string) string {
	return `<!doctype html><title>h3</title><link rel="icon" href="data:,"><script type="module">
const spoken = name => performance.getEntriesByName(new URL(name, location), "resource").map(e => e.nextHopProtocol)
try { ` + script + ` } catch (e) { window.seen = {Failed: String(e)} }
</script>`
}

func wantPage(t *testing.T, failed string, console []string) {
	t.Helper()
	if failed != "" || len(console) > 0 {
		t.Errorf("the page failed with %q, and its console says %q", failed, console)
	}
}

// A browser that speaks nothing but HTTP/3 loads a page, sends a large body and gets it back byte for byte, and
// leaves a download in the middle. Line and metric have what browser and backend saw.
func TestH3_Browser(t *testing.T) {
	t.Parallel()
	const size, half = 300 << 10, 100 << 10
	// What the page sends: each byte follows from the one before.
	body := make([]byte, size)
	for i := 1; i < size; i++ {
		body[i] = body[i-1]*5 + byte(i>>8) + 1
	}
	page := browserPage(fmt.Sprintf(`
const size = %d, half = %d, body = new Uint8Array(size)
for (let i = 1; i < size; i++) body[i] = body[i-1] * 5 + (i >> 8) + 1
const echo = await fetch("/echo", {method: "POST", body})
const back = new Uint8Array(await echo.arrayBuffer())
const leave = new AbortController()
const download = (await fetch("/download", {signal: leave.signal})).body.getReader()
let got = 0
while (got < half) got += (await download.read()).value.length
leave.abort()
const ended = await download.read().catch(e => e.name)
window.seen = {
	Page: performance.getEntriesByType("navigation")[0].nextHopProtocol, Echo: spoken("/echo").join(),
	Same: back.length === size && back.every((b, i) => b === body[i]), Got: got, Ended: ended,
}`, size, half))
	b := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{
		"/": pacetest.With(200, "Content-Type: text/html\r\n", page),
		"/echo": func(x *pacetest.Exchange) {
			x.ReadBody()
			x.Write("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(x.Body), x.Body)
		},
		"/download": func(x *pacetest.Exchange) {
			x.Write("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", 2*half, strings.Repeat("x", half))
			x.AwaitClose()
		},
	}))
	certificate := pacetest.NewCA(t).Issue("127.0.0.1")
	p := pacetest.Start(t, overH3(upstreams(b), certificate))
	shown := parts.Browse[struct {
		Page, Echo, Ended, Failed string
		Same                      bool
		Got                       int
	}](t, "https://"+p.Proxy+"/", 800, "window.seen", parts.HTTP3(t, certificate.Cert, p.Proxy)...)
	seen := shown.Value
	wantPage(t, seen.Failed, shown.Console)
	if seen.Page != "h3" || seen.Echo != "h3" {
		t.Errorf("the page came over %q, the echo over %q", seen.Page, seen.Echo)
	}
	if !seen.Same || seen.Got != half || seen.Ended != "AbortError" {
		t.Errorf("the echo is the same: %t; of the download %d bytes came, and then %q", seen.Same, seen.Got, seen.Ended)
	}
	if got := string(b.WantGot(1, "/echo")[0].Body); got != string(body) {
		t.Errorf("the backend got another body, of %d bytes", len(got))
	}
	for path, want := range map[string]struct {
		outcome string
		in, out int
	}{
		"/": {"ok", 0, len(page)}, "/echo": {"ok", size, size}, "/download": {"client_aborted", 0, half},
	} {
		b.WantGot(1, path)
		line := p.WantAccess(path)
		if line.Text("outcome") != want.outcome || line.Int("bytes_in") != want.in || line.Int("bytes_out") != want.out || line.Int("status") != 200 {
			t.Errorf("the line says %v, want %v", line, want)
		}
	}
	p.WantMetric(3, "pace_protocol_requests_total", "network_protocol_version", "3")
	p.WantMetric(3, "pace_protocol_requests_total")
	p.WantMetric(2, "pace_requests_total", "pace_outcome", "ok", "pace_side", "none")
	p.WantMetric(1, "pace_requests_total", "pace_outcome", "client_aborted", "pace_side", "client")
	p.WantMetric(1, "pace_client_left_total")
	p.WantMetric(0, "pace_refused_total")
}

// A browser that begins over TCP goes on over HTTP/3 by itself, because pace's responses say where that is. Metric
// and browser count the same for each protocol.
func TestH3_BrowserFindsIt(t *testing.T) {
	t.Parallel()
	page := browserPage(`
const used = {}
const count = protocol => used[protocol] = (used[protocol] ?? 0) + 1
count(performance.getEntriesByType("navigation")[0].nextHopProtocol)
for (let i = 0; i < 500 && !used.h3; i++) {
	await (await fetch("/more/" + i)).text()
	await new Promise(done => setTimeout(done, 20))
	count(spoken("/more/" + i).join())
}
window.seen = {Used: used}`)
	b := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{
		"/": pacetest.With(200, "Content-Type: text/html\r\n", page), "/more": pacetest.Fine,
	}))
	certificate := pacetest.NewCA(t).Issue("127.0.0.1")
	p := pacetest.Start(t, overH3(upstreams(b), certificate))
	// Port 1 is nobody's: HTTP/3 is forced there only so that the certificate is taken at the port of pace.
	shown := parts.Browse[struct {
		Used   map[string]float64
		Failed string
	}](t, "https://"+p.Proxy+"/", 800, "window.seen", parts.HTTP3(t, certificate.Cert, "127.0.0.1:1")...)
	used := shown.Value.Used
	wantPage(t, shown.Value.Failed, shown.Console)
	if used["h2"] == 0 || used["h3"] != 1 || len(used) != 2 {
		t.Errorf("the browser used %v, want HTTP/2 first and then HTTP/3", used)
	}
	for protocol, n := range used {
		p.WantMetric(n, "pace_protocol_requests_total", "network_protocol_version", strings.TrimPrefix(protocol, "h"))
	}
}
