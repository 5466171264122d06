package certificate

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A client gets the certificate that has the name it asks for, whose key it can use.
func TestFind(t *testing.T) {
	dir := t.TempDir()
	s := storeOf(t,
		write(t, dir, "first", elliptic.P256(), "first.example"),
		write(t, dir, "exact", elliptic.P256(), "a.example.org"),
		write(t, dir, "wildcard", elliptic.P256(), "*.example.org", "Example.ORG"),
		writeRSA(t, dir, "rsa", "two.example"),
		write(t, dir, "ecdsa", elliptic.P256(), "two.example"),
	)
	for _, tt := range []struct {
		asks   string
		strict bool
		rsa    bool // the client knows no other keys
		want   string
	}{
		{asks: "first.example", want: "first.example"},
		{asks: "a.example.org", want: "a.example.org"},
		{asks: "A.Example.Org", want: "a.example.org"},
		{asks: "b.example.org", want: "*.example.org"},
		{asks: "example.org", want: "*.example.org"},
		{asks: "c.b.example.org", want: "first.example"}, // a wildcard stands for one label
		{asks: "c.b.example.org", strict: true},
		{asks: "", want: "first.example"},
		{asks: "", strict: true},
		{asks: "*.example.org", want: "*.example.org"},
		{asks: "two.example", rsa: true, want: "two.example"},
		{asks: "two.example", want: "two.example"},
	} {
		hello := &tls.ClientHelloInfo{ServerName: tt.asks, SupportedVersions: []uint16{tls.VersionTLS13}, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256},
			SupportedCurves: []tls.CurveID{tls.X25519}, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}}
		if tt.rsa {
			hello.SignatureSchemes = []tls.SignatureScheme{tls.PSSWithSHA256}
		}
		got := s.Find(hello, tt.strict)
		switch {
		case got == nil && tt.want == "":
		case got == nil || got.Leaf.DNSNames[0] != tt.want:
			t.Errorf("%q, strict %v: got %v, want %q", tt.asks, tt.strict, got, tt.want)
		default:
			if _, is := got.PrivateKey.(*rsa.PrivateKey); tt.asks == "two.example" && is != tt.rsa {
				t.Errorf("%q: got the key %T", tt.asks, got.PrivateKey)
			}
		}
	}
}

// Each fault names its file, says what is wrong and what to do, and has nothing of a key in it.
func TestLoad_SaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	good, other := write(t, dir, "good", elliptic.P256(), "a"), write(t, dir, "other", elliptic.P256(), "b")
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, make([]byte, maxBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		files Files
		key   bool
		want  string
	}{
		{Files{Cert: filepath.Join(dir, "none"), Key: good.Key}, false, "cannot be read: no such file"},
		{Files{Cert: good.Cert, Key: filepath.Join(dir, "none")}, true, "cannot be read: no such file"},
		{Files{Cert: dir, Key: good.Key}, false, "is a directory"},
		{Files{Cert: large, Key: good.Key}, false, "is larger than 1 MiB"},
		{Files{Cert: empty, Key: good.Key}, false, "no certificate in PEM"},
		{Files{Cert: good.Cert, Key: empty}, true, "failed to find any PEM data in key input"},
		{Files{Cert: good.Cert, Key: other.Key}, true, "the key is not that of the certificate"},
		{Files{Cert: good.Key, Key: good.Cert}, true, ""},
	} {
		_, faults := Load([]Files{other, tt.files}, nil)
		if len(faults) != 1 || faults[0].Index != 1 || faults[0].Key != tt.key || !strings.Contains(faults[0].What, tt.want) || faults[0].Remedy == "" {
			t.Errorf("%+v: got %+v, want %q", tt.files, faults, tt.want)
		}
	}
}

// What has changed is in force within 5 s, however the files are replaced. What cannot be used leaves the old one
// in force, is counted and reported once, and a pair whose second file comes a moment later is no such thing.
func TestReread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		link := filepath.Join(dir, "current")
		files := Files{Name: "x", Cert: filepath.Join(link, "v.crt"), Key: filepath.Join(link, "v.key")}
		version := func(name string) string { // a folder with a certificate for this name
			folder := filepath.Join(dir, name)
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, folder, "v", elliptic.P256(), name)
			return folder
		}
		swap := func(folder string) {
			os.Remove(link)
			if err := os.Symlink(folder, link); err != nil {
				t.Fatal(err)
			}
		}
		swap(version("one"))
		log := &lines{}
		s := storeOf(t, files)
		s.Log = slog.New(slog.NewTextHandler(log, nil))
		ctx, end := context.WithCancel(context.Background())
		defer end()
		go s.Reread(ctx)
		inForce := func() string { return s.Find(&tls.ClientHelloInfo{}, false).Leaf.DNSNames[0] }
		after := func(d time.Duration, want string, failures int64) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := s.States()[0]; inForce() != want || got.Failures != failures {
				t.Errorf("got %s in force, %d failures, want %s, %d; log:\n%s", inForce(), got.Failures, want, failures, log)
			}
		}
		after(5*time.Second, "one", 0)
		two := version("two")
		swap(two)
		after(5*time.Second, "two", 0)

		three := version("three")
		replace := func(from, to string) {
			b, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Until(time.Now().Truncate(lookEvery).Add(lookEvery + lookEvery/2)))
		replace(filepath.Join(three, "v.crt"), filepath.Join(two, "v.crt"))
		time.Sleep(lookEvery/2 + settles/2)
		replace(filepath.Join(three, "v.key"), filepath.Join(two, "v.key"))
		after(5*time.Second, "three", 0)

		if err := os.WriteFile(filepath.Join(two, "v.key"), []byte("nonsense"), 0o600); err != nil {
			t.Fatal(err)
		}
		after(time.Minute, "three", 1)
		if got := strings.Count(log.String(), "level=WARN"); got != 1 {
			t.Errorf("%d warnings, want 1:\n%s", got, log)
		}
		if err := os.Remove(filepath.Join(two, "v.key")); err != nil {
			t.Fatal(err)
		}
		after(time.Minute, "three", 2)
		replace(filepath.Join(three, "v.key"), filepath.Join(two, "v.key"))
		after(time.Minute, "three", 2)
		if got := s.Find(&tls.ClientHelloInfo{ServerName: "three"}, true); got == nil {
			t.Error("the new certificate is not found by its name")
		}
	})
}

