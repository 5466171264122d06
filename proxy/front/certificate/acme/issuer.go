package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// attempt is one look at a name. It hangs from the context of what certmagic does.
type attempt struct {
	replaces *tls.Certificate // that a new one replaces (RFC 9773 §5); nil: none
	retryAt  time.Time        // the CA has said not to be asked before; zero: it has not
}

type attemptKey struct{}

// attemptOf returns the attempt that a context belongs to.
func attemptOf(ctx context.Context) *attempt {
	if a, ok := ctx.Value(attemptKey{}).(*attempt); ok {
		return a
	}
	return &attempt{}
}

// issuer asks the CA. It takes the place of certmagic's own, which opens listeners to answer challenges, and
// does not report when the CA wants to be asked again.
type issuer struct {
	*Options
	key     string // of the CA in the storage
	storage certmagic.Storage
	client  *acmez.Client
	orders  chan struct{} // has room for those that may run at once

	mu      sync.Mutex    // guards account, and is held while it is registered
	account *acme.Account // nil: not read yet
}

// maxOrders is how many certificates are asked for at once.
const maxOrders = 4

func newIssuer(o *Options, storage certmagic.Storage, c *challenges) *issuer {
	if o.transport == nil {
		secure := http.DefaultTransport.(*http.Transport).Clone()
		secure.TLSClientConfig = &tls.Config{RootCAs: o.CA, MinVersion: tls.VersionTLS12}
		secure.ResponseHeaderTimeout = 30 * time.Second
		o.transport = secure
	}
	solvers := map[string]acmez.Solver{acme.ChallengeTypeTLSALPN01: solver{c, o.Log}}
	if o.Clear {
		solvers[acme.ChallengeTypeHTTP01] = solver{c, o.Log}
	}
	return &issuer{
		Options: o, storage: storage, orders: make(chan struct{}, maxOrders),
		key: (&certmagic.ACMEIssuer{CA: o.Directory}).IssuerKey(), // as certmagic names the folders of a storage
		client: &acmez.Client{
			Client: &acme.Client{
				Directory: o.Directory, UserAgent: "pace/" + o.Version,
				HTTPClient: &http.Client{Transport: listening{o.transport}, Timeout: time.Minute},
			},
			ChallengeSolvers: solvers,
		},
	}
}

// IssuerKey implements certmagic.Issuer.
func (i *issuer) IssuerKey() string { return i.key }

// Issue implements certmagic.Issuer.
func (i *issuer) Issue(ctx context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	select {
	case i.orders <- struct{}{}:
		defer func() { <-i.orders }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	chains, account, err := i.order(ctx, csr)
	if problem, ok := errors.AsType[acme.Problem](err); ok && problem.Type == acme.ProblemTypeAccountDoesNotExist {
		if err = i.forgetAccount(ctx, account); err == nil {
			chains, _, err = i.order(ctx, csr)
		}
	}
	switch {
	case err != nil:
		return nil, err
	case len(chains) == 0:
		return nil, errors.New("the CA has issued no certificate")
	}
	return &certmagic.IssuedCertificate{Certificate: chains[0].ChainPEM, Metadata: chains[0]}, nil
}

// order asks for a certificate. location is that of the account by which it does.
func (i *issuer) order(ctx context.Context, csr *x509.CertificateRequest) (chains []acme.Certificate, location string, err error) {
	account, err := i.registered(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("the account: %w", err)
	}
	params, err := acmez.OrderParametersFromCSR(account, csr)
	if err != nil {
		return nil, account.Location, err
	}
	if old := attemptOf(ctx).replaces; old != nil {
		params.Replaces = old.Leaf
	}
	chains, err = i.client.ObtainCertificate(ctx, params)
	return chains, account.Location, err
}

// GetRenewalInfo implements certmagic.RenewalInfoGetter.
func (i *issuer) GetRenewalInfo(ctx context.Context, c certmagic.Certificate) (acme.RenewalInfo, error) {
	return i.client.GetRenewalInfo(ctx, c.Leaf)
}

// listening carries requests to the CA, and notes when it wants to be asked again. It reads responses up to a limit.
type listening struct{ next http.RoundTripper }

// maxResponse is the largest response of a CA that is read, in bytes.
const maxResponse = 1 << 20

// RoundTrip implements http.RoundTripper.
func (l listening) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable {
		attemptOf(req.Context()).retryAt = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxResponse), resp.Body}
	return resp, nil
}

// maxRetryAfter is the longest time for which a CA is believed to want not to be asked.
const maxRetryAfter = 7 * 24 * time.Hour

// retryAfter returns the time that the value of a Retry-After field means (RFC 9110 §10.2.3); zero: it means none.
func retryAfter(value string, now time.Time) time.Time {
	at, err := http.ParseTime(value)
	if seconds, notWhole := strconv.ParseUint(value, 10, 31); notWhole == nil {
		at, err = now.Add(time.Duration(seconds)*time.Second), nil
	}
	if err != nil {
		return time.Time{}
	}
	if latest := now.Add(maxRetryAfter); at.After(latest) {
		return latest
	}
	return at
}
