package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"pace/cmd/pace/vet"
	"pace/config"
	"pace/dashboards"
)

func dashboardsCommand() *cobra.Command {
	var dir, file string
	c := &cobra.Command{
		Use:   "dashboards --out DIR [--config FILE]",
		Short: "Write the Grafana dashboard and the Prometheus rules",
		Long: "Write the Grafana dashboard and the Prometheus rules: *.json for Grafana (import it, and choose\n" +
			"the data sources at its top) and *.yml for Prometheus (name it under rule_files).\n" +
			"With --config they are for the routes of that configuration, and the alert about slow routes has the\n" +
			"limit of each. Files of these names are replaced.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if dir == "" {
				return usageError(c, errors.New("no folder to write to; name one with --out DIR"))
			}
			routes, err := dashboardRoutes(c, file)
			if err != nil {
				return err
			}
			paths, err := dashboards.Write(dir, routes)
			if err != nil {
				return runFailure{err}
			}
			for _, path := range paths {
				fmt.Fprintln(c.OutOrStdout(), path)
			}
			return nil
		},
	}
	c.Flags().StringVar(&dir, "out", "", "folder `DIR` to write to; created if it does not exist")
	c.MarkFlagDirname("out")
	c.Flags().StringVar(&file, "config", "", "configuration `FILE` whose routes are shown; - reads standard input")
	c.MarkFlagFilename("config", "toml")
	return c
}

// dashboardRoutes returns the routes of a configuration; none without a file. It warns of a pace whose histograms
// have nothing to show.
func dashboardRoutes(c *cobra.Command, file string) (routes []dashboards.Route, err error) {
	if file == "" {
		return nil, nil
	}
	f, err := vet.Load(file)
	if err != nil {
		return nil, err
	}
	if f.Metrics.NativeHistograms {
		fmt.Fprintln(c.ErrOrStderr(), config.Join(nil, f.Fault("metrics.native_histograms",
			"warning: the dashboard and the rules read classic histograms, and this pace has none",
			`remove it, or change the queries as docs/interface.md says under "Native histograms"`)))
	}
	for _, r := range f.InLongForm().Routes {
		slow := f.Tracing.Keep.Slow
		if r.Slow != nil {
			slow = *r.Slow
		}
		routes = append(routes, dashboards.Route{Name: cmp.Or(r.Name, r.Match), Slow: slow})
	}
	return routes, nil
}
