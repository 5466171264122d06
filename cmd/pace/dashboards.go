package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"pace/dashboards"
)

func dashboardsCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "dashboards --out DIR",
		Short: "Write the dashboard for Grafana and the rules for Prometheus",
		Long: "Write what one looks at when one wonders how pace fares: *.json for Grafana (import it, and\n" +
			"choose the data sources above it) and *.yml for Prometheus (name it under rule_files).\n" +
			"Files of these names are replaced.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if dir == "" {
				return fmt.Errorf("pace dashboards: where to write is missing; name a folder with --out")
			}
			paths, err := dashboards.Write(dir)
			if err != nil {
				return runFailure{err}
			}
			for _, path := range paths {
				fmt.Fprintln(c.OutOrStdout(), path)
			}
			return nil
		},
	}
	c.Flags().StringVar(&dir, "out", "", "folder `DIR` to write to; made if it is not there")
	c.MarkFlagDirname("out")
	return c
}
