package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every command has a page that names it and its flags.
func TestMan(t *testing.T) {
	dir := t.TempDir()
	gateline(t, environment{}, nil, "man", dir).want(t, 0, "", "")
	var check func(*cobra.Command)
	check = func(c *cobra.Command) {
		if c.IsAvailableCommand() && c.Name() != "help" || !c.HasParent() {
			page, err := os.ReadFile(filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1"))
			if err != nil || !strings.Contains(string(page), c.Short) {
				t.Errorf("%s: %v", c.CommandPath(), err)
			}
		}
		for _, child := range c.Commands() {
			check(child)
		}
	}
	check(newRoot(environment{}))
	gateline(t, environment{}, nil, "man", filepath.Join(dir, "gateline.1")).want(t, 1, "", "is no folder")
	gateline(t, environment{}, nil, "man", filepath.Join(dir, "nowhere")).want(t, 1, "", "make the folder first")
}
