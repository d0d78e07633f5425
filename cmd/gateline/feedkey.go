package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"gateline/gateway"
	"gateline/internal/keyfile"
)

// newFeedKey is the command that makes the keys the centre signs with. It prints
// public keys only.
func newFeedKey() *cobra.Command {
	c := group("feed-key", "Make and show the keys with which the centre signs its feed",
		&cobra.Command{
			Use:   "new FILE",
			Short: "Make a key file with a city's first key",
			Long: "Makes FILE, readable by its owner alone, with a new secret in it, and prints the\n" +
				"public key. A file that is there already is left as it is.",
			Args: cobra.ExactArgs(1),
			RunE: makesKey(keyfile.MakeFeedFile, func(key gateway.FeedKey) string {
				return fmt.Sprintf("Keep a copy of the file in a safe place: without it every box has to load everything\n"+
					"anew. Into the configuration of every box:\n\n  [feed]\n  keys = [%q]\n", key)
			}),
		},
		&cobra.Command{
			Use:   "add FILE",
			Short: "Put the next key into a key file",
			Long: "Adds a new secret to FILE, for a rotation, and prints the public key. The key in\n" +
				"force goes on signing until 'gateline ops feed rotate-key' says otherwise.",
			Args: cobra.ExactArgs(1),
			RunE: makesKey(keyfile.AddFeedSecret, func(key gateway.FeedKey) string {
				return fmt.Sprintf("Keep a copy of the file. Start the centre again, so that it reads it; then:\n\n  gateline ops feed rotate-key %v\n", key)
			}),
		},
		&cobra.Command{
			Use:   "show FILE",
			Short: "Show the public keys of a key file, oldest first",
			Args:  cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				secrets, err := keyfile.ReadFeedSecrets(args[0])
				if err != nil {
					return err
				}
				for _, s := range secrets {
					printKey(cmd.OutOrStdout(), s.Public())
				}
				return nil
			},
		})
	c.Long = "The centre signs every entry of its feed with a secret key; every box knows the\n" +
		"public one and believes nothing else. Which key is in force: gateline ops stats.\n" +
		"How to rotate, and what to do after a loss or a theft: docs/OPERATIONS.md."
	return c
}

// makesKey returns the RunE that makes a key, puts it into the file by put and
// says what comes next.
func makesKey(put func(string, gateway.FeedSecret) error, next func(gateway.FeedKey) string) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		secret := keyfile.NewFeedSecret()
		if err := put(args[0], secret); err != nil {
			return err
		}
		printKey(cmd.OutOrStdout(), secret.Public())
		fmt.Fprint(cmd.ErrOrStderr(), next(secret.Public()))
		return nil
	}
}

func printKey(out io.Writer, key gateway.FeedKey) { fmt.Fprintf(out, "%v  (id %v)\n", key, key.ID()) }
