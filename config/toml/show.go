package toml

import (
	"strconv"
	"strings"
	"unicode"
)

// Quote shows a value on one line of bounded length.
func Quote(s string) string { return strconv.Quote(Clip(s)) }

// Clip shortens what is shown of a name or value.
func Clip(s string) string {
	const limit = 100 // bytes
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}

// Redact is Quote without the credentials of a URL, since faults go to terminals and logs.
func Redact(s string) string {
	end := strings.LastIndexByte(s, '@')
	if end < 0 {
		return Quote(s)
	}
	scheme, _, ok := strings.Cut(s[:end], "://")
	if !ok {
		return Quote("…" + s[end:])
	}
	return Quote(scheme + "://…" + s[end:])
}

// printable keeps the file's control characters out of terminals.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// Describe returns how faults describe a value of a file.
func Describe(raw any) string {
	switch v := raw.(type) {
	case string:
		return "the string " + Redact(v)
	case int64:
		return "the integer " + strconv.FormatInt(v, 10)
	case float64:
		s := strconv.FormatFloat(v, 'g', -1, 64)
		if strings.Trim(s, "-0123456789") == "" {
			s += ".0" // as it was written, or else it looks like an integer
		}
		return "the decimal number " + s
	case bool:
		return "the boolean " + strconv.FormatBool(v)
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	case []map[string]any:
		return "an array of tables"
	default:
		return "a date or time"
	}
}
