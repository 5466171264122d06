package vet

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"pace/config"
)

// What a file of authorities, or a pair, is replaced by while a configuration is validated and put in force belongs to
// the next configuration: no part of this one is of another content than the rest.
func TestFiles_AreReadOnceForAConfiguration(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"first", "second"} {
		writePair(t, dir, name, 0o600)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	replace := func(by string) {
		for _, ext := range []string{".crt", ".key"} {
			text, err := os.ReadFile(file(by + ext))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file("used"+ext), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	text := "[listener.a]\nlisten = \"127.0.0.1:1\"\ntls = true\nclient_auth = \"require\"\nclient_ca = \"" + file("used.crt") + "\"\n" +
		"[acme]\ndomains = [\"a.example\"]\nstorage = \"" + file("acme") + "\"\naccept_terms = true\nca = \"" + file("used.crt") + "\"\n" +
		"[upstreams]\nbackends = [\"https://127.0.0.1:2\"]\ntls.ca = \"" + file("used.crt") + "\"\ntls.cert = \"" + file("used.crt") + "\"\ntls.key = \"" + file("used.key") + "\"\n"
	type read struct {
		clients, authority *x509.CertPool
		backends           string
	}
	all := func(f *config.File) (r read) {
		var bad *config.Fault
		if r.clients, bad = ClientCAs(f, f.InLongForm().Listeners[0]); bad != nil {
			t.Fatal(bad)
		}
		files, faults := BackendFiles(f, f.InLongForm().Upstreams[0])
		if len(faults) > 0 {
			t.Fatal(faults[0])
		}
		r.backends = files.Digest
		if r.authority, bad = ACMECAs(f); bad != nil {
			t.Fatal(bad)
		}
		return r
	}
	load := func() *config.File {
		f, err := config.Parse("proxy.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	replace("first")
	f := load()
	before := all(f)
	replace("second")
	if now := all(f); !now.clients.Equal(before.clients) || !now.authority.Equal(before.authority) || now.backends != before.backends {
		t.Error("a file is read again")
	}
	if now := all(load()); now.clients.Equal(before.clients) || now.authority.Equal(before.authority) || now.backends == before.backends {
		t.Error("the next configuration has the content of the one before")
	}
}
