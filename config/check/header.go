package check

import (
	"slices"
	"strconv"
	"strings"

	"pace/config/toml"
)

// taken are header names that a setting must not use, by the reason. Framing fields and those
// of one connection (RFC 9110 §7.6.1) would break the message; the others carry a meaning of
// their own that a proxy must not overwrite: those that IANA's registry of fields calls permanent
// and a browser, a cache or a backend acts on, and those that pace and other proxies write.
var taken = map[string][]string{
	"frames the message": {"content-length", "transfer-encoding", "trailer", "host", "expect"},
	"belongs to one connection": {"connection", "keep-alive", "proxy-connection", "te", "upgrade",
		"http2-settings", "proxy-authenticate", "proxy-authorization"},
	"has a meaning of its own": slices.Concat(
		// RFC 9110, RFC 9111 (caches), RFC 6265 (cookies), RFC 5789 (PATCH)
		strings.Fields(`accept accept-charset accept-encoding accept-language accept-patch accept-post accept-ranges age allow
			authentication-info authorization cache-control content-encoding content-language content-location content-range
			content-type cookie date etag expires from if-match if-modified-since if-none-match if-range if-unmodified-since
			last-modified location max-forwards pragma prefer preference-applied proxy-authentication-info range referer retry-after
			server set-cookie user-agent vary via warning www-authenticate`),
		// what browsers act on: security, origins, cookies, hints, other protocols
		strings.Fields(`accept-ch alt-svc alt-used clear-site-data content-disposition content-security-policy
			content-security-policy-report-only cross-origin-embedder-policy cross-origin-embedder-policy-report-only
			cross-origin-opener-policy cross-origin-opener-policy-report-only cross-origin-resource-policy dnt early-data link
			nel origin origin-agent-cluster permissions-policy priority referrer-policy refresh report-to reporting-endpoints
			server-timing service-worker-allowed sourcemap strict-transport-security timing-allow-origin
			upgrade-insecure-requests x-content-type-options x-frame-options`),
		// what caches, gateways and tracers act on
		strings.Fields(`baggage cache-status cdn-cache-control cdn-loop content-digest digest forwarded idempotency-key
			proxy-status repr-digest signature signature-input surrogate-capability surrogate-control traceparent tracestate
			want-content-digest want-repr-digest x-forwarded-for x-forwarded-host x-forwarded-proto x-rate-limit-limit
			x-rate-limit-remaining x-rate-limit-reset x-real-ip x-request-id`)),
}

// takenFamilies are prefixes of header names that belong to the Fetch standard, or that it lets no script
// set.
var takenFamilies = []string{"access-control-", "sec-"}

// headerName is the name of a field that no other part of HTTP needs.
func headerName(s, sample string) (string, *Refusal) {
	if _, bad := FieldName(s, sample); bad != nil {
		return "", bad
	}
	if why := takenBy(strings.ToLower(s)); why != "" {
		return "", &Refusal{What: "the header " + s + " " + why, Form: "another name"}
	}
	return s, nil
}

// FieldName is a token (RFC 9110 §5.6.2).
func FieldName(s, _ string) (string, *Refusal) {
	if s == "" {
		return "", &Refusal{What: "the header name is empty", Form: "a name"}
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return !isTokenRune(r) }); i >= 0 {
		return "", &Refusal{What: toml.Quote(s) + " is not a header name", Form: "letters, digits and hyphens"}
	}
	if len(s) > 128 {
		return "", &Refusal{What: "the header name has " + strconv.Itoa(len(s)) + " bytes", Form: "at most 128"}
	}
	return s, nil
}

// takenBy is the reason why a name, in lower case, is taken; "" if it is free.
func takenBy(name string) string {
	for why, names := range taken {
		if slices.Contains(names, name) {
			return why
		}
	}
	if slices.ContainsFunc(takenFamilies, func(f string) bool { return strings.HasPrefix(name, f) }) {
		return "has a meaning of its own"
	}
	return ""
}

func isTokenRune(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r < 0x80 && strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// headerValue is a field value that is not empty.
func headerValue(s, _ string) (string, *Refusal) {
	if s == "" {
		return "", &Refusal{What: "the value is empty", Form: "a value"}
	}
	return FieldValue(s)
}

// FieldValue is the value of a header field (RFC 9110 §5.5). Bytes above ASCII are refused: the RFC allows
// them, but receivers decode them differently.
func FieldValue(s string) (string, *Refusal) {
	trimmed := strings.Trim(s, " \t")
	switch {
	case trimmed != s:
		return "", &Refusal{What: "spaces around " + toml.Quote(s), Form: "a value", Instead: trimmed}
	case strings.ContainsFunc(s, func(r rune) bool { return r != '\t' && (r < ' ' || r > '~') }):
		return "", &Refusal{What: toml.Quote(s) + " cannot be sent in a header", Form: "printable ASCII characters on one line"}
	case len(s) > 1024:
		return "", &Refusal{What: "the value has " + strconv.Itoa(len(s)) + " bytes", Form: "at most 1024"}
	}
	return s, nil
}
