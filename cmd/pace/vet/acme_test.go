package vet

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pace/config"
)

// What only the parts know to be wrong with [acme], each with what to do.
func TestLoad_ACME(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	empty := write("ca.pem", "", 0o600)
	const secure = "[listener.https]\nlisten = \"127.0.0.1:8443\"\ntls = true\n"
	for _, tt := range []struct{ name, listener, more, storage, want string }{
		{"it is as it should be", secure, "", filepath.Join(dir, "new"), ""},
		{"nobody gets its certificates", "", "", filepath.Join(dir, "new"), "acme: no listener has TLS"},
		{"a CA without a certificate", secure, fmt.Sprintf("ca = %q\n", empty), filepath.Join(dir, "new"), "acme.ca: " + empty + " has no certificate in PEM"},
		{"a CA that is not there", secure, "ca = \"/none.pem\"\n", filepath.Join(dir, "new"), "acme.ca: /none.pem cannot be read"},
		{"a storage that is a file", secure, "", empty, "acme.storage: " + empty + " is no folder"},
		{"a storage below a file", secure, "", filepath.Join(empty, "x"), "acme.storage: " + filepath.Join(empty, "x") + " cannot be used: not a directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := write("proxy.toml", tt.listener+fmt.Sprintf("[acme]\ndomains = [\"a.example\"]\naccept_terms = true\nstorage = %q\n", tt.storage)+tt.more+
				"[upstreams]\nbackends = [\"http://10.0.0.1:8000\"]\n", 0o600)
			_, err := Load(file)
			faults := config.Faults(err)
			switch {
			case tt.want == "" && err == nil:
			case len(faults) != 1 || !strings.Contains(faults[0].Error(), tt.want) || faults[0].Remedy == "" || faults[0].Line == 0:
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
