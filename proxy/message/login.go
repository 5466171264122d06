package message

import (
	"slices"
	"strings"
)

// connectionBound are the schemes whose login holds for the connection instead of the request, in lower
// case: whoever sends the next request on it is taken for the one who logged in.
var connectionBound = []string{"ntlm", "negotiate", "nego2", "kerberos", "credssp"}

// BindsConnection reports whether a request with these Authorization fields logs in for its connection:
// in answer to a backend's challenge, or ahead of one.
func BindsConnection(authorization []string) bool {
	for _, field := range authorization {
		field = strings.TrimLeft(field, " \t")
		scheme := field
		if end := strings.IndexAny(field, " \t,"); end >= 0 {
			scheme = field[:end]
		}
		if slices.ContainsFunc(connectionBound, func(s string) bool { return strings.EqualFold(s, scheme) }) {
			return true
		}
	}
	return false
}
