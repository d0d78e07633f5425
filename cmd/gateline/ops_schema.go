package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"gateline/central"
)

func newSchema(o *ops) *cobra.Command {
	return &cobra.Command{
		Use:   "schema [VERB]",
		Short: "Show what the centre's services take and answer, as JSON Schemas",
		Long: "Shows the JSON Schemas (draft 2020-12) of the requests and replies of a verb, such as\n" +
			"card.bind, or of a subject, for whoever writes a client of the centre. Without a verb\n" +
			"it lists all, with --json all schemas in one array. The centre is not asked: a program\n" +
			"gets the same from the verb schema of each service.",
		Example: "  gateline ops schema upgrade",
		Args:    cobra.MaximumNArgs(1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			all, err := central.Schemas()
			if err != nil || len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, s := range all {
				names = append(names, s.Verb)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := central.Schemas()
			if err != nil {
				return err
			}
			if len(args) == 0 && !o.json {
				table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(table, "VERB\tSUBJECT (* = the channel)")
				for _, s := range all {
					fmt.Fprintf(table, "%s\t%s\n", s.Verb, s.Subject)
				}
				return table.Flush()
			}
			out := json.NewEncoder(cmd.OutOrStdout())
			out.SetIndent("", " ")
			if len(args) == 0 {
				return out.Encode(all)
			}
			named := slices.DeleteFunc(all, func(s central.VerbSchema) bool { return s.Verb != args[0] && s.Subject != args[0] })
			if len(named) == 0 {
				return errUsage{fmt.Errorf("there is no verb %.40q; 'gateline ops schema' lists all", args[0])}
			}
			for _, s := range named { // both services have a verb schema
				if err := out.Encode(s); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
