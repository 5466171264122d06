package contract

import (
	"crypto/tls"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"pace/e2e/pacetest"
)

// A backend learns with which certificate a client has authenticated itself, over every protocol, and never from the
// client itself; the span has its subject. Who shows no certificate, or one that somebody else has signed, does not
// get through where one is required, and it is counted.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	pacetest.RunTLS(t, func(t *testing.T, mode pacetest.Mode) {
		b := pacetest.NewBackend(t, pacetest.Fine)
		ca, clients, others := pacetest.NewCA(t), pacetest.NewCA(t), pacetest.NewCA(t)
		c := overTLS(upstreams(b), ca.Issue("pace.test"))
		for name, how := range map[string]string{"listener.a": "require", "listener.b": "request"} {
			c[name] = pacetest.Table{"listen": "127.0.0.1:0", "tls": true, "client_auth": how, "client_ca": clients.File(), "http3": mode == pacetest.H3}
		}
		p, spans := pacetest.StartTraced(t, c)
		show := func(address string, certificate *pacetest.Certificate) pacetest.Response {
			config := ca.Config("pace.test")
			if certificate != nil {
				pair, err := tls.LoadX509KeyPair(certificate.Cert, certificate.Key)
				if err != nil {
					t.Fatal(err)
				}
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
			}
			req, err := http.NewRequest("GET", "https://"+address+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Client-Cert", ":AAAA:")
			req.Header.Set("Client-Cert-Chain", ":AAAA:")
			req.Header.Set("Client_cert", ":AAAA:")
			return pacetest.Do(pacetest.ClientOver(t, mode, config), req)
		}
		alice, unknown := clients.Issue("alice.test"), others.Issue("alice.test")
		pair, err := tls.LoadX509KeyPair(alice.Cert, alice.Key)
		if err != nil {
			t.Fatal(err)
		}
		want := ":" + base64.StdEncoding.EncodeToString(pair.Certificate[0]) + ":"
		for i, address := range p.Listeners {
			got := show(address, &alice)
			wantStatus(t, got, 200)
			if asked := b.Requests()[i].Header["Client-Cert"]; len(asked) != 1 || asked[0] != want {
				t.Errorf("the backend is told %q, want %q", asked, want)
			}
			server := pacetest.WantTrace(spans, 1, pacetest.ID(got.Header.Get("X-Trace-Id"))).Server
			wantAttr(t, server.Attrs, "tls.client.subject", "CN=alice.test")
		}
		for _, certificate := range []*pacetest.Certificate{nil, &unknown} {
			if got := show(p.Listeners[0], certificate); got.Err == nil {
				t.Errorf("got %d without a certificate that is signed", got.Status)
			}
		}
		if got := show(p.Listeners[1], &unknown); got.Err == nil {
			t.Errorf("got %d with a certificate of somebody else", got.Status)
		}
		wantStatus(t, show(p.Listeners[1], nil), 200)
		asked := b.Requests()
		if head := asked[len(asked)-1].Head; strings.Contains(strings.ToLower(head), "client-cert") || strings.Contains(strings.ToLower(head), "client_cert") {
			t.Errorf("the backend is told what the client says of itself:\n%s", head)
		}
		p.WantMetric(3, "pace_tls_handshake_failures_total", "reason", "client_certificate")
	})
}

// A client_ca without a client_auth that asks for certificates has no effect: check says so, and pace starts.
func TestClientCertificates_ThatNobodyAsksForAreAWarning(t *testing.T) {
	t.Parallel()
	ca := pacetest.NewCA(t)
	c := overTLS(upstreams(pacetest.NewBackend(t, pacetest.Fine)), ca.Issue("pace.test"))
	c["listener.a"] = pacetest.Table{"listen": "127.0.0.1:0", "tls": true, "client_ca": ca.File()}
	p := pacetest.Start(t, c)
	exit := pacetest.Exec(t, t.TempDir(), nil, "check", p.File)
	if exit.Code != 0 || !strings.Contains(exit.Stderr, "listener.a.client_ca: warning: has no effect, because clients show no certificate; ") {
		t.Errorf("check exits with %d: %s", exit.Code, exit.Stderr)
	}
}
