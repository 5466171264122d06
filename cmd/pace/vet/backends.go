package vet

import (
	"slices"
	"strings"

	"pace/config"
	"pace/config/toml"
)

// later are the schemes of backends that pace cannot speak yet.
var later = []string{"https", "h2"}

// backendFaults refuses the backends that pace cannot speak to.
func backendFaults(f *config.File, known []*config.Fault) (faults []*config.Fault) {
	for _, u := range f.InLongForm().Upstreams {
		list := u.Key + ".backends"
		if slices.ContainsFunc(known, func(k *config.Fault) bool { return strings.HasPrefix(k.Key, list+"[") }) {
			continue // a refused backend is not in the list, so the indexes differ from those in the file
		}
		for i, b := range u.Backends {
			if slices.Contains(later, b.Scheme) {
				faults = append(faults, f.Fault(toml.Element(list, i), b.Scheme+" to backends is not supported yet", "write an http:// URL"))
			}
		}
	}
	return faults
}
