package http2

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"pace/proxy/transport"
	"pace/proxy/transport/dial"
)

// secureBackend serves h over TLS, with these protocols. It returns where it is, and what trusts it.
func secureBackend(t *testing.T, h http.HandlerFunc, protocols ...string) (dial.Address, *tls.Config) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{NextProtos: protocols}
	s.EnableHTTP2 = len(protocols) > 0 && protocols[0] == "h2"
	s.StartTLS()
	t.Cleanup(s.Close)
	trust := s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	how := &dial.TLS{Roots: trust}
	return dial.Address{Network: "tcp", Addr: s.Listener.Addr().String()}, how.Config("example.com", "h2", "http/1.1")
}

func TestDo_OverTLS(t *testing.T) {
	a, how := secureBackend(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto, " ", r.TLS.NegotiatedProtocol) }, "h2")
	p := pool(t, a, Options{TLS: how})
	phases := []transport.Phase{}
	req := get("/")
	req.OnPhase = func(p transport.Phase) { phases = append(phases, p) }
	if h, body := fetch(t, p, req); h.Status != 200 || body != "HTTP/2.0 h2" || h.Reused {
		t.Errorf("%+v, %q", h, body)
	}
	if got := fmt.Sprint(phases[:3]); got != "[connect tls send]" {
		t.Errorf("phases %v", phases)
	}
	if h, _ := fetch(t, p, get("/")); !h.Reused {
		t.Errorf("%+v", h)
	}
}

func TestDo_SendsNothingIfHTTP2IsNotAgreedOn(t *testing.T) {
	served := false
	a, how := secureBackend(t, func(http.ResponseWriter, *http.Request) { served = true }, "http/1.1")
	e := failure(t, pool(t, a, Options{TLS: how}), get("/"))
	if e.Kind != transport.TLSFailed || e.BytesSent != 0 || e.Words() != errNotAgreed.Error() || e.Remote.Port() == 0 || served {
		t.Errorf("got %+v (%s)", e, e.Words())
	}
	var adopted []net.Conn
	p := pool(t, a, Options{TLS: how, HTTP1: func(c net.Conn) { adopted = append(adopted, c) }})
	if e := failure(t, p, get("/")); !errors.Is(e, ErrHTTP1) || len(adopted) != 1 || served {
		t.Errorf("got %+v, %d connections", e, len(adopted))
	}
	adopted[0].Close()
	eventually(t, "no connection is counted", func() bool { return p.Open() == 0 })
}
