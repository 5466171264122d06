package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pace/cmd/pace/vet"
	"pace/config"
	"pace/config/show"
)

func checkCommand() *cobra.Command {
	var defaults, schema bool
	var other string
	c := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Validate a configuration without starting",
		Long: "Validate a configuration without starting. FILE may be - for standard input.\n" +
			"What does no harm, or may be meant, is a warning on standard error.",
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case defaults:
				return config.WriteDefaults(c.OutOrStdout())
			case schema:
				return config.WriteSchema(c.OutOrStdout(), vet.Words())
			case c.Flags().Changed("diff"):
				return printChanges(c.OutOrStdout(), fileOf(c, args), other)
			}
			return check(c, fileOf(c, args))
		},
	}
	takeFile(c)
	c.Flags().BoolVar(&defaults, "defaults", false, "print every key with its default and meaning, as a file that passes")
	c.Flags().BoolVar(&schema, "schema", false, "print a JSON Schema of all keys, for editors")
	c.Flags().StringVar(&other, "diff", "", "print what a reload from FILE to `OTHER` would change")
	c.MarkFlagFilename("diff", "toml")
	one := c.Args
	c.Args = func(c *cobra.Command, args []string) error {
		if given := givenFlags(c, "defaults", "schema", "diff"); len(given) > 1 {
			return fmt.Errorf("%s cannot be combined; name one of them", strings.Join(given, " and "))
		}
		for _, flag := range []string{"defaults", "schema"} {
			if c.Flags().Changed(flag) && (len(args) > 0 || c.Flags().Changed("config")) {
				return fmt.Errorf("--%s reads no file; name either the file or --%[1]s", flag)
			}
		}
		return one(c, args)
	}
	return c
}

// givenFlags returns those of the flags that are given.
func givenFlags(c *cobra.Command, names ...string) (given []string) {
	for _, name := range names {
		if c.Flags().Changed(name) {
			given = append(given, "--"+name)
		}
	}
	return given
}

// check validates one file. It prints the warnings, and returns the faults as an error.
func check(c *cobra.Command, file string) error {
	f, err := vet.Load(file)
	if err != nil {
		return err
	}
	if warnings := config.Join(nil, slices.Concat(f.Warnings(), vet.Holes(f), vet.LooseKeys(f), vet.LooseStorage(f))...); warnings != nil {
		fmt.Fprintln(c.ErrOrStderr(), warnings)
	}
	fmt.Fprintf(c.OutOrStdout(), "%s: fine\n", file)
	return nil
}

// printChanges prints what a reload from one file to another would change, one change on each line.
func printChanges(w io.Writer, from, to string) error {
	if from == config.StandardInput && to == config.StandardInput {
		return errors.New("standard input can be read only once; name a file for one of the two")
	}
	was, err := vet.Load(from)
	is, err2 := vet.Load(to)
	if err = errors.Join(err, err2); err != nil {
		return err
	}
	changes := show.Changes(was, is)
	for _, change := range changes {
		fmt.Fprint(w, change)
		if change.Restart != "" {
			fmt.Fprintf(w, "; a reload refuses it, because %s", change.Restart)
		}
		fmt.Fprintln(w)
	}
	if len(changes) == 0 {
		fmt.Fprintln(w, "no change")
	}
	return nil
}
