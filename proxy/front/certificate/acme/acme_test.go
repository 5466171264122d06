package acme

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
)

// A CA that cannot be reached is asked again soon, one that has refused is not, and neither is left alone for longer
// than an hour.
func TestBackoff(t *testing.T) {
	refused := fmt.Errorf("ordering: %w", acme.Problem{Type: acme.ProblemTypeRejectedIdentifier})
	unreachable := errors.New("connection refused")
	for _, tt := range []struct {
		err      error
		failures int
		said     bool
		want     time.Duration
	}{
		{unreachable, 0, false, 2 * time.Second},
		{unreachable, 3, false, 16 * time.Second},
		{unreachable, 1000, false, time.Hour},
		{refused, 0, false, time.Minute},
		{refused, 2, false, 4 * time.Minute},
		{refused, 1000, false, time.Hour},
		{refused, 0, true, 2 * time.Second}, // the CA has said when, which comes on top
		{refused, 1000, true, time.Hour},
	} {
		if got := backoff(tt.err, tt.failures, tt.said); got != tt.want {
			t.Errorf("%v after %d failures, said %v: got %v, want %v", tt.err, tt.failures, tt.said, got, tt.want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Time{
		"":                              {},
		"soon":                          {},
		"-1":                            {},
		"1.5":                           {},
		"0":                             now,
		"90":                            now.Add(90 * time.Second),
		"Thu, 26 Nov 2026 11:00:00 GMT": now.Add(time.Hour),
		"99999999999999999999":          {},
		"2000000000":                    now.Add(maxRetryAfter),
		"Thu, 26 Nov 2099 11:00:00 GMT": now.Add(maxRetryAfter),
	} {
		if got := retryAfter(value, now); !got.Equal(want) {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	}
}

// What answers a challenge is there from the moment when the CA may ask until the order is over, and for its token
// and name alone.
func TestChallenges_AreThoseOfOrders(t *testing.T) {
	c := &challenges{}
	s := solver{c, slog.New(slog.DiscardHandler)}
	http01 := acme.Challenge{Type: acme.ChallengeTypeHTTP01, Token: "token", KeyAuthorization: "token.key", Identifier: acme.Identifier{Type: "dns", Value: "a.example"}}
	alpn := acme.Challenge{Type: acme.ChallengeTypeTLSALPN01, Token: "other", KeyAuthorization: "other.key", Identifier: acme.Identifier{Type: "dns", Value: "a.example"}}
	for _, one := range []acme.Challenge{http01, alpn} {
		if err := s.Present(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.response("token"); got != "token.key" {
		t.Errorf("got %q", got)
	}
	if got := c.response("other") + c.response(""); got != "" {
		t.Errorf("another token: got %q", got)
	}
	if c.certificate("A.example") == nil || c.certificate("b.example") != nil {
		t.Error("the certificate is not that of the name")
	}
	for _, one := range []acme.Challenge{http01, alpn} {
		s.CleanUp(t.Context(), one)
	}
	if c.response("token") != "" || c.certificate("a.example") != nil {
		t.Error("something is left of the order")
	}
}

// A lock is held by one at a time, in this process and among processes, and leaves no file behind.
func TestStorage_Locks(t *testing.T) {
	folder := t.TempDir()
	s, other := newStorage(folder), newStorage(folder) // as two processes have them
	if err := s.Lock(t.Context(), "issue a.example"); err != nil {
		t.Fatal(err)
	}
	for _, one := range []*storage{s, other} {
		if got, err := one.TryLock(t.Context(), "issue a.example"); got || err != nil {
			t.Errorf("a held lock: got %v, %v", got, err)
		}
	}
	if got, err := other.TryLock(t.Context(), "issue b.example"); !got || err != nil {
		t.Errorf("another lock: got %v, %v", got, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*lockEvery)
	defer cancel()
	if err := other.Lock(ctx, "issue a.example"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for a held lock: got %v", err)
	}
	s.Unlock(t.Context(), "issue a.example")
	if got, err := other.TryLock(t.Context(), "issue a.example"); !got || err != nil {
		t.Errorf("after the other one has let go: got %v, %v", got, err)
	}
	other.Unlock(t.Context(), "issue a.example")
	other.Unlock(t.Context(), "issue b.example")
	if left, _ := os.ReadDir(filepath.Join(folder, "locks")); len(left) > 0 {
		t.Errorf("%d files are left", len(left))
	}
}

func TestLoose(t *testing.T) {
	folder := t.TempDir()
	write := func(name string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(folder, name), nil, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(folder, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	write("tight.key", 0o600)
	if got, _ := Loose(folder, 3); len(got) > 0 {
		t.Errorf("got %q of a tight storage", got)
	}
	for i := range 5 {
		write(fmt.Sprintf("loose%d.key", i), 0o640)
	}
	if got, modes := Loose(folder, 3); len(got) != 3 || modes[0] != 0o640 {
		t.Errorf("got %q, %v, want three of the loose ones", got, modes)
	}
	if got, _ := Loose(filepath.Join(folder, "none"), 3); len(got) > 0 {
		t.Errorf("got %q of a storage that does not exist", got)
	}
}

// What certmagic says is in the log at level debug alone, cut, with what it knows of it.
func TestLogger(t *testing.T) {
	var text bytes.Buffer
	level := &slog.LevelVar{}
	logger := newLogger(slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: level})))
	logger.Error("quiet")
	if text.Len() > 0 {
		t.Errorf("at level info: %s", &text)
	}
	level.Set(slog.LevelDebug)
	logger.With(zap.String("identifier", "a.example")).Error("could not", zap.Error(errors.New(strings.Repeat("x", 5000))), zap.Int("n", 3))
	got := text.String()
	for _, want := range []string{"level=DEBUG", "msg=certmagic", `says="could not"`, "identifier=a.example", "n=3"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
	if len(got) > 2000 {
		t.Errorf("the line has %d bytes", len(got))
	}
}

// transport is a CA, as its client sees it.
type transport func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// house is a manager of a.example, its log, and how often it has failed.
type house struct {
	*Manager
	text   *bytes.Buffer
	failed *int
}

func open(t *testing.T, storage, directory string, ca transport, before *Manager) house {
	t.Helper()
	h := house{nil, &bytes.Buffer{}, new(int)}
	m, err := Open(Options{
		Domains: []string{"a.example"}, Directory: directory, Storage: storage, transport: ca,
		Log:    slog.New(slog.NewTextHandler(h.text, nil)),
		Mask:   strings.NewReplacer("hunter2", "***").Replace,
		Failed: func() { *h.failed++ }, Changed: func() {},
		Spread: func(d time.Duration) time.Duration { return d },
	}, before)
	if err != nil {
		t.Fatal(err)
	}
	h.Manager = m
	return h
}

// A CA that cannot be reached is tried again after longer and longer waits; each failure is counted and said, and
// Close ends it.
func TestKeep_TriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, t.TempDir(), "https://down.example/dir", func(*http.Request) (*http.Response, error) { return nil, errors.New("no route to host") }, nil)
		h.Start()
		time.Sleep(19 * time.Second) // it fails at 0.5, 3, 7.5 and 16 s, because the client tries three times each
		h.Close()
		if *h.failed != 4 {
			t.Errorf("%d failures, want 4:\n%s", *h.failed, h.text)
		}
		if got := strings.Count(h.text.String(), `msg="certificate not issued: handshakes for its name fail" certificate=a.example error=`); got != 4 {
			t.Errorf("%d lines, want 4:\n%s", got, h.text)
		}
		if strings.Count(h.text.String(), "again_in=16s") != 1 {
			t.Errorf("the last line does not say when pace tries again:\n%s", h.text)
		}
	})
}

// The URL of the CA may have a secret, and errors have that URL.
func TestKeep_ShowsNoSecretOfTheDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, t.TempDir(), "https://down.example/dir?key=hunter2", func(*http.Request) (*http.Response, error) { return nil, errors.New("no route to host") }, nil)
		h.Start()
		time.Sleep(2 * time.Second)
		h.Close()
		if text := h.text.String(); strings.Contains(text, "hunter2") || strings.Count(text, "key=***") < 2 {
			t.Errorf("the log has the secret, or no URL at all:\n%s", text)
		}
	})
}

