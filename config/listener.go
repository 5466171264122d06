package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"pace/config/toml"
)

// Listener is an address that the proxy listens on. The short form has one, named default, in clear text.
type Listener struct {
	Name string
	Key  string // the path of its table, for [File.Fault]: listener.https, or server

	Listen        string         `toml:"listen" is:"address" example:"0.0.0.0:443" doc:"Address that it listens on: host:port (port 0 takes a free one), unix:/path (a socket in the file system), or fd:NAME (a socket that systemd opened)."`
	TLS           bool           `toml:"tls" default:"false" doc:"Clients must speak TLS; HTTP/2 and HTTP/1.1 are agreed on by ALPN. The certificates are those of [[certificate]] and [acme]."`
	MinVersion    string         `toml:"min_version" default:"1.2" doc:"Lowest version of TLS: 1.2 or 1.3."`
	StrictSNI     bool           `toml:"strict_sni" default:"false" doc:"Refuse a handshake for a name that no certificate has, or for none. Otherwise the client gets the first certificate."`
	ClientAuth    string         `toml:"client_auth" default:"none" doc:"Whether clients show a certificate: none, request (one that is shown must be signed by client_ca) or require. Backends get it in Client-Cert and Client-Cert-Chain (RFC 9440)."`
	ClientCA      string         `toml:"client_ca" default:"" is:"file?" doc:"File with the certificates, in PEM, of those who sign the certificates of clients. It is read at the start and at each reload."`
	ProxyProtocol []netip.Prefix `toml:"proxy_protocol" default:"" doc:"Networks of the proxies in front whose connections must begin with a header of the PROXY protocol, version 1 or 2. The client that it names is the peer everywhere. Nobody else may send one."`

	RedirectToHTTPS bool `toml:"redirect_to_https" default:"false" doc:"Redirect every request (308) to the same URL at the first listener that has TLS."`
}

// The defaults of min_version and client_auth.
const (
	minVersion = "1.2"
	clientAuth = "none"
)

// Certificate is a certificate that clients see, and its key.
type Certificate struct {
	Key string // the path of its table, for [File.Fault]: certificate[1]

	Name    string `toml:"name" inherits:"the first name in it" example:"example" is:"label?" doc:"Its name in metrics and logs."`
	Cert    string `toml:"cert" example:"/etc/pace/example.crt" is:"file" doc:"File with the certificate and its chain, in PEM. A client gets the certificate that has the name it asks for. The file is read again when it has changed, within 5 s; if the new one cannot be used, the old one stays in force."`
	KeyFile string `toml:"key" example:"/etc/pace/example.key" is:"file" doc:"File with its key, in PEM. Only pace should be able to read it."`
}

// label is what the certificate is called before it is read.
func (c *Certificate) label() string {
	if c.Name != "" {
		return c.Name
	}
	return c.Cert
}

// ownAddresses returns every address that pace listens on, with its key.
func (c *Config) ownAddresses() (list []ownAddress) {
	for _, l := range c.listeners() {
		list = append(list, ownAddress{l.Key + ".listen", l.Listen})
	}
	return append(list, ownAddress{"admin.listen", c.Admin.Listen})
}

// ownAddress is what a key says where pace listens; it may be "".
type ownAddress struct{ key, listen string }

// listeners are those of both forms. That of the short form is one only if it is written, or if there is no other.
func (c *Config) listeners() (all []Listener) {
	if c.Server.Listen != "" {
		all = append(all, Listener{Name: DefaultName, Key: "server", Listen: c.Server.Listen, MinVersion: minVersion, ClientAuth: clientAuth})
	}
	return append(all, c.NamedListeners...)
}

// FirstWithTLS returns the first listener with TLS; nil: there is none.
func (c *Config) FirstWithTLS() *Listener {
	for i := range c.NamedListeners {
		if l := &c.NamedListeners[i]; l.TLS {
			return l
		}
	}
	return nil
}

// tls checks the listeners and certificates against each other.
func (r *reader) tls(c *Config) {
	first := c.FirstWithTLS()
	for _, l := range c.NamedListeners {
		switch {
		case l.RedirectToHTTPS && l.TLS:
			r.fault(l.Key+".redirect_to_https", "its clients speak TLS already", "remove it, or remove tls = true")
		case l.RedirectToHTTPS && first == nil:
			r.fault(l.Key+".redirect_to_https", "no listener has TLS", "write a listener with tls = true, such as [listener.https]")
		}
		if key := l.Key + ".min_version"; !l.TLS && l.MinVersion != minVersion && !r.faulted(key) {
			r.fault(key, "means nothing without TLS", "remove it")
		}
		asks := l.ClientAuth != clientAuth && !r.faulted(l.Key+".client_auth")
		switch ca := l.Key + ".client_ca"; {
		case asks && !l.TLS:
			r.fault(l.Key+".client_auth", "means nothing without TLS", "remove it")
		case asks && l.ClientCA == "" && !r.faulted(ca):
			r.at(r.file.lines[l.Key], ca, "missing: somebody has signed the certificates of the clients", "write client_ca, the file of who signs the clients' certificates")
		}
		if !l.TLS && l.StrictSNI {
			r.fault(l.Key+".strict_sni", "means nothing without TLS", "remove it")
		}
	}
	if first != nil && len(c.Certificates) == 0 && c.ACME == nil && !r.faulted("certificate") && !slices.Contains(r.meant, "[[certificate]]") {
		r.fault(first.Key+".tls", "there is no certificate", "write [[certificate]] with cert and key, the files of a certificate, or [acme] with the names of certificates that pace gets itself")
	}
	seen := map[string]*Certificate{}
	for i := range c.Certificates {
		one := &c.Certificates[i]
		if other := seen[one.label()]; other != nil {
			r.fault(r.writtenOne(one.Key+".name", one.Key+".cert"), fmt.Sprintf("%s is the certificate on line %d as well", toml.Quote(one.label()), r.file.lines[other.Key]),
				"write another name, such as "+strconv.Quote(one.label()+" 2"))
			continue
		}
		seen[one.label()] = one
	}
}
