package main

import "pace/config"

// unwired reports what the configuration can say and no part of pace acts on yet, so that nothing in a file
// is without effect. Whoever makes a key work takes its lines away here.
func unwired(f *config.File) (faults []*config.Fault) {
	refuse := func(key string) {
		if f.Line(key) > 0 {
			faults = append(faults, f.Fault(key, "not yet supported by this version of pace", "remove it"))
		}
	}
	for _, r := range f.Routes {
		for _, leaf := range []string{"sample_ratio", "log"} {
			refuse(r.Key + "." + leaf)
		}
	}
	return faults
}
