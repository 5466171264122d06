package message

import (
	"strconv"
	"strings"
)

// Form is how pace's own response is written.
type Form uint8

const (
	PlainText Form = iota
	HTML
	JSON
)

// Preferred returns the form that the Accept field ranks highest (RFC 9110 §12.5.1). Plain text goes
// before the others where they are equal, and JSON before HTML.
func Preferred(accept []string) Form {
	var plain, html, json quality
	for _, field := range accept {
		for item := range strings.SplitSeq(field, ",") {
			media, parameters, _ := strings.Cut(item, ";")
			q := weight(parameters)
			switch strings.ToLower(strings.TrimSpace(media)) {
			case "text/plain":
				plain.set(3, q)
			case "text/html":
				html.set(3, q)
			case "application/json":
				json.set(3, q)
			case "text/*":
				plain.set(2, q)
				html.set(2, q)
			case "application/*":
				json.set(2, q)
			case "*/*":
				plain.set(1, q)
				html.set(1, q)
				json.set(1, q)
			}
		}
	}
	switch {
	case plain.value >= html.value && plain.value >= json.value:
		return PlainText
	case json.value >= html.value:
		return JSON
	}
	return HTML
}

// quality is the weight that the most specific media range gives.
type quality struct {
	specific int // 0: no range matched
	value    float64
}

func (q *quality) set(specific int, value float64) {
	if specific >= q.specific {
		q.specific, q.value = specific, value
	}
}

// weight reads the parameter q, 1 if there is none, 0 if it is none of 0 to 1.
func weight(parameters string) float64 {
	for p := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, "q") {
			q, err := strconv.ParseFloat(value, 64)
			if err != nil || !(q >= 0 && q <= 1) {
				return 0
			}
			return q
		}
	}
	return 1
}
