package certificate

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync/atomic"
)

// Files names the files of a certificate, both in PEM.
type Files struct {
	Name string // what people call it; "": the first name in it
	Cert string // with the chain, its own certificate first
	Key  string
}

// Set is some certificates, read from their files.
type Set struct {
	pairs []*pair
	named atomic.Pointer[names]
}

// pair is a certificate and its key.
type pair struct {
	Files
	inForce  atomic.Pointer[tls.Certificate]
	failures atomic.Int64

	// Reread's goroutine owns these.
	digest   [sha256.Size]byte // of the files in force
	refused  [sha256.Size]byte // of the files that cannot be used, zero if they cannot be read; if
	reported bool              // the log has reported that
}

// Fault says why files cannot be used.
type Fault struct {
	Index  int  // of the Files
	Key    bool // it is the key's file; else the certificate's
	What   string
	Remedy string
}

// Load reads all certificates, and says what is wrong with each that cannot be used. before, which may be nil, is
// the set that it replaces: counts of what stays go on.
func Load(all []Files, before *Set) (*Set, []Fault) {
	set := &Set{}
	var faults []Fault
	for i, f := range all {
		cert, digest, bad := read(f)
		if bad != nil {
			bad.Index = i
			faults = append(faults, *bad)
			continue
		}
		p := &pair{Files: f, digest: digest}
		p.Name = cmp.Or(f.Name, nameOf(cert))
		p.inForce.Store(cert)
		if old := before.pair(p.Name); old != nil {
			p.failures.Store(old.failures.Load())
		}
		set.pairs = append(set.pairs, p)
	}
	set.index()
	return set, faults
}

// pair returns the one of this name, or nil.
func (s *Set) pair(name string) *pair {
	if s == nil {
		return nil
	}
	for _, p := range s.pairs {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// Replaced returns the names of the certificates whose files have another content than before. before may be nil.
func (s *Set) Replaced(before *Set) (list []string) {
	if before == nil {
		return nil
	}
	for _, p := range s.pairs {
		i := slices.IndexFunc(before.pairs, func(o *pair) bool { return o.Cert == p.Cert && o.Key == p.Key })
		if i < 0 {
			continue
		}
		if old := before.pairs[i]; !slices.EqualFunc(old.inForce.Load().Certificate, p.inForce.Load().Certificate, bytes.Equal) {
			list = append(list, p.Name)
		}
	}
	return list
}

// Names returns what people call the certificates, in order.
func (s *Set) Names() []string {
	list := make([]string, len(s.pairs))
	for i, p := range s.pairs {
		list[i] = p.Name
	}
	return list
}

// index finds out which certificates have which names.
func (s *Set) index() {
	n := names{}
	for _, p := range s.pairs {
		c := p.inForce.Load()
		for _, name := range namesIn(c) {
			n[name] = append(n[name], c)
		}
	}
	s.named.Store(&n)
}

// namesIn returns the names of a certificate in lower case. A client never asks for an address by name.
func namesIn(c *tls.Certificate) (list []string) {
	for _, name := range c.Leaf.DNSNames {
		list = append(list, strings.ToLower(name))
	}
	return list
}

// nameOf returns what a certificate is called if the configuration does not say.
func nameOf(c *tls.Certificate) string {
	switch l := c.Leaf; {
	case len(l.DNSNames) > 0:
		return l.DNSNames[0]
	case len(l.IPAddresses) > 0:
		return l.IPAddresses[0].String()
	default:
		return cmp.Or(l.Subject.CommonName, l.SerialNumber.String())
	}
}

// maxBytes is the largest file that is read.
const maxBytes = 1 << 20

// read reads the files of a certificate.
func read(f Files) (*tls.Certificate, [sha256.Size]byte, *Fault) {
	var none [sha256.Size]byte
	cert, err := readFile(f.Cert)
	if err != nil {
		return nil, none, &Fault{What: err.Error(), Remedy: "name a file with the certificate and its chain in PEM that pace may read"}
	}
	key, err := readFile(f.Key)
	if err != nil {
		return nil, none, &Fault{Key: true, What: err.Error(), Remedy: "name a file with the certificate's key in PEM that pace may read"}
	}
	digest := sha256.Sum256(bytes.Join([][]byte{cert, key}, []byte{0}))
	c, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, digest, faultOf(cert, err)
	}
	return &c, digest, nil
}

// Pair reads a certificate and its key, once. The Fault is nil if they can be used.
func Pair(f Files) (*tls.Certificate, [sha256.Size]byte, *Fault) { return read(f) }

// faultOf says why two files that could be read are no certificate. The text of err has nothing of the key.
func faultOf(cert []byte, err error) *Fault {
	if block, _ := pem.Decode(cert); block == nil {
		return &Fault{What: "there is no certificate in PEM in the file", Remedy: "write the certificate and its chain into it, each from BEGIN CERTIFICATE to END CERTIFICATE"}
	}
	what := strings.TrimPrefix(err.Error(), "tls: ")
	if what == "private key does not match public key" {
		return &Fault{Key: true, What: "the key is not that of the certificate", Remedy: "name the key with which the certificate was requested"}
	}
	return &Fault{Key: strings.Contains(what, "key"), What: what, Remedy: "name the two files of one certificate, both in PEM, the key without a passphrase"}
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", name, reasonOf(err))
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s cannot be read: %w", name, reasonOf(err))
	case len(b) > maxBytes:
		return nil, fmt.Errorf("%s is larger than 1 MiB", name)
	}
	return b, nil
}

// reasonOf returns an error of a file without the file's name.
func reasonOf(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// Pool reads the certificates of those who sign others. It also returns the digest of the file.
func Pool(name string) (*x509.CertPool, [sha256.Size]byte, error) {
	text, err := readFile(name)
	if err != nil {
		return nil, [sha256.Size]byte{}, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, [sha256.Size]byte{}, fmt.Errorf("%s has no certificate in PEM", name)
	}
	return pool, sha256.Sum256(text), nil
}
