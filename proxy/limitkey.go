package proxy

import (
	"slices"

	"pace/limiter"
)

// keyKind is what tells the clients of a limit apart: its word in the configuration and in telemetry, and how
// the key of a request is made.
type keyKind struct {
	word string
	key  func(*request) limiter.Key // the zero Key: the limit does not apply to the request
}

// keyKinds has every kind of key. The first one is the default.
var keyKinds = []keyKind{
	{"client_ip", func(q *request) limiter.Key { return limiter.ClientIP(q.asked.Client) }},
}

// KeyKinds returns the words of all kinds of keys.
func KeyKinds() (words []string) {
	for _, k := range keyKinds {
		words = append(words, k.word)
	}
	return words
}

// keyKindOf returns the kind that has this word; "" is the default.
func keyKindOf(word string) *keyKind {
	if word == "" {
		return &keyKinds[0]
	}
	i := slices.IndexFunc(keyKinds, func(k keyKind) bool { return k.word == word })
	if i < 0 {
		panic("pace: BUG: no kind of limit key is called " + word)
	}
	return &keyKinds[i]
}