// Names and counts of what stays go on after a reload.
func TestLoad_KeepsTheCounts(t *testing.T) {
	files := write(t, t.TempDir(), "a", elliptic.P256(), "a.example")
	before, _ := Load([]Files{files}, nil)
	before.pairs[0].failures.Store(3)
	s := &Store{}
	next, _ := Load([]Files{files}, before)
	s.Use(next)
	if got := s.States(); got[0].Failures != 3 || got[0].Name != "a.example" {
		t.Errorf("got %+v", got)
	}
}

// lines is a log that one goroutine writes and another reads.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func storeOf(t *testing.T, files ...Files) *Store {
	t.Helper()
	set, faults := Load(files, nil)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	s := &Store{}
	s.Use(set)
	return s
}

func write(t *testing.T, dir, name string, curve elliptic.Curve, names ...string) Files {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return writeKey(t, dir, name, key, names)
}

func writeRSA(t *testing.T, dir, name string, names ...string) Files {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return writeKey(t, dir, name, key, names)
}

func writeKey(t *testing.T, dir, name string, key crypto.Signer, names []string) Files {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: names, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	f := Files{Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key")}
	for file, block := range map[string]*pem.Block{f.Cert: {Type: "CERTIFICATE", Bytes: der}, f.Key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// A certificate of a file goes before one that was issued for the same name, and one that was issued before the
// wildcard of a file. Without any file, the first one that was issued is for those who ask for no name.
func TestFind_Issued(t *testing.T) {
	dir := t.TempDir()
	issued := func(name string) Issued {
		c, _, bad := read(write(t, dir, "issued "+name, elliptic.P256(), name))
		if bad != nil {
			t.Fatal(bad.What)
		}
		return Issued{name, c}
	}
	both, own := issued("both.example"), issued("a.wild.example")
	s := storeOf(t, write(t, dir, "both", elliptic.P256(), "both.example"), write(t, dir, "wild", elliptic.P256(), "*.wild.example"))
	s.UseIssued([]Issued{both, own})
	hello := func(name string) *tls.ClientHelloInfo {
		return &tls.ClientHelloInfo{ServerName: name, SupportedVersions: []uint16{tls.VersionTLS13}, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256},
			SupportedCurves: []tls.CurveID{tls.X25519}, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}}
	}
	if got := s.Find(hello("both.example"), true); got == both.Certificate {
		t.Error("the certificate of the file is not shown")
	}
	if got := s.Find(hello("A.wild.example"), true); got != own.Certificate {
		t.Error("the certificate that was issued is not shown")
	}
	if got := s.Find(hello("b.wild.example"), true); got == nil || got.Leaf.DNSNames[0] != "*.wild.example" {
		t.Errorf("got %v, want the wildcard", got)
	}
	states := s.States()
	if len(states) != 4 || states[3].Name != "a.wild.example" || states[3].FromFile || !states[0].FromFile {
		t.Errorf("got %+v", states)
	}

	alone := &Store{}
	if !alone.Empty() {
		t.Error("a store without certificates is not empty")
	}
	alone.UseIssued([]Issued{own, both})
	if got := alone.Find(hello(""), false); got != own.Certificate || alone.Empty() {
		t.Error("the first certificate is not shown")
	}
	if got := alone.Find(hello("other.example"), true); got != nil {
		t.Error("strict, and a certificate is shown for a name that none has")
	}
}

// What is replaced is known by its content, wherever it is.
func TestReplaced(t *testing.T) {
	dir := t.TempDir()
	same, replaced := write(t, dir, "same", elliptic.P256(), "same.example"), write(t, dir, "replaced", elliptic.P256(), "replaced.example")
	before, _ := Load([]Files{same, replaced}, nil)
	write(t, dir, "replaced", elliptic.P256(), "another.example", "replaced.example") // which changes what it is called
	added := write(t, dir, "added", elliptic.P256(), "added.example")
	next, _ := Load([]Files{same, replaced, added}, before)
	if got := next.Replaced(before); !slices.Equal(got, []string{"another.example"}) {
		t.Errorf("got %q, want the one", got)
	}
	if got := next.Replaced(nil); len(got) > 0 {
		t.Errorf("got %q where there was nothing before", got)
	}
}
