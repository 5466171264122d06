package meant

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Boolean is a boolean as TOML writes it; "" if the text is none.
func Boolean(text string) string {
	switch strings.ToLower(text) {
	case "true", "yes", "on", "1":
		return "true"
	case "false", "no", "off", "0":
		return "false"
	}
	return ""
}

var thousands = regexp.MustCompile(`^[+-]?[0-9]{1,3}([,_ ][0-9]{3})+$`)

// Whole is a whole number as TOML writes it.
func Whole(text string) string {
	if thousands.MatchString(text) {
		text = strings.NewReplacer(",", "", "_", "", " ", "").Replace(text)
	}
	if !IsNumber(text) {
		return ""
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n != math.Trunc(n) || math.Abs(n) > 1<<53 {
		return ""
	}
	return strconv.FormatFloat(n, 'f', -1, 64)
}

// units are words for the units of a duration that Go does not know.
var units = map[string]string{
	"":        "s",
	"sec":     "s",
	"secs":    "s",
	"second":  "s",
	"seconds": "s",
	"min":     "m",
	"mins":    "m",
	"minute":  "m",
	"minutes": "m",
	"hour":    "h",
	"hours":   "h",
}

// Duration is text as a duration, in seconds if it names no unit; "" if it is none.
func Duration(text string) string {
	text = strings.ToLower(strings.ReplaceAll(text, " ", ""))
	number := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz")
	if unit, ok := units[text[len(number):]]; ok {
		text = number + unit
	}
	switch d, err := time.ParseDuration(text); {
	case err != nil:
		return ""
	case d == 0:
		return "0s"
	}
	return text
}

// IsNumber reports whether s is a decimal number; ParseFloat alone would take "inf" as well.
func IsNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil && strings.Trim(s, "+-.0123456789") == ""
}
