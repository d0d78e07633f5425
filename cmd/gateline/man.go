package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newMan writes the manual, a page for each command, from the texts of --help.
func newMan() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages",
		Long:  "Writes a manual page for each command into DIR, which has to exist:\n\n  gateline man /usr/local/share/man/man1 && man gateline-ops-import",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := args[0]
			if info, err := os.Stat(dir); err != nil {
				return fmt.Errorf("write the manual pages: %w; make the folder first", err)
			} else if !info.IsDir() {
				return fmt.Errorf("write the manual pages: %s is no folder; name one that is there", dir)
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true // no date: the same build gives the same pages
			header := &doc.GenManHeader{Section: "1", Source: versionText(), Manual: "Gateline"}
			if err := doc.GenManTree(root, header, dir); err != nil {
				return fmt.Errorf("write the manual pages to %s: %w; see to the folder's permissions and the disk", dir, err)
			}
			return nil
		},
	}
}
