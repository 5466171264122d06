package config

import (
	"cmp"
	"slices"
	"strings"

	"pace/config/toml"
)

// Mask is shown in the place of a secret.
const Mask = "***"

// secrets are the values of a file that stand elsewhere, and are not to be shown.
type secrets struct {
	from  map[string]string // by path of the value: the first reference in it; "": it stands for nothing
	texts []string          // the values, and what the references in them stand for
	files []ReferencedFile
	masks *strings.Replacer // nil: nothing is a secret
}

// ReferencedFile is a file that a value refers to.
type ReferencedFile struct {
	Key  string // of the first value that refers to it
	Path string
}

// ReferencedFiles returns the files that the configuration refers to, also those that cannot be read.
func (f *File) ReferencedFiles() []ReferencedFile { return f.secrets.files }

// IsSecret reports whether the value at a path must not be shown, because it stands elsewhere.
func (f *File) IsSecret(path string) bool { return f.secrets.from[path] != "" }

// Shown returns the value at a path, or the mask.
func (f *File) Shown(path, value string) string {
	if f.IsSecret(path) {
		return Mask
	}
	return value
}

// Masked returns a text without the secrets in it, whatever else it says.
func (f *File) Masked(text string) string { return f.secrets.mask(text) }

func (s *secrets) note(path, from string) {
	if s.from == nil {
		s.from = map[string]string{}
	}
	s.from[path] = from
}

// add notes that the value at a path stands elsewhere. texts are the value, and what its references stand for.
func (s *secrets) add(path string, from reference, texts ...string) {
	s.note(path, from.String())
	s.texts = append(s.texts, texts...)
}

// unresolved notes that the value at a path stands nowhere, which a fault says.
func (s *secrets) unresolved(path string) { s.note(path, "") }

func (s *secrets) isUnresolved(path string) bool {
	from, ok := s.from[path]
	return ok && from == ""
}

// minMasked is the length of the shortest text that is masked where it occurs in a message: a shorter one occurs by
// chance.
const minMasked = 4

// learn makes masks of the texts, in every form in which a message may have them.
func (s *secrets) learn() {
	forms := map[string]bool{}
	for _, text := range s.texts {
		for _, form := range []string{text, strings.ToLower(text), clipped(text), inQuotes(text), inQuotes(clipped(text))} {
			forms[form] = len(form) >= minMasked
		}
	}
	var pairs []string
	for form, counts := range forms {
		if counts {
			pairs = append(pairs, form)
		}
	}
	slices.SortFunc(pairs, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	if len(pairs) == 0 {
		return
	}
	var all []string
	for _, form := range pairs {
		all = append(all, form, Mask)
	}
	s.masks = strings.NewReplacer(all...)
}

// clipped is what a message shows of a long text, without the mark for the rest.
func clipped(text string) string { return strings.TrimSuffix(toml.Clip(text), "…") }

// inQuotes is a text as it stands between quotes.
func inQuotes(text string) string {
	quoted := toml.Quote(text)
	return quoted[1 : len(quoted)-1]
}

// mask takes the texts of secrets out of a message.
func (s *secrets) mask(message string) string {
	if s.masks == nil {
		return message
	}
	return s.masks.Replace(message)
}

// refusal is what a fault says of a value that must not be shown: only where it comes from.
func (s *secrets) refusal(path string) string {
	return "what " + s.from[path] + " stands for is refused, and not shown, because it may be a secret"
}
