package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pace/cmd/pace/match"
	"pace/cmd/pace/vet"
	"pace/proxy/route"
)

func explainCommand() *cobra.Command {
	var header []string
	var r route.Request
	var target string
	var asJSON bool
	c := &cobra.Command{
		Use:   "explain [TRACE_ID | FILE METHOD URL]",
		Short: "Say what happened to a request, or which route would take one",
		Long: "With a trace id, ask a running pace what happened to that request. pace keeps the last interesting requests\n" +
			"in memory. Without an argument, explain the last request that failed.\n\n" +
			"With FILE METHOD URL, say which route of FILE would take a request, why not the others, and what would happen to\n" +
			"it. No running pace is asked. FILE may be - for standard input. URL is https://host/path, or /path alone.",
		Example: "  pace explain\n  pace explain 4278175a7b49fc3c85a78a299452aaf9\n" +
			"  pace explain pace.toml GET https://api.example.com/users/7 -H 'X-Canary: 1'",
		Args: func(c *cobra.Command, args []string) (err error) {
			switch n := len(args); {
			case n < 2 && c.Flags().Changed("header"):
				return errors.New("-H is of the request in FILE METHOD URL; name all three")
			case n == 0:
				return nil
			case n == 1:
				return checkTraceID(args[0])
			case n != 3:
				return fmt.Errorf("expected FILE METHOD URL, got %d arguments", n)
			case asJSON || c.Flags().Changed("admin"):
				return errors.New("--json and --admin ask a running pace; leave FILE METHOD URL out")
			}
			r, target, err = match.Request(args[1], args[2], header)
			return err
		},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) < 3 {
				return explainTrace(c, strings.Join(args, ""), asJSON)
			}
			f, err := vet.Load(args[0])
			if err != nil {
				return err
			}
			match.Explain(c.OutOrStdout(), f, r, target)
			return nil
		},
	}
	takeAdmin(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print the record of the request instead of sentences")
	c.Flags().StringArrayVarP(&header, "header", "H", nil, "a header `FIELD` of the request, 'Name: value'; may be repeated")
	return c
}
