package vet

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strings"

	"pace/config"
	"pace/proxy/front/certificate"
)

// backendFaults refuses tables of TLS whose files cannot be used.
func backendFaults(f *config.File, known []*config.Fault) (faults []*config.Fault) {
	faulted := func(prefix string) bool {
		return slices.ContainsFunc(known, func(k *config.Fault) bool { return strings.HasPrefix(k.Key, prefix) })
	}
	for _, u := range f.InLongForm().Upstreams {
		if !faulted(u.Key + ".tls") {
			_, bad := BackendFiles(f, u)
			faults = append(faults, bad...)
		}
	}
	return faults
}

// TLSFiles is what the files say that the tls table of an upstream names.
type TLSFiles struct {
	Roots        *x509.CertPool // nil: those of the system
	Certificates []tls.Certificate
	Digest       string // of all of them
}

// BackendFiles reads the files that the tls table of an upstream names.
func BackendFiles(f *config.File, u config.Upstream) (read TLSFiles, faults []*config.Fault) {
	table := u.Key + ".tls."
	if u.TLS.CA != "" {
		pool, digest, err := poolOf(f, table+"ca", u.TLS.CA)
		if err != nil {
			faults = append(faults, f.Fault(table+"ca", err.Error(), poolRemedy))
		}
		read.Roots, read.Digest = pool, string(digest[:])
	}
	switch {
	case u.TLS.Cert == "" && u.TLS.Key == "":
	case u.TLS.Key == "":
		faults = append(faults, f.Fault(table+"cert", "there is no key to it", "write key, the file of its key"))
	case u.TLS.Cert == "":
		faults = append(faults, f.Fault(table+"key", "there is no certificate to it", "write cert, the file of its certificate"))
	default:
		pair, digest, bad := pairOf(f, table, certificate.Files{Cert: u.TLS.Cert, Key: u.TLS.Key})
		if bad != nil {
			leaf := "cert"
			if bad.Key {
				leaf = "key"
			}
			return read, append(faults, f.Fault(table+leaf, bad.What, bad.Remedy))
		}
		read.Certificates = []tls.Certificate{*pair}
		read.Digest += string(digest[:])
	}
	return read, faults
}

// pairOf reads a certificate and its key, once for f.
func pairOf(f *config.File, key string, files certificate.Files) (*tls.Certificate, [sha256.Size]byte, *certificate.Fault) {
	type read struct {
		pair   *tls.Certificate
		digest [sha256.Size]byte
		bad    *certificate.Fault
	}
	r := f.Once(key, func() any {
		pair, digest, bad := certificate.Pair(files)
		return read{pair, digest, bad}
	}).(read)
	return r.pair, r.digest, r.bad
}
