package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"slices"

	"pace/cmd/pace/vet"
	"pace/config"
	"pace/proxy/front"
	"pace/proxy/front/certificate"
	"pace/proxy/front/handshake"
	"pace/telemetry"
)

// serving is a listener of the proxy that is served.
type serving struct {
	socket    net.Listener
	udp       net.PacketConn // nil: no HTTP/3
	config    config.Listener
	clientCAs *x509.CertPool // nil: clients show no certificates
}

// named returns the listener of this name; its socket is nil if there is none.
func named(list []serving, name string) serving {
	if i := slices.IndexFunc(list, func(s serving) bool { return s.config.Name == name }); i >= 0 {
		return list[i]
	}
	return serving{}
}

// serveProxy serves the listeners of the proxy for the first time.
func (p *parts) serveProxy(f *config.File, open []Listener) error {
	var next []serving
	for i, l := range f.InLongForm().Listeners {
		pool, bad := vet.ClientCAs(f, l)
		if bad != nil {
			return config.Join(nil, bad)
		}
		next = append(next, serving{open[i].Listener, open[i].UDP, l, pool})
	}
	p.changeListeners(next)
	return nil
}

// prepareListeners opens the new addresses of f. change serves them, puts in force what else is new of a listener,
// and retires those that are gone; cancel closes the new ones again. A listener with another address is another one.
func (p *parts) prepareListeners(f *config.File) (change, cancel func(), err error) {
	var next []serving
	var opened []net.Listener
	var openedUDP []net.PacketConn
	cancel = func() {
		for _, l := range opened {
			l.Close()
		}
		for _, pc := range openedUDP {
			p.server.ForgetUDP(pc)
		}
	}
	for _, l := range f.InLongForm().Listeners {
		s := named(p.listeners, l.Name)
		if s.socket == nil || s.config.Listen != l.Listen {
			if s.socket, err = p.sockets.open(l.Listen); err != nil {
				cancel()
				return nil, nil, cannotListen(f, l, err)
			}
			opened, s.udp = append(opened, s.socket), nil
		}
		if !l.HTTP3 {
			s.udp = nil
		} else if s.udp == nil {
			if s.udp, err = p.server.ListenUDP(s.socket.Addr()); err != nil {
				cancel()
				return nil, nil, cannotListen(f, l, err)
			}
			openedUDP = append(openedUDP, s.udp)
		}
		var bad *config.Fault
		if s.clientCAs, bad = vet.ClientCAs(f, l); bad != nil {
			cancel()
			return nil, nil, config.Join(nil, bad)
		}
		s.config = l
		next = append(next, s)
	}
	change = func() {
		p.changeListeners(next)
		if attrs := listening(opened, openedUDP); attrs != nil {
			p.log.LogAttrs(context.Background(), slog.LevelInfo, "listening", attrs...)
		}
	}
	return change, cancel, nil
}

func cannotListen(f *config.File, l config.Listener, err error) error {
	return config.Join(nil, f.Fault(l.Key+".listen", err.Error(), "write an address that is free now, or restart pace"))
}

// changeListeners makes next the listeners that are served.
func (p *parts) changeListeners(next []serving) {
	last := p.listeners
	p.listeners = next
	for _, s := range next {
		before := named(last, s.config.Name)
		if before.socket == s.socket {
			p.server.ChangeListener(s.socket, p.listenerSettings(s))
		} else {
			go p.reportFailure(func() error { return p.server.Serve(s.socket, p.listenerSettings(s)) })
		}
		switch {
		case s.udp == nil:
		case before.udp == s.udp:
			p.server.ChangeHTTP3(s.udp, p.listenerSettings(s))
		default:
			go p.reportFailure(p.server.ServeHTTP3(s.udp, p.listenerSettings(s)))
		}
	}
	for _, s := range last {
		after := named(next, s.config.Name)
		if s.udp != nil && after.udp != s.udp {
			p.server.RetireHTTP3(s.udp)
		}
		if after.socket != s.socket {
			p.server.Retire(s.socket)
		}
	}
}

// listenerSettings returns what is spoken on a listener.
func (p *parts) listenerSettings(s serving) (n front.ListenerSettings) {
	l := s.config
	n.Announced = l.ProxyProtocol
	if s.udp != nil {
		n.HTTP3Port = s.udp.LocalAddr().(*net.UDPAddr).Port
	}
	switch {
	case l.TLS:
		n.TLS = &handshake.Options{MinVersion: handshake.Versions[l.MinVersion], Certificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if c := p.certificates.Find(hello, l.StrictSNI); c != nil {
				return c, nil
			}
			return nil, handshake.ErrNoCertificate
		}, Challenge: p.acme.challenge, Client: l.ClientAuth, ClientCAs: s.clientCAs}
	case l.RedirectToHTTPS:
		n.RedirectTo = p.portOfHTTPS()
	}
	return n
}

// otherClientCAs reports whether a listener's file of client_ca is the same, and has another content.
func (p *parts) otherClientCAs(f *config.File, l config.Listener) bool {
	now := named(p.listeners, l.Name)
	pool, bad := vet.ClientCAs(f, l)
	return now.config.ClientCA == l.ClientCA && now.clientCAs != nil && bad == nil && !now.clientCAs.Equal(pool)
}

// portOfHTTPS is the port of the first listener with TLS, which [config] wants; that of https if the listener has none.
func (p *parts) portOfHTTPS() int {
	first := slices.IndexFunc(p.listeners, func(s serving) bool { return s.config.TLS })
	if at, ok := p.listeners[first].socket.Addr().(*net.TCPAddr); ok {
		return at.Port
	}
	return 443
}

// prepareCertificates reads the certificates of f.
func (p *parts) prepareCertificates(f *config.File) (*certificate.Set, error) {
	set, faults := vet.Certificates(f, p.certificates.InForce())
	return set, config.Join(nil, faults...)
}

// replacedCertificates returns the names of the certificates whose files have another content than what is in force.
func (p *parts) replacedCertificates(f *config.File) ([]string, error) {
	set, err := p.prepareCertificates(f)
	if err != nil {
		return nil, err
	}
	return set.Replaced(p.certificates.InForce()), nil
}

// useCertificates puts the certificates of f in force.
func (p *parts) useCertificates(f *config.File, set *certificate.Set) {
	p.certificates.Use(set)
	for _, w := range vet.LooseKeys(f) {
		p.log.LogAttrs(context.Background(), slog.LevelWarn, "every user of this machine can read a file with a key or another secret", slog.String("key", w.Key), slog.String("remedy", w.Remedy))
	}
	for _, w := range vet.LooseStorage(f) {
		p.log.LogAttrs(context.Background(), slog.LevelWarn, "others can use the storage of certificates", slog.String("key", w.Key), slog.String("remedy", w.Remedy))
	}
}

// certificateStates are the certificates for the metrics.
func (p *parts) certificateStates() (list []telemetry.CertificateState) {
	for _, s := range p.certificates.States() {
		list = append(list, telemetry.CertificateState(s))
	}
	return list
}
