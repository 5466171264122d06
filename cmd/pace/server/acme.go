package server

import (
	"crypto/tls"
	"crypto/x509"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"pace/cmd/pace/vet"
	"pace/config"
	"pace/proxy/front/certificate"
	"pace/proxy/front/certificate/acme"
)

// issuing is what gets certificates by ACME. A reload that changes how replaces the manager; what is stored, and so
// what clients get, stays.
type issuing struct {
	manager atomic.Pointer[acme.Manager] // nil: there is none
	options acmeOptions                  // of the manager

	using sync.Mutex // held while certificates are put in force, so that the newest are last
}

// acmeOptions are what a manager is made from.
type acmeOptions struct {
	config.ACME
	trusted *x509.CertPool // nil: whom the system trusts
	clear   bool           // a listener in clear text may be asked
}

func (o acmeOptions) equal(other acmeOptions) bool {
	same := o.trusted == other.trusted || o.trusted != nil && other.trusted != nil && o.trusted.Equal(other.trusted)
	return same && o.clear == other.clear && reflect.DeepEqual(o.ACME, other.ACME)
}

// prepareACME reads what is stored of the certificates that f asks for. change puts it in force, and begins to get
// what is missing; cancel forgets it.
func (p *parts) prepareACME(f *config.File) (change, cancel func(), err error) {
	nothing := func() {}
	last := p.acme.manager.Load()
	if f.ACME == nil {
		return func() { p.changeACME(nil, acmeOptions{}) }, nothing, nil
	}
	o := acmeOptions{ACME: *f.ACME, clear: slices.ContainsFunc(f.InLongForm().Listeners, func(l config.Listener) bool { return !l.TLS })}
	var bad *config.Fault
	if o.trusted, bad = vet.ACMECAs(f); bad != nil {
		return nil, nil, config.Join(nil, bad)
	}
	if last != nil && o.equal(p.acme.options) {
		return nothing, nothing, nil
	}
	next, err := acme.Open(acme.Options{
		Domains: o.Domains, Email: o.Email, Directory: o.Directory, Storage: o.Storage, CA: o.trusted, Clear: o.clear,
		Version: Version, Log: p.log.Logger, Mask: f.Masked, Failed: p.telemetry.ACMEFailed, Changed: p.useIssued,
	}, last)
	if err != nil {
		return nil, nil, config.Join(nil, f.Fault("acme.storage", o.Storage+" cannot be made: "+err.Error(), "name a folder that pace may write"))
	}
	return func() { p.changeACME(next, o) }, next.Close, nil
}

// changeACME makes next, which may be nil, the one that gets certificates.
func (p *parts) changeACME(next *acme.Manager, o acmeOptions) {
	last := p.acme.manager.Swap(next)
	p.acme.options = o
	if last != nil {
		last.Close()
	}
	p.useIssued()
	if next != nil {
		next.Start()
	}
}

// otherACMECAs reports whether the file of acme.ca is the same, and has another content.
func (p *parts) otherACMECAs(f *config.File) bool {
	pool, bad := vet.ACMECAs(f)
	now := p.acme.options
	return f.ACME != nil && bad == nil && now.CA == f.ACME.CA && now.trusted != nil && !now.trusted.Equal(pool)
}

// useIssued puts the certificates in force that have been issued.
func (p *parts) useIssued() {
	p.acme.using.Lock()
	defer p.acme.using.Unlock()
	var list []certificate.Issued
	if m := p.acme.manager.Load(); m != nil {
		for _, domain := range m.Domains {
			if c := m.InForce(domain); c != nil {
				list = append(list, certificate.Issued{Name: domain, Certificate: c})
			}
		}
	}
	p.certificates.UseIssued(list)
}

// lackingCertificate says why no client can be served over TLS: none of the certificates has been issued yet.
func (p *parts) lackingCertificate() string {
	m := p.acme.manager.Load()
	if m == nil || !p.certificates.Empty() {
		return ""
	}
	return "no certificate yet: " + m.Mask(m.Directory) + " has issued none for " + listed(m.Domains)
}

func (i *issuing) response(token string) string {
	if m := i.manager.Load(); m != nil {
		return m.Response(token)
	}
	return ""
}

func (i *issuing) challenge(serverName string) *tls.Certificate {
	if m := i.manager.Load(); m != nil {
		return m.Challenge(serverName)
	}
	return nil
}

// close ends what is under way.
func (i *issuing) close() {
	if m := i.manager.Load(); m != nil {
		m.Close()
	}
}
