// Command caddy is Caddy with only the modules that the bench needs: the HTTP server, TLS with certificates from
// files, the reverse proxy and the Caddyfile. The whole of Caddy takes more than twice as long to compile.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/caddytls"
)

func main() { caddycmd.Main() }
