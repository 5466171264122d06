package acme

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// forgetful is a CA that knows no account but those that it registers, and issues nothing. Orders of an account that it
// does not know wait until there are as many as it expects.
type forgetful struct {
	expects sync.WaitGroup

	mu         sync.Mutex
	registered int // guarded by mu
}

// RoundTrip implements http.RoundTripper.
func (f *forgetful) RoundTrip(r *http.Request) (*http.Response, error) {
	respond := func(status int, kind, body string, more ...string) (*http.Response, error) {
		h := http.Header{"Content-Type": {kind}, "Replay-Nonce": {"abc"}}
		for i := 0; i < len(more); i += 2 {
			h.Set(more[i], more[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
	switch r.URL.Path {
	case "/dir":
		return respond(200, "application/json", `{"newNonce":"https://ca.example/nonce","newAccount":"https://ca.example/account","newOrder":"https://ca.example/order"}`)
	case "/nonce":
		return respond(200, "text/plain", "")
	case "/account":
		f.mu.Lock()
		defer f.mu.Unlock()
		f.registered++
		return respond(201, "application/json", `{"status":"valid"}`, "Location", fmt.Sprintf("https://ca.example/account/new%d", f.registered))
	}
	var jws struct{ Protected string }
	var protected struct{ Kid string }
	err := json.NewDecoder(r.Body).Decode(&jws)
	text, _ := base64.RawURLEncoding.DecodeString(jws.Protected)
	if json.Unmarshal(text, &protected); err != nil || !strings.Contains(protected.Kid, "/new") {
		f.expects.Done()
		f.expects.Wait()
		return respond(400, "application/problem+json", `{"type":"urn:ietf:params:acme:error:accountDoesNotExist"}`)
	}
	return respond(403, "application/problem+json", `{"type":"urn:ietf:params:acme:error:rejectedIdentifier"}`)
}

// Orders that find out together that the CA does not know their account any more register one.
func TestIssue_RegistersAForgottenAccountOnce(t *testing.T) {
	ca := &forgetful{}
	h := open(t, t.TempDir(), "https://ca.example/dir", ca.RoundTrip, nil)
	t.Cleanup(h.Close)
	i := h.config.Issuers[0].(*issuer)
	account, err := i.registered(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	account.Location = "https://ca.example/account/old"
	i.account = &account
	text, err := json.Marshal(account)
	if err != nil {
		t.Fatal(err)
	}
	file, _ := i.accountFiles()
	if err := i.storage.Store(t.Context(), file, text); err != nil {
		t.Fatal(err)
	}
	ca.registered = 0
	ca.expects.Add(3)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"a.example"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if _, err := i.Issue(t.Context(), csr); err == nil || !strings.Contains(err.Error(), "rejectedIdentifier") {
				t.Errorf("the order ended as %v", err)
			}
		})
	}
	all.Wait()
	if ca.registered != 1 {
		t.Errorf("%d accounts are registered, want 1", ca.registered)
	}
}
