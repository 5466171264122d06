// Package acme gets certificates from a certificate authority by ACME (RFC 8555) and renews them in time.
//
//	keep, one goroutine for each name ─▶ certmagic: stored? due? ─▶ issuer ─▶ the CA
//	      │ waits until the next look                                  │ solver
//	      ▼                                                            ▼
//	Options.Changed: in force                           challenges ◀── Response, Challenge of the listeners
//
// certmagic knows what is stored and when it is due (by the CA's renewal information, RFC 9773). When pace asks
// again after a failure is decided here, because the CA may say it (Retry-After), and so is who answers challenges:
// the listeners of pace, and no others.
//
// It must not know listeners, the configuration, or any other package of pace. Only the names that it is given
// are asked for, never one that a client names.
package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// Options configure a Manager. The fields without a default must be set.
type Options struct {
	Domains   []string       // lower case, without wildcards
	Email     string         // where the CA writes to; "": nowhere
	Directory string         // URL
	Storage   string         // folder; it is made if it does not exist
	CA        *x509.CertPool // to trust the directory's server; nil: the system's
	Clear     bool           // a listener in clear text answers HTTP-01
	Version   string         // of pace, for the CA

	Log     *slog.Logger
	Mask    func(string) string               // hides secrets in what is logged, but not names of certificates
	Failed  func()                            // is called for each attempt that failed
	Changed func()                            // is called when another certificate is in force
	Spread  func(time.Duration) time.Duration // makes a wait vary; nil: by a tenth, at random

	transport http.RoundTripper // to the CA; nil: HTTPS
}

// Manager keeps the certificates of its names. It is safe for concurrent use.
type Manager struct {
	Options
	challenges challenges
	cache      *certmagic.Cache
	config     *certmagic.Config
	logger     *zap.Logger
	lookEvery  atomic.Int64 // a time.Duration: how often each name is looked at

	ctx   context.Context
	end   context.CancelFunc
	ended sync.WaitGroup

	mu    sync.Mutex // guards what follows
	names map[string]*name
}

// name is what is known of a name. Manager.mu guards it.
type name struct {
	inForce *tls.Certificate // nil: none yet
	taken   bool             // inForce is from the manager before, and of another CA or storage
	retryAt time.Time        // the CA is not asked before
}

// Open returns a Manager with what is stored. It asks nobody: Start does. before, which may be nil, is the
// manager that it replaces: what the CA has said about when to ask again holds on.
func Open(o Options, before *Manager) (*Manager, error) {
	if err := os.MkdirAll(o.Storage, 0o700); err != nil {
		return nil, reasonOf(err)
	}
	if o.Spread == nil {
		o.Spread = vary
	}
	o.Log = slog.New(masking{o.Log.Handler(), o.Mask})
	m := &Manager{Options: o, names: map[string]*name{}}
	m.ctx, m.end = context.WithCancel(context.Background())
	m.logger = newLogger(o.Log)
	m.cache = certmagic.NewCache(m.cacheOptions(never))
	m.adjust()
	storage := newStorage(o.Storage)
	m.config = certmagic.New(m.cache, certmagic.Config{
		Issuers: []certmagic.Issuer{newIssuer(&m.Options, storage, &m.challenges)},
		Storage: storage, Logger: m.logger, OCSP: certmagic.OCSPConfig{DisableStapling: true},
	})
	for _, domain := range o.Domains {
		n := &name{retryAt: before.retryAt(domain, o.Directory)}
		m.names[domain] = n
		if m.load(domain); n.inForce == nil && before != nil {
			n.inForce, n.taken = before.InForce(domain), true // until there is another one
		}
	}
	return m, nil
}

// cacheOptions are those of certmagic's cache, if the names are looked at so often. Its own maintenance gets no
// configuration, so it does nothing: keep looks after each name.
func (m *Manager) cacheOptions(every time.Duration) certmagic.CacheOptions {
	return certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return nil, errKept },
		RenewCheckInterval: every, OCSPCheckInterval: never, Logger: m.logger,
	}
}

var errKept = errors.New("its name is looked after elsewhere")

// reasonOf returns an error of a file without the file's name.
func reasonOf(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// retryAt returns when the CA of this directory may be asked again for a name; the zero time: now.
func (m *Manager) retryAt(domain, directory string) time.Time {
	if m == nil || m.Directory != directory {
		return time.Time{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.names[domain]; n != nil {
		return n.retryAt
	}
	return time.Time{}
}

// load puts the stored certificate of a name in force. One that cannot be used, as after a crash between the
// writing of its two files, is removed, so that another one is asked for.
func (m *Manager) load(domain string) {
	_, err := m.config.CacheManagedCertificate(m.ctx, domain)
	_, unreadable := errors.AsType[*fs.PathError](err)
	switch {
	case err == nil:
		m.adopt(domain)
	case errors.Is(err, fs.ErrNotExist):
	case unreadable: // it may be whole all the same
		m.log(slog.LevelWarn, "a stored certificate cannot be read: pace asks for another one", domain, errorAttr(err))
	default:
		m.log(slog.LevelWarn, "a stored certificate cannot be used: pace asks for another one", domain, errorAttr(err))
		site := certmagic.StorageKeys.CertsSitePrefix(m.config.Issuers[0].IssuerKey(), domain)
		if err := m.config.Storage.Delete(m.ctx, site); err != nil {
			m.log(slog.LevelWarn, "a stored certificate cannot be removed", domain, errorAttr(err))
		}
	}
}

// adopt puts in force what certmagic has loaded last for a name, and reports whether that is another certificate.
func (m *Manager) adopt(domain string) bool {
	var newest certmagic.Certificate
	for _, c := range m.cache.AllMatchingCertificates(domain) {
		if newest.Empty() || c.Leaf.NotAfter.After(newest.Leaf.NotAfter) {
			newest = c
		}
	}
	if newest.Empty() {
		return false
	}
	m.mu.Lock()
	n := m.names[domain]
	changed := n.inForce == nil || !n.inForce.Leaf.Equal(newest.Leaf)
	if changed {
		n.inForce, n.taken = &newest.Certificate, false
	}
	m.mu.Unlock()
	m.adjust()
	return changed
}

// InForce returns the certificate of a name; nil: there is none yet.
func (m *Manager) InForce(domain string) *tls.Certificate {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.names[domain]; n != nil {
		return n.inForce
	}
	return nil
}

// ownInForce is [Manager.InForce] if the CA has issued it.
func (m *Manager) ownInForce(domain string) *tls.Certificate {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.names[domain]; !n.taken {
		return n.inForce
	}
	return nil
}

// Response returns what the CA wants to read at the address of an HTTP-01 challenge; "": the token is none of ours.
func (m *Manager) Response(token string) string { return m.challenges.response(token) }

// Challenge returns the certificate that answers a TLS-ALPN-01 challenge (RFC 8737); nil: there is none for this name.
func (m *Manager) Challenge(serverName string) *tls.Certificate {
	return m.challenges.certificate(serverName)
}

// Start begins to keep the names, until Close.
func (m *Manager) Start() {
	for _, domain := range m.Domains {
		m.ended.Go(func() { m.keep(domain) })
	}
}

// Close ends what the manager does, and returns when it has ended.
func (m *Manager) Close() {
	m.end()
	m.ended.Wait()
	if t, ok := m.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
	m.cache.Stop()
}

func (m *Manager) log(level slog.Level, msg, domain string, attrs ...slog.Attr) {
	m.Log.LogAttrs(context.Background(), level, msg, append([]slog.Attr{slog.String("certificate", domain)}, attrs...)...)
}
