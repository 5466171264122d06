package match

import (
	"fmt"
	"net/textproto"
	"net/url"
	"strings"

	"pace/proxy/message"
	"pace/proxy/route"
)

// Request reads a request as curl would send it, and its target in origin form.
func Request(method, target string, header []string) (r route.Request, _ string, err error) {
	target, _, _ = strings.Cut(target, "#")
	u, err := url.Parse(target)
	switch {
	case method == "" || strings.ContainsFunc(method, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c) }):
		return r, "", fmt.Errorf("%q is not a method; write one such as GET", method)
	case err != nil, target == "":
		return r, "", fmt.Errorf("%q is not a URL; write https://host/path", target)
	case u.Host == "" && !strings.HasPrefix(target, "/") && target != message.Asterisk:
		return r, "", fmt.Errorf("%q has no scheme; write https://%s", target, target)
	}
	r = route.Request{Method: method, Host: u.Host, Header: map[string][]string{}}
	for _, line := range header {
		name, value, ok := strings.Cut(line, ":")
		if name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)); !ok || name == "" {
			return r, "", fmt.Errorf("%q is not a header field; write 'Name: value'", line)
		}
		if value = strings.TrimSpace(value); name != "Host" {
			r.Header[name] = append(r.Header[name], value)
		} else if r.Host == "" { // a host in the target goes first
			r.Host = value
		}
	}
	target = message.Target(method, target, u)
	r.Path, _, _ = strings.Cut(target, "?")
	return r, target, nil
}
