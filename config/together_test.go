package config

import "testing"

// TestParse_LetsNeighboursPass: what only looks like two listeners at one place, a backend that is
// pace itself, or a header that another needs. What is one stands in testdata/bad.
func TestParse_LetsNeighboursPass(t *testing.T) {
	const pool = "[upstreams]\nbackends = [\"http://10.0.0.1:8000\"]\n"
	for name, toml := range map[string]string{
		"two addresses, one port":                              "[server]\nlisten = \"127.0.0.1:18080\"\n[admin]\nlisten = \"127.0.0.2:18080\"\n" + pool,
		"two families, one port":                               "[server]\nlisten = \"127.0.0.1:18080\"\n[admin]\nlisten = \"[::1]:18080\"\n" + pool,
		"two ports of the kernel's choice":                     "[server]\nlisten = \"0.0.0.0:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n" + pool,
		"no admin listener":                                    "[server]\nlisten = \"127.0.0.1:9464\"\n[admin]\nlisten = \"\"\n" + pool,
		"a backend at the admin port, without admin":           "[admin]\nlisten = \"\"\n[upstreams]\nbackends = [\"http://127.0.0.1:9464\"]\n",
		"a backend at pace's port elsewhere":                   "[upstreams]\nbackends = [\"http://10.0.0.1:8080\", \"http://backend:8080\"]\n",
		"a backend at pace's port, another address":            "[server]\nlisten = \"127.0.0.1:8080\"\n[upstreams]\nbackends = [\"http://127.0.0.2:8080\"]\n",
		"header names of one's own, and without X-":            "[headers]\nproxy_name = \"Served-Through\"\nbackend_name = \"Backend\"\n" + pool,
		"header names that begin like those with sense":        "[headers]\nproxy_name = \"Second\"\nbackend_name = \"Content-Backend\"\n" + pool,
		"a limit of a thousand requests for a million clients": "[rate_limit]\nmax_requests = 1000\nmax_keys = 1000000\n" + pool,
		"the largest limit for a million clients":              "[rate_limit]\nmax_requests = 6863\n" + pool,
	} {
		if _, err := Parse("proxy.toml", []byte(toml)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
