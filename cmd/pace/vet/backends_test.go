package vet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pace/config"
)

// writePair writes a certificate and its key as NAME.crt and NAME.key.
func writePair(t *testing.T, dir, name string, mode os.FileMode) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for ext, b := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: cert}, ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		file := filepath.Join(dir, name+ext)
		if err := os.WriteFile(file, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
		if ext == ".key" {
			if err := os.Chmod(file, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// What is wrong with the files of a tls table is a fault of its key; what is only unwise is a warning.
func TestBackendTLS_Files(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir, "a", 0o600)
	writePair(t, dir, "b", 0o644)
	if err := os.WriteFile(filepath.Join(dir, "empty.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const secure = "[upstreams]\nbackends = [\"https://10.0.0.1\"]\n[upstreams.tls]\n"
	for _, tt := range []struct {
		name string
		text string
		want []string
	}{
		{"all is well", secure + `ca = "DIR/a.crt"` + "\n" + `cert = "DIR/a.crt"` + "\n" + `key = "DIR/a.key"`, nil},
		{"the CA's file is not there", secure + `ca = "DIR/none.pem"`,
			[]string{`4: upstreams.tls.ca: DIR/none.pem cannot be read: no such file or directory; name a file with certificates in PEM that pace may read`}},
		{"the CA's file has no certificate", secure + `ca = "DIR/empty.pem"`,
			[]string{`4: upstreams.tls.ca: DIR/empty.pem has no certificate in PEM; name a file with certificates in PEM that pace may read`}},
		{"the key is another one's", secure + `cert = "DIR/a.crt"` + "\n" + `key = "DIR/b.key"`,
			[]string{`5: upstreams.tls.key: the key is not that of the certificate; name the key with which the certificate was requested`}},
		{"there is no key", secure + `cert = "DIR/a.crt"`,
			[]string{`4: upstreams.tls.cert: there is no key to it; write key, the file of its key`}},
		{"there is no certificate", secure + `key = "DIR/a.key"`,
			[]string{`4: upstreams.tls.key: there is no certificate to it; write cert, the file of its certificate`}},
		{"both files are wrong", secure + `ca = "DIR/none.pem"` + "\n" + `cert = "DIR/empty.pem"` + "\n" + `key = "DIR/a.key"`,
			[]string{`4: upstreams.tls.ca: DIR/none.pem cannot be read: no such file or directory; name a file with certificates in PEM that pace may read`,
				`5: upstreams.tls.cert: there is no certificate in PEM in the file; write the certificate and its chain into it, each from BEGIN CERTIFICATE to END CERTIFICATE`}},
		{"everyone can read the key", secure + `cert = "DIR/b.crt"` + "\n" + `key = "DIR/b.key"`,
			[]string{`5: upstreams.tls.key: warning: every user of this machine can read the key (-rw-r--r--); take the right away: chmod o-rwx DIR/b.key`}},
		{"certificates are not verified", secure + `verify = false`,
			[]string{`4: upstreams.tls.verify: warning: anybody on the way to the backends can pass for them, and read and change what is sent; remove it, and name in ca the file of who signs their certificates`}},
		{"they are not, and there is a CA", secure + `verify = false` + "\n" + `ca = "DIR/a.crt"`,
			[]string{`4: upstreams.tls.verify: warning: anybody on the way to the backends can pass for them, and read and change what is sent; remove it, and name in ca the file of who signs their certificates`,
				`5: upstreams.tls.ca: warning: has no effect, because verify is false; remove one of the two`}},
		{"no backend uses it", strings.Replace(secure, "https", "http", 1) + `server_name = "a.test"`,
			[]string{`3: upstreams.tls: warning: has no effect, because no backend of the upstream is https:// or h2://; write https:// for the backends that speak TLS, or remove it`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(dir, "proxy.toml")
			if err := os.WriteFile(file, []byte(strings.ReplaceAll(tt.text, "DIR", dir)), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := Load(file)
			faults := config.Faults(err)
			if err == nil {
				faults = slices.Concat(f.Warnings(), LooseKeys(f))
			}
			var got []string
			for _, one := range faults {
				got = append(got, strings.ReplaceAll(strings.TrimPrefix(one.Error(), file+":"), dir, "DIR"))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}
