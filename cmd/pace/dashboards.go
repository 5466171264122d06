package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"pace/dashboards"
)

func dashboardsCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "dashboards --out DIR",
		Short: "Write the Grafana dashboard and the Prometheus rules",
		Long: "Write the Grafana dashboard and the Prometheus rules: *.json for Grafana (import it, and choose\n" +
			"the data sources at its top) and *.yml for Prometheus (name it under rule_files).\n" +
			"Files of these names are replaced.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if dir == "" {
				return usageError(c, errors.New("no folder to write to; name one with --out DIR"))
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
	c.Flags().StringVar(&dir, "out", "", "folder `DIR` to write to; created if it does not exist")
	c.MarkFlagDirname("out")
	return c
}
