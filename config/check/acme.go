package check

import (
	"net/mail"
	"net/netip"
	"net/url"
	"strings"

	"pace/config/toml"
)

// domain is a name for which a certificate authority can be asked for a certificate by HTTP or TLS.
func domain(s, _ string) (string, *Refusal) {
	const form = "the name alone"
	if strings.Contains(s, "*") {
		return "", &Refusal{What: toml.Quote(s) + " is a wildcard, which needs a DNS challenge, and pace cannot answer one", Form: "each name by itself"}
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return "", &Refusal{What: toml.Quote(s) + " is an address", Form: form}
	}
	if strings.Contains(s, "://") {
		return "", &Refusal{What: toml.Redact(s) + " is a URL", Form: form}
	}
	name, bad := hostAlone(s, "")
	if bad == nil && strings.Contains(name, "_") {
		bad = &Refusal{What: toml.Quote(s) + " is not a host name", Form: form}
	}
	return name, bad
}

// email is the address of a mailbox, and nothing more.
func email(s, _ string) (string, *Refusal) {
	a, err := mail.ParseAddress(s)
	switch {
	case err != nil:
		return "", &Refusal{What: toml.Quote(s) + " is not an email address", Form: "NAME@HOST"}
	case a.Address != s:
		return "", &Refusal{What: toml.Quote(s) + " is more than an email address", Form: "the address alone", Instead: a.Address}
	}
	return s, nil
}

// directory is the URL of a certificate authority.
func directory(s, _ string) (string, *Refusal) {
	const form = "https://host/path"
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return "", &Refusal{What: toml.Redact(s) + " is not an https URL", Form: form}
	case u.User != nil:
		u.User = nil
		return "", &Refusal{What: "credentials in " + toml.Redact(s), Form: form, Instead: u.String()}
	case u.Scheme == "http":
		u.Scheme = "https"
		return "", &Refusal{What: toml.Redact(s) + " is not an https URL", Form: form, Instead: u.String()}
	case u.Fragment != "":
		u.Fragment = ""
		return "", &Refusal{What: "a fragment in " + toml.Redact(s), Form: form, Instead: u.String()}
	}
	return s, nil
}

// folder is a path, and not empty.
func folder(s, sample string) (string, *Refusal) {
	if s == "" {
		return "", &Refusal{What: "the path is empty", Form: "a path", Instead: sample}
	}
	return fileName(s, sample)
}
