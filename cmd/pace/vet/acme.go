package vet

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"pace/config"
	"pace/proxy/front/certificate/acme"
)

// ACMECAs reads who may have signed the certificate of the directory's server; nil: whom the system trusts.
func ACMECAs(f *config.File) (*x509.CertPool, *config.Fault) {
	if f.ACME == nil || f.ACME.CA == "" {
		return nil, nil
	}
	pool, _, err := poolOf(f, "acme.ca", f.ACME.CA)
	if err != nil {
		return nil, f.Fault("acme.ca", err.Error(), "name a file with certificates in PEM that pace may read")
	}
	return pool, nil
}

// acmeStorage returns what is wrong with the storage of certificates, if it exists.
func acmeStorage(f *config.File) *config.Fault {
	if f.ACME == nil {
		return nil
	}
	i, err := os.Stat(f.ACME.Storage)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return f.Fault("acme.storage", fmt.Sprintf("%s cannot be used: %v", f.ACME.Storage, errors.Unwrap(err)), "name a folder that pace may write")
	case !i.IsDir():
		return f.Fault("acme.storage", f.ACME.Storage+" is no folder", "name a folder that pace may write")
	}
	return nil
}

// acmeWithoutTLS refuses certificates that no client can get.
func acmeWithoutTLS(f *config.File, known []*config.Fault) *config.Fault {
	misread := func(l config.Listener) bool { return faultAt(known, l.Key+".tls") >= 0 }
	if f.ACME == nil || f.FirstWithTLS() != nil || slices.ContainsFunc(f.NamedListeners, misread) {
		return nil
	}
	return f.Fault("acme", "no listener has TLS, so no client can get the certificates", "write a listener with tls = true, such as [listener.https], or remove [acme]")
}

// maxLoose is how many loose files of a storage are named.
const maxLoose = 3

// LooseStorage warns of what others than pace may read or write in the storage of certificates.
func LooseStorage(f *config.File) (warnings []*config.Fault) {
	if f.ACME == nil {
		return nil
	}
	paths, modes := acme.Loose(f.ACME.Storage, maxLoose)
	for i, path := range paths {
		warnings = append(warnings, f.Fault("acme.storage", fmt.Sprintf("warning: others than pace may use %s (%s), and there are keys in the storage", path, modes[i]),
			"take the right away: chmod -R go= "+f.ACME.Storage))
	}
	return warnings
}
