package acme

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// forgetful is a CA that knows no account but those that it registers, and issues nothing. Orders of an account that it
// does not know wait until there are as many as it expects.
type forgetful struct {
	expects sync.WaitGroup
	takes   time.Duration // to register an account

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
		time.Sleep(f.takes)
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
	i.outdate(t)
	ca.wantOneRegistration(t, i, i, i)
}

// wantOneRegistration has orders made together, by these issuers, to whose CA their account is unknown.
func (ca *forgetful) wantOneRegistration(t *testing.T, issuers ...*issuer) {
	t.Helper()
	csr := csrOf(t, "a.example")
	ca.registered = 0
	ca.expects.Add(len(issuers))
	var all sync.WaitGroup
	for _, i := range issuers {
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

// The same holds for two managers, because two processes may share a storage, and during a reload one process has two.
func TestIssue_RegistersAForgottenAccountOnceForTwoManagers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, storage := &forgetful{takes: time.Second}, t.TempDir()
		var issuers [2]*issuer
		for n := range issuers {
			h := open(t, storage, "https://ca.example/dir", ca.RoundTrip, nil)
			defer h.Close()
			issuers[n] = h.config.Issuers[0].(*issuer)
		}
		issuers[0].outdate(t)
		ca.wantOneRegistration(t, issuers[:]...)
	})
}

// Two managers that find no account at the same moment register one, and both use it.
func TestRegistered_IsOneAccountForTwoManagers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, storage := &forgetful{takes: time.Second}, t.TempDir()
		var all sync.WaitGroup
		var locations [2]string
		for n := range locations {
			h := open(t, storage, "https://ca.example/dir", ca.RoundTrip, nil)
			defer h.Close()
			all.Go(func() {
				account, err := h.config.Issuers[0].(*issuer).registered(t.Context())
				if locations[n] = account.Location; err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if ca.registered != 1 || locations[0] != locations[1] {
			t.Errorf("%d accounts are registered, and the managers use %q; want one", ca.registered, locations)
		}
	})
}

// An account is not removed while another manager registers it: it would remove the new one.
func TestForgetAccount_WaitsForOtherManagers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, storage := &forgetful{}, t.TempDir()
		one, other := open(t, storage, "https://ca.example/dir", ca.RoundTrip, nil), open(t, storage, "https://ca.example/dir", ca.RoundTrip, nil)
		defer one.Close()
		defer other.Close()
		i := one.config.Issuers[0].(*issuer)
		account, err := i.registered(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		unlock, err := i.lockAccount(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := other.config.Issuers[0].(*issuer).forgetAccount(ctx, account.Location); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want to wait for the end of the context", err)
		}
	})
}

// outdate registers an account, and stores it as one that the CA does not know any more.
func (i *issuer) outdate(t *testing.T) {
	t.Helper()
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
}

// csrOf returns a request for a certificate of a name.
func csrOf(t *testing.T, name string) *x509.CertificateRequest {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}
