// Package meant says what a text was most likely meant to be: which of the known words, or which number. It must
// not know the keys, or how a file is read.
package meant

import "strings"

// Word is the word that a name was likely meant to be; "" if none is close.
func Word(name string, known []string) (best string) {
	if len(name) > 100 {
		return ""
	}
	nearest := Slack(name) + 1
	for _, k := range known {
		if d := Distance(strings.ToLower(name), strings.ToLower(k)); d < nearest {
			best, nearest = k, d
		}
	}
	return best
}

// Slack is how many typing errors a name may have and still be recognised.
func Slack(s string) int { return max(1, len(s)/3) }

// Distance is how many letters must be inserted, removed, changed or swapped with the next one to turn a
// into b (optimal string alignment).
func Distance(a, b string) int {
	two, one := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range one {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := one[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, one[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], two[j-2]+1)
			}
		}
		two, one = one, row
	}
	return one[len(b)]
}
