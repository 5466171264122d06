package contract

import (
	"crypto/tls"
	"net/http"
	"testing"

	"pace/e2e/pacetest"
)

// Handshakes are counted by the version of TLS, and requests by the version of HTTP: as many as the clients count.
// A handshake that fails is none, and a session that is resumed is one more.
func TestVersions_AreCounted(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	ca := pacetest.NewCA(t)
	p := pacetest.Start(t, overTLS(upstreams(b), ca.Issue("pace.test")))
	for _, version := range []string{"1.2", "1.3"} {
		p.WantMetric(0, "pace_tls_handshakes_total", "tls_protocol_version", version)
	}
	for _, version := range []string{"1.0", "1.1", "2"} {
		p.WantMetric(0, "pace_protocol_requests_total", "network_protocol_version", version)
	}
	sessions := tls.NewLRUClientSessionCache(1)
	shake := func(version uint16, name string) (resumed bool) {
		t.Helper()
		config := ca.Config(name)
		config.MinVersion, config.MaxVersion, config.ClientSessionCache = version, version, sessions
		c, err := tls.Dial("tcp", p.Proxy, config)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write([]byte("GET /old HTTP/1.0\r\n\r\n"))
		c.Read(make([]byte, 1)) // with it come the tickets
		return c.ConnectionState().DidResume
	}
	shake(tls.VersionTLS12, "pace.test")
	shake(tls.VersionTLS13, "pace.test")
	if !shake(tls.VersionTLS13, "pace.test") {
		t.Error("the third handshake resumed no session")
	}
	if _, err := tls.Dial("tcp", p.Proxy, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("a client with TLS 1.1 was served")
	}
	for mode, times := range map[pacetest.Mode]int{pacetest.H1: 4, pacetest.H2C: 5} {
		client := ca.Client(mode, "pace.test")
		for range times { // over one connection
			req, err := http.NewRequest("GET", "https://"+p.Proxy+"/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			wantStatus(t, pacetest.Do(client, req), 200)
		}
	}
	p.WantMetric(1, "pace_tls_handshakes_total", "tls_protocol_version", "1.2")
	p.WantMetric(4, "pace_tls_handshakes_total", "tls_protocol_version", "1.3")
	p.WantMetric(1, "pace_tls_handshake_failures_total", "reason", "version")
	p.WantMetric(3, "pace_protocol_requests_total", "network_protocol_version", "1.0")
	p.WantMetric(4, "pace_protocol_requests_total", "network_protocol_version", "1.1")
	p.WantMetric(5, "pace_protocol_requests_total", "network_protocol_version", "2")
}
