// Command pace is the HTTP reverse proxy that explains itself. This package is its command line, one verb a file.
// It must not know how a serving process is built, or how the parts work inside.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"pace/cmd/pace/server"
	"pace/config"
)

// Exit codes.
const (
	exitFailed = 1 // pace failed while it ran
	exitUsage  = 2 // the usage or the configuration is wrong
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

// runFailure marks an error of a verb that is not one of usage or configuration.
type runFailure struct{ error }

func (f runFailure) Unwrap() error { return f.error }

func exitCode(err error) int {
	_, verb := errors.AsType[runFailure](err)
	_, serving := errors.AsType[server.Failure](err)
	if verb || serving {
		return exitFailed
	}
	return exitUsage
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "pace",
		Short:         "The HTTP reverse proxy that explains itself",
		Version:       server.Version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noSuchCommand,

		SuggestionsMinimumDistance: 2,

		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetVersionTemplate(versionLine())
	root.AddCommand(runCommand(), checkCommand(), explainCommand(), tailCommand(), demoCommand(), dashboardsCommand(), versionCommand())
	root.AddCommand(orderCommands()...)
	root.SetHelpCommand(helpCommand(root))
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	root.InitDefaultVersionFlag()
	nameUsageErrors(root)
	return root
}

func runCommand() *cobra.Command {
	var watch bool
	c := &cobra.Command{
		Use:   "run [FILE]",
		Short: "Serve, until TERM or INT",
		Long: "Serve as the configuration says. FILE may be - for standard input.\n" +
			"SIGTERM and SIGINT drain: pace waits for the requests in flight; a second one aborts them.\n" +
			"SIGHUP reloads the configuration; one with a fault changes nothing. SIGUSR1 reopens the log file.",
		RunE: func(c *cobra.Command, args []string) error {
			file := fileOf(c, args)
			if watch && file == config.StandardInput {
				return errors.New("--watch needs a file: standard input cannot be read a second time")
			}
			return server.Run(file, watch)
		},
	}
	takeFile(c)
	c.Flags().BoolVar(&watch, "watch", false, "reload the configuration whenever the file changes")
	return c
}

// takeFile lets a command take one configuration file, as an argument or by --config.
func takeFile(c *cobra.Command) {
	c.Flags().String("config", "", "configuration `FILE` (default: $PACE_CONFIG, else config/proxy.toml)")
	c.MarkFlagFilename("config", "toml")
	c.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"toml"}, cobra.ShellCompDirectiveFilterFileExt
	}
	c.Args = func(c *cobra.Command, args []string) error {
		switch {
		case len(args) > 1:
			return fmt.Errorf("expected one FILE, got %d arguments; name one file", len(args))
		case len(args) == 1 && c.Flags().Changed("config"):
			return errors.New("the file is named twice, as an argument and by --config; name it once")
		}
		return nil
	}
}

// fileOf returns the configuration file of a command: the one that is named, else $PACE_CONFIG, else
// config/proxy.toml.
func fileOf(c *cobra.Command, args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	if f := c.Flags().Lookup("config"); f.Changed {
		return f.Value.String()
	}
	return cmp.Or(os.Getenv("PACE_CONFIG"), "config/proxy.toml")
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run:   func(c *cobra.Command, _ []string) { fmt.Fprint(c.OutOrStdout(), versionLine()) },
	}
}

func versionLine() string {
	return fmt.Sprintf("pace %s %s %s/%s\n", server.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
