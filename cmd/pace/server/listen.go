package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"

	"pace/config"
	"pace/proxy/front"
)

// inheritedPrefix is the prefix of an address that names a socket from systemd.
const inheritedPrefix = "fd:"

// Listeners are the sockets that pace listens on.
type Listeners struct {
	Proxy []Listener   // in the order of the configuration
	Admin net.Listener // nil: switched off
}

// Listener is a socket of the proxy's, under the name that the configuration gives it.
type Listener struct {
	Name string
	net.Listener
	UDP net.PacketConn // nil: no HTTP/3
}

// sockets opens what pace listens on. It keeps the sockets that systemd has passed, because a reload may ask for
// one of them.
type sockets struct{ inherited []*os.File }

// inheritSockets takes the sockets that systemd has passed. It can do so only once in the life of a process.
func inheritSockets() sockets { return sockets{activation.Files(true)} }

// listen opens the addresses of f.
func (s sockets) listen(f *config.File) (l Listeners, err error) {
	for _, one := range f.InLongForm().Listeners {
		open, err := s.open(one.Listen)
		if err != nil {
			return l, err
		}
		udp, err := openUDP(one, open)
		if err != nil {
			return l, err
		}
		l.Proxy = append(l.Proxy, Listener{one.Name, open, udp})
	}
	if f.Admin.Listen != "" {
		l.Admin, err = s.open(f.Admin.Listen)
	}
	return l, err
}

// openUDP opens the UDP port beside a listener that serves HTTP/3; for others it returns nil.
func openUDP(l config.Listener, beside net.Listener) (net.PacketConn, error) {
	if !l.HTTP3 {
		return nil, nil
	}
	return front.ListenUDP(beside.Addr())
}

// open opens host:port, unix:/path, or fd:NAME.
func (s sockets) open(address string) (net.Listener, error) {
	name, inherits := strings.CutPrefix(address, inheritedPrefix)
	if !inherits {
		return front.Listen(address)
	}
	named := slices.DeleteFunc(slices.Clone(s.inherited), func(f *os.File) bool { return f.Name() != name })
	switch {
	case len(s.inherited) == 0:
		return nil, fmt.Errorf("listen %s: systemd has passed no socket; start pace with its socket unit, or write host:port", address)
	case len(named) == 0:
		return nil, fmt.Errorf("listen %s: systemd has passed no socket of this name; write one of %s", address, strings.Join(s.names(), ", "))
	case len(named) > 1:
		return nil, fmt.Errorf("listen %s: systemd has passed %d sockets of this name; write a socket unit for each, with its own FileDescriptorName=", address, len(named))
	}
	l, err := front.Inherit(named[0])
	if err != nil {
		return nil, fmt.Errorf("listen %s: %w", address, err)
	}
	return l, nil
}

func (s sockets) names() (names []string) {
	for _, f := range s.inherited {
		names = append(names, inheritedPrefix+f.Name())
	}
	return names
}

// warnOfUnused logs the sockets that systemd has passed and the configuration does not name. Their clients wait
// for ever.
func (s sockets) warnOfUnused(f *config.File, log *slog.Logger) {
	used := []string{f.Admin.Listen}
	for _, l := range f.InLongForm().Listeners {
		used = append(used, l.Listen)
	}
	for _, address := range s.names() {
		if !slices.Contains(used, address) {
			log.LogAttrs(context.Background(), slog.LevelWarn, "systemd has passed a socket that nothing uses", slog.String("socket", address))
		}
	}
}

// addressOf is the address of a listener as a configuration writes it.
func addressOf(l net.Listener) string {
	if a := l.Addr(); a.Network() == "unix" {
		return front.UnixPrefix + a.String()
	}
	return l.Addr().String()
}

// listening says in the log which sockets are open for clients.
func listening(proxy []net.Listener, udp []net.PacketConn) (attrs []slog.Attr) {
	add := func(key string, addresses []string) {
		if addresses != nil {
			attrs = append(attrs, slog.String(key, strings.Join(addresses, ", ")))
		}
	}
	var tcp, http3 []string
	for _, l := range proxy {
		tcp = append(tcp, addressOf(l))
	}
	for _, pc := range udp {
		http3 = append(http3, pc.LocalAddr().String()+"/udp")
	}
	add("proxy", tcp)
	add("http3", http3)
	return attrs
}

func (l Listeners) attrs() []slog.Attr {
	var proxy []net.Listener
	var udp []net.PacketConn
	for _, one := range l.Proxy {
		proxy = append(proxy, one.Listener)
		if one.UDP != nil {
			udp = append(udp, one.UDP)
		}
	}
	attrs := append([]slog.Attr{slog.String("version", Version)}, listening(proxy, udp)...)
	if l.Admin != nil {
		attrs = append(attrs, slog.String("admin", addressOf(l.Admin)))
	}
	return attrs
}
