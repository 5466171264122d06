package vet

import (
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"strings"

	"pace/config"
	"pace/proxy/front/certificate"
)

// Certificates reads the certificates of f, and returns what is wrong with them. before may be nil; see
// [certificate.Load].
func Certificates(f *config.File, before *certificate.Set) (*certificate.Set, []*config.Fault) {
	files := make([]certificate.Files, len(f.Certificates))
	for i, c := range f.Certificates {
		files[i] = certificate.Files{Name: c.Name, Cert: c.Cert, Key: c.KeyFile}
	}
	set, bad := certificate.Load(files, before)
	var faults []*config.Fault
	for _, b := range bad {
		leaf := ".cert"
		if b.Key {
			leaf = ".key"
		}
		faults = append(faults, f.Fault(f.Certificates[b.Index].Key+leaf, b.What, b.Remedy))
	}
	return set, faults
}

// certificateFaults returns the faults of the certificates, unless one of their keys has another fault already.
func certificateFaults(f *config.File, known []*config.Fault) []*config.Fault {
	if slices.ContainsFunc(known, func(k *config.Fault) bool {
		return strings.HasPrefix(k.Key, "certificate") || strings.HasPrefix(k.Key, "acme.")
	}) {
		return nil
	}
	_, faults := Certificates(f, nil)
	if _, bad := ACMECAs(f); bad != nil {
		faults = append(faults, bad)
	}
	for _, bad := range []*config.Fault{acmeStorage(f), acmeWithoutTLS(f, known)} {
		if bad != nil {
			faults = append(faults, bad)
		}
	}
	for _, l := range f.NamedListeners {
		if _, bad := ClientCAs(f, l); bad != nil {
			faults = append(faults, bad)
		}
	}
	return faults
}

// ClientCAs reads who may have signed the certificates of a listener's clients; nil: they show none.
func ClientCAs(f *config.File, l config.Listener) (*x509.CertPool, *config.Fault) {
	if l.ClientCA == "" {
		return nil, nil
	}
	pool, _, err := poolOf(f, l.Key+".client_ca", l.ClientCA)
	if err != nil {
		return nil, f.Fault(l.Key+".client_ca", err.Error(), poolRemedy)
	}
	return pool, nil
}

// poolOf reads the certificates of authorities, and the digest of their file, once for f.
func poolOf(f *config.File, key, file string) (*x509.CertPool, [sha256.Size]byte, error) {
	type read struct {
		pool   *x509.CertPool
		digest [sha256.Size]byte
		err    error
	}
	r := f.Once(key, func() any {
		pool, digest, err := certificate.Pool(file)
		return read{pool, digest, err}
	}).(read)
	return r.pool, r.digest, r.err
}

const poolRemedy = "name a file with certificates in PEM that pace may read"

// LooseKeys warns of the keys and secrets that every user of the machine may read.
func LooseKeys(f *config.File) (warnings []*config.Fault) {
	for _, s := range f.ReferencedFiles() {
		if mode := certificate.LooseKey(s.Path); mode != "" {
			warnings = append(warnings, f.Fault(s.Key, "warning: every user of this machine can read "+s.Path+" ("+mode+"), and what stands there is taken for a secret",
				"take the right away: chmod o-rwx "+s.Path))
		}
	}
	warn := func(key, file string) {
		if mode := certificate.LooseKey(file); mode != "" {
			warnings = append(warnings, f.Fault(key, "warning: every user of this machine can read the key ("+mode+")", "take the right away: chmod o-rwx "+file))
		}
	}
	for _, c := range f.Certificates {
		warn(c.Key+".key", c.KeyFile)
	}
	for _, u := range f.InLongForm().Upstreams {
		if u.TLS.Key != "" {
			warn(u.Key+".tls.key", u.TLS.Key)
		}
	}
	return warnings
}
