package config

import "slices"

// looseTLS warns of what weakens TLS to backends, and of what has no effect.
func (f *File) looseTLS(u *Upstream) (all []*Fault) {
	table := u.Key + ".tls"
	verify, ca := table+".verify", table+".ca"
	switch {
	case !slices.ContainsFunc(u.Backends, Backend.UsesTLS):
		if f.lines[table] > 0 {
			all = append(all, f.Fault(table, "warning: has no effect, because no backend of the upstream is https:// or h2://", "write https:// for the backends that speak TLS, or remove it"))
		}
	case !u.TLS.Verify:
		all = append(all, f.Fault(verify, "warning: anybody on the way to the backends can pass for them, and read and change what is sent", "remove it, and name in ca the file of who signs their certificates"))
		if u.TLS.CA != "" {
			all = append(all, f.Fault(ca, "warning: has no effect, because verify is false", "remove one of the two"))
		}
	}
	return all
}

// UnverifiedUpstreams returns the names of the upstreams that take any certificate for that of a backend.
func (f *File) UnverifiedUpstreams() (names []string) {
	for _, u := range f.InLongForm().Upstreams {
		if !u.TLS.Verify && slices.ContainsFunc(u.Backends, Backend.UsesTLS) {
			names = append(names, u.Name)
		}
	}
	return names
}
