package parts

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// WebServer is a program that serves HTTP/2, in clear text and over TLS, and gets what it serves from an origin.
type WebServer struct {
	Name   string
	args   string // of the command line; DIR is its folder
	config string // CLEAR, SECURE, ORIGIN and CERT are filled in
}

// WebServers are those that Debian has.
var WebServers = []WebServer{
	{Name: "nginx", args: "-p DIR -e stderr -c config", config: `daemon off; master_process off; pid pid; error_log stderr error;
events { }
http {
  access_log off; keepalive_requests 40;
  client_body_temp_path tmp1; proxy_temp_path tmp2; fastcgi_temp_path tmp3; uwsgi_temp_path tmp4; scgi_temp_path tmp5;
  server {
    listen CLEAR http2; listen SECURE ssl http2; ssl_certificate CERT; ssl_certificate_key CERT;
    location / { client_max_body_size 0; proxy_pass http://ORIGIN; proxy_request_buffering off; proxy_buffering off; proxy_http_version 1.1; }
    location = /refused { client_max_body_size 1k; proxy_pass http://ORIGIN; }
  }
}`},
	{Name: "haproxy", args: "-db -f DIR/config", config: `global
  tune.h2.max-concurrent-streams 4
  tune.h2.initial-window-size 16384
defaults
  mode http
  timeout connect 30s
  timeout client 60s
  timeout server 60s
frontend front
  bind CLEAR proto h2
  bind SECURE ssl crt CERT alpn h2
  http-request deny deny_status 413 if { path /refused }
  default_backend back
backend back
  server origin ORIGIN
`},
}

// Start runs w in front of an origin, which speaks HTTP/1.1. cert and key are files. It returns where w listens.
func (w WebServer) Start(t testing.TB, origin, cert, key string) (clear, secure string) {
	t.Helper()
	dir := t.TempDir()
	clear, secure = free(t), free(t)
	var both []byte
	for _, file := range []string{cert, key} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, text...)
	}
	write(t, filepath.Join(dir, "both.pem"), string(both))
	write(t, filepath.Join(dir, "config"), strings.NewReplacer("CLEAR", clear, "SECURE", secure, "ORIGIN", origin, "CERT", filepath.Join(dir, "both.pem")).Replace(w.config))
	run(t, Path(t, w.Name), strings.Fields(strings.ReplaceAll(w.args, "DIR", dir))...).await(t, func() error {
		c, err := net.Dial("tcp", secure)
		if err == nil {
			c.Close()
		}
		return err
	})
	return clear, secure
}