// A CA that says when it may be asked again is not asked before, and a manager that takes the place of the first one
// keeps to that. One of another CA does not.
func TestKeep_AsksNotBeforeTheCASays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, storage := map[string]int{}, t.TempDir()
		var mu sync.Mutex // guards asked
		ca := func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			asked[r.URL.Host]++
			return &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"3600"}}, Body: http.NoBody}, nil
		}
		want := func(host string, n int) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if asked[host] != n {
				t.Errorf("%s was asked %d times, want %d", host, asked[host], n)
			}
		}
		first := open(t, storage, "https://limited.example/dir", ca, nil)
		first.Start()
		time.Sleep(30 * time.Minute)
		want("limited.example", 1)
		first.Close()
		second := open(t, storage, "https://limited.example/dir", ca, first.Manager)
		second.Start()
		time.Sleep(29 * time.Minute)
		want("limited.example", 1)
		time.Sleep(2 * time.Minute)
		want("limited.example", 2)
		second.Close()
		third := open(t, storage, "https://other.example/dir", ca, second.Manager)
		third.Start()
		want("other.example", 1)
		third.Close()
	})
}

// A pair that does not match, as after a crash between the writing of its two files, does not stop pace from asking
// for another one.
func TestOpen_RemovesWhatCannotBeUsed(t *testing.T) {
	storage := t.TempDir()
	site := filepath.Join(storage, "certificates", "torn.example-dir", "a.example")
	if err := os.MkdirAll(site, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.example.crt", "a.example.key", "a.example.json"} {
		if err := os.WriteFile(filepath.Join(site, name), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := open(t, storage, "https://torn.example/dir", nil, nil)
	defer h.Close()
	if h.InForce("a.example") != nil || !strings.Contains(h.text.String(), "a stored certificate cannot be used: pace asks for another one") {
		t.Errorf("got %v:\n%s", h.InForce("a.example"), h.text)
	}
	if _, err := os.Stat(site); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the pair is still there: %v", err)
	}
}

// What is stored is in force without a word to the CA. A manager of another CA takes it over until it has its own, and
// does not tell that CA that it replaces it.
func TestOpen_ServesWhatIsStored(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"a.example"}, NotBefore: time.Now(), NotAfter: time.Now().Add(90 * 24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	storage := t.TempDir()
	site := filepath.Join(storage, "certificates", "stored.example-dir", "a.example")
	if err := os.MkdirAll(site, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"a.example.crt":  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"a.example.key":  pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}),
		"a.example.json": []byte(`{"sans": ["a.example"]}`),
	} {
		if err := os.WriteFile(filepath.Join(site, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ca := func(r *http.Request) (*http.Response, error) {
		t.Errorf("%s was asked", r.URL.Host)
		return nil, errors.New("asked")
	}
	first := open(t, storage, "https://stored.example/dir", ca, nil)
	defer first.Close()
	if got := first.InForce("a.example"); got == nil || !bytes.Equal(got.Certificate[0], der) || first.ownInForce("a.example") == nil {
		t.Fatalf("got %v, want what is stored:\n%s", got, first.text)
	}
	second := open(t, storage, "https://other.example/dir", ca, first.Manager)
	defer second.Close()
	if got := second.InForce("a.example"); got != first.InForce("a.example") || second.ownInForce("a.example") != nil {
		t.Errorf("got %v of the CA's own %v, want what was in force before", got, second.ownInForce("a.example"))
	}
}
