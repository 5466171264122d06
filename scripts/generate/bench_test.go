package main

import "testing"

func TestShortTitle(t *testing.T) {
	for title, want := range map[string]string{
		"Small JSON: GET, 300 B, 64 connections":              "Small JSON",
		"1 GiB bodies: GET, one at a time":                    "1 GiB",
		"1 GiB bodies: PUT, one at a time":                    "1 GiB PUT",
		"10,000 idle connections, one request on each before": "10,000 idle connections",
	} {
		if got := shortTitle(title); got != want {
			t.Errorf("%s: got %s, want %s", title, got, want)
		}
	}
}
