package message

import (
	"net/http"
	"strings"
)

// IsProxyField reports whether proxies use the field to say who sent a request, for which host and path,
// and with which scheme. name is canonical, as AsRead returns it. Backends and their frameworks trust such
// a field whoever sent it, so pace passes it on from trusted proxies only.
func IsProxyField(name string) bool {
	return strings.HasPrefix(name, "X-Forwarded-") || proxyFields[name]
}

// proxyFields are the names that do not begin with "X-Forwarded-": those of RFC 7239, of the common
// proxies and frameworks, and of the large content delivery networks.
var proxyFields = map[string]bool{
	"Forwarded": true, "Forwarded-For": true, "Forwarded-Host": true, "Forwarded-Proto": true,
	"X-Forward-For": true,

	// who sent the request
	"X-Real-Ip": true, "X-Real-Port": true, "X-Real-Host": true, "X-Real-Proto": true,
	"Client-Ip": true, "X-Client-Ip": true, "True-Client-Ip": true, "X-True-Client-Ip": true,
	"X-Cluster-Client-Ip": true,
	"Proxy-Client-Ip":     true, "Wl-Proxy-Client-Ip": true, "X-Proxyuser-Ip": true,
	"X-Originating-Ip": true,
	"X-Remote-Ip":      true, "X-Remote-Addr": true, "Remote-Addr": true, "X-Client-Port": true,
	"Cf-Connecting-Ip": true, "Cf-Connecting-Ipv6": true, "Cf-Pseudo-Ipv4": true, "Cf-Visitor": true,
	"Fastly-Client-Ip": true, "Fastly-Ssl": true, "Fly-Client-Ip": true, "Fly-Forwarded-Proto": true,
	"Do-Connecting-Ip": true,
	"X-Azure-Clientip": true, "X-Azure-Socketip": true, "X-Appengine-User-Ip": true,
	"X-Appengine-Remote-Addr":   true,
	"Cloudfront-Viewer-Address": true, "Cloudfront-Forwarded-Proto": true,
	"X-Envoy-External-Address": true,

	// for which host and path
	"X-Host": true, "X-Http-Host-Override": true, "X-Original-Host": true,
	"X-Original-Forwarded-For": true,
	"X-Original-For":           true, "X-Original-Remote-Addr": true, "X-Original-Proto": true,
	"X-Original-Scheme": true,
	"X-Original-Url":    true, "X-Original-Uri": true, "X-Original-Method": true,
	"X-Original-Path": true, "X-Original-Prefix": true,
	"X-Rewrite-Url": true, "X-Envoy-Original-Path": true, "X-Envoy-Original-Host": true,
	"X-Script-Name": true, "X-Proxy-Url": true,

	// with which scheme
	"X-Scheme": true, "X-Url-Scheme": true, "Front-End-Https": true, "X-Arr-Ssl": true,
	"X-Https": true,

	// with which certificate (RFC 9440)
	clientCert: true, clientCertChain: true,
}

// IsProxied reports whether a proxy has left its mark on a request: who sent it may be anybody.
func IsProxied(h http.Header) bool {
	for name := range h {
		if read := AsRead(name); read == "Via" || IsProxyField(read) {
			return true
		}
	}
	return false
}
