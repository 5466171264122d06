package main

import "testing"

func TestShortTitle(t *testing.T) {
	for title, want := range map[string]string{
		"Small JSON: GET, 300 B, 64 connections":                               "Small JSON",
		"1 GiB bodies: GET, one at a time":                                     "1 GiB",
		"1 GiB bodies: PUT, one at a time":                                     "1 GiB PUT",
		"Small JSON over HTTP/2: GET, 300 B, 8 connections, 8 streams on each": "Small JSON over HTTP/2",
		"TLS 1.3 handshakes: GET, 300 B, each on a new connection":             "TLS 1.3 handshakes",
		"1 GiB bodies over TLS 1.3: GET, one at a time":                        "1 GiB bodies over TLS 1.3",
		"10,000 idle connections, one request on each before":                  "10,000 idle connections",
	} {
		if got := shortTitle(title); got != want {
			t.Errorf("%s: got %s, want %s", title, got, want)
		}
	}
}
