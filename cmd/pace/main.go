// Command pace is the HTTP reverse proxy that explains itself. This package is its command line;
// it builds the parts from a configuration and knows nothing of how they work inside.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"pace/config"
)

// version is what `pace version`, the metrics and the traces say.
const version = "0.1.0"

// Exit codes.
const (
	exitFailed = 1 // at run time
	exitUsage  = 2 // bad usage or configuration
)

func main() {
	err := command().Execute()
	if err == nil {
		return
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(os.Stderr, strings.TrimSuffix(line, "\n"))
	}
	os.Exit(exitCode(err))
}

// runFailure marks an error of running, as against one of usage or configuration.
type runFailure struct{ error }

func (f runFailure) Unwrap() error { return f.error }

func exitCode(err error) int {
	if _, ok := errors.AsType[runFailure](err); ok {
		return exitFailed
	}
	return exitUsage
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "pace",
		Short:         "The HTTP reverse proxy that explains itself",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.AddCommand(runCommand(), checkCommand(), demoCommand(), dashboardsCommand(), versionCommand())
	return root
}

func runCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "run",
		Short: "Serve, until TERM or INT",
		Long: "Serve as the configuration says. TERM and INT drain: requests in flight finish (a second\n" +
			"one ends at once). USR1 reopens the log file. HUP changes nothing yet.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			f, err := load(file)
			if err != nil {
				return err
			}
			return run(f)
		},
	}
	c.Flags().StringVar(&file, "config", defaultFile(), "configuration `FILE`; PACE_CONFIG is the default's default")
	c.MarkFlagFilename("config", "toml")
	return c
}

// defaultFile is the configuration when no flag names one.
func defaultFile() string {
	if f := os.Getenv("PACE_CONFIG"); f != "" {
		return f
	}
	return "config/proxy.toml"
}

func checkCommand() *cobra.Command {
	var defaults bool
	c := &cobra.Command{
		Use:   "check FILE",
		Short: "Validate a configuration without starting",
		Args: func(c *cobra.Command, args []string) error {
			if defaults {
				return cobra.NoArgs(c, args)
			}
			return cobra.ExactArgs(1)(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			if defaults {
				return config.WriteDefaults(c.OutOrStdout())
			}
			if _, err := load(args[0]); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: fine\n", args[0])
			return nil
		},
	}
	c.Flags().BoolVar(&defaults, "defaults", false, "print every key with its default and meaning, as a file that passes")
	return c
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run: func(c *cobra.Command, _ []string) {
			fmt.Fprintf(c.OutOrStdout(), "pace %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}
