package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// nameUsageErrors makes every usage error of a command, and of its subcommands, one line: it begins with
// the command's name and ends with how to get its help.
func nameUsageErrors(c *cobra.Command) {
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usageError(c, err) })
	if args := c.Args; args != nil {
		c.Args = func(c *cobra.Command, given []string) error {
			if err := args(c, given); err != nil {
				return usageError(c, err)
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		nameUsageErrors(sub)
	}
	if c.Name() == "completion" {
		c.Args, c.RunE = cobra.ArbitraryArgs, noSuchShell
	}
}

// usageError returns err between the command's name and how to get its help.
func usageError(c *cobra.Command, err error) error {
	what, _, _ := strings.Cut(err.Error(), ": strconv.") // users need not know how Go parses a flag's value
	if surplus := cobraSurplus.FindStringSubmatch(what); surplus != nil {
		what = "takes no argument, got " + surplus[1]
	}
	return fmt.Errorf("%s: %s; see %q", c.CommandPath(), what, c.CommandPath()+" --help")
}

// cobraSurplus matches the message of cobra.NoArgs, which is wrong for commands without subcommands.
var cobraSurplus = regexp.MustCompile(`^unknown command (".*") for ".*"$`)

// noSuchCommand returns an error for any argument of pace itself: it is a command that does not exist.
func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	what := fmt.Sprintf("unknown command %q", args[0])
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		return fmt.Errorf("%s; did you mean %s?", what, strings.Join(near, " or "))
	}
	return errors.New(what)
}

// noSuchShell returns an error for `pace completion` without the name of a shell that it knows.
func noSuchShell(c *cobra.Command, args []string) error {
	var shells []string
	for _, sub := range c.Commands() {
		shells = append(shells, sub.Name())
	}
	slices.Sort(shells)
	remedy := "; write one of " + strings.Join(shells, ", ")
	if len(args) == 0 {
		return usageError(c, errors.New("the shell is missing"+remedy))
	}
	return usageError(c, fmt.Errorf("unknown shell %q%s", args[0], remedy))
}

// helpCommand returns the command `pace help`, which fails for a command that does not exist.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Print the help of pace, or of one of its commands",
		ValidArgsFunction: func(*cobra.Command, []string, string) (names []string, _ cobra.ShellCompDirective) {
			for _, c := range root.Commands() {
				if c.IsAvailableCommand() {
					names = append(names, c.Name())
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		Args: func(_ *cobra.Command, args []string) error {
			if c, rest, err := root.Find(args); err != nil || c == root && len(rest) > 0 {
				return noSuchCommand(root, args)
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			c, _, err := root.Find(args)
			if err != nil {
				return err
			}
			c.InitDefaultHelpFlag() // so that the help names --help, too
			return c.Help()
		},
	}
}
