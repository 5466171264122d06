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
	TLS           bool           `toml:"tls" default:"false" doc:"Clients must speak TLS here. HTTP/2 or HTTP/1.1 is agreed on by ALPN. The certificates come from [[certificate]] and [acme]."`
	HTTP3         bool           `toml:"http3" default:"false" doc:"Serve HTTP/3 as well, on the UDP port of the same number, and say so in responses over TCP (Alt-Svc). It needs tls = true, and host:port."`
	MinVersion    string         `toml:"min_version" default:"1.2" doc:"Lowest version of TLS: 1.2 or 1.3."`
	StrictSNI     bool           `toml:"strict_sni" default:"false" doc:"Refuse a TLS handshake that asks for a name which no certificate has, or for no name. With false, such a client gets the first certificate."`
	ClientAuth    string         `toml:"client_auth" default:"none" doc:"Whether clients must show a certificate: none (pace does not ask for one), request (a client may show one, which client_ca must have signed) or require (a client must show one, which client_ca must have signed). Backends get it in Client-Cert and Client-Cert-Chain (RFC 9440)."`
	ClientCA      string         `toml:"client_ca" default:"" is:"file?" doc:"File with the certificates, in PEM, of the authorities that may sign the certificates of clients. It is read at the start and at each reload."`
	ProxyProtocol []netip.Prefix `toml:"proxy_protocol" default:"" doc:"Networks of the proxies in front whose connections must begin with a header of the PROXY protocol, version 1 or 2. pace takes the address in it for the peer everywhere. A connection from any other address that begins with such a header is refused."`

	RedirectToHTTPS bool `toml:"redirect_to_https" default:"false" doc:"Redirect every request (308) to the same URL with https, at the first listener that has TLS."`
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
	Cert    string `toml:"cert" example:"/etc/pace/example.crt" is:"file" doc:"File with the certificate and its chain, in PEM. A client gets the certificate that has the name it asks for. pace reads the file again within 5 s after it has changed. If the new certificate cannot be used, the old one stays in force."`
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
			r.fault(key, "has no effect without TLS", "remove it, or write tls = true")
		}
		asks := l.ClientAuth != clientAuth && !r.faulted(l.Key+".client_auth")
		switch ca := l.Key + ".client_ca"; {
		case asks && !l.TLS:
			r.fault(l.Key+".client_auth", "has no effect without TLS", "remove it, or write tls = true")
		case asks && l.ClientCA == "" && !r.faulted(ca):
			r.at(r.file.lines[l.Key], ca, "missing: pace verifies the certificates of clients by it", "write client_ca = \"/etc/pace/clients-ca.crt\", the file of the authority that signs them")
		}
		r.http3(l)
		if !l.TLS && l.StrictSNI {
			r.fault(l.Key+".strict_sni", "has no effect without TLS", "remove it, or write tls = true")
		}
	}
	if first != nil && len(c.Certificates) == 0 && c.ACME == nil && !r.faulted("certificate") && !slices.Contains(r.meant, "[[certificate]]") {
		r.fault(first.Key+".tls", "there is no certificate", "write [[certificate]] with cert and key, the files of one, or [acme], so that pace gets certificates itself")
	}
	seen := map[string]*Certificate{}
	for i := range c.Certificates {
		one := &c.Certificates[i]
		if other := seen[one.label()]; other != nil {
			r.fault(r.writtenOne(one.Key+".name", one.Key+".cert"), fmt.Sprintf("the certificate on line %[2]d is named %[1]s, too", toml.Quote(one.label()), r.file.lines[other.Key]),
				"write another name, such as "+strconv.Quote(one.label()+" 2"))
			continue
		}
		seen[one.label()] = one
	}
}

// http3 checks what HTTP/3 needs of a listener.
func (r *reader) http3(l Listener) {
	key := l.Key + ".http3"
	switch {
	case !l.HTTP3:
	case !l.TLS:
		r.fault(key, "has no effect without TLS", "remove it, or write tls = true")
	case len(l.ProxyProtocol) > 0:
		r.fault(key, "a proxy in front cannot pass on HTTP/3 by the PROXY protocol, which is for TCP", "remove it, or remove proxy_protocol")
	case isSocket(l.Listen):
		r.fault(key, "HTTP/3 needs a UDP port, which "+strconv.Quote(l.Listen)+" does not have", "remove it, or listen on host:port")
	}
}
