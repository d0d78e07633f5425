// Command gateline is the box of a metro station, the centre it follows, and
// everything around them: operation, simulation, checks. This folder holds
// flags, signals and exit codes; the rest is in the packages it calls.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the build (-ldflags "-X main.version=…").
var version = ""

// Exit codes: 0 well, 1 failed, 2 called wrongly.
const (
	exitFailed = 1
	exitUsage  = 2
)

// errUsage marks an error of the command line itself.
type errUsage struct{ error }

func (e errUsage) Unwrap() error { return e.error }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// Whoever presses Ctrl-C a second time does not want to wait.
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process around it.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	return runWith(ctx, readEnvironment(), args, os.Stdin, out, errOut)
}

// environment is all that the command takes from environment variables.
type environment struct {
	// credentials is the folder in which systemd puts keys; empty = none.
	credentials string
	// server is the address of the centre; empty = the default.
	server string
	// plain forbids colours, https://no-color.org.
	plain bool
}

func readEnvironment() environment {
	return environment{credentials: os.Getenv("CREDENTIALS_DIRECTORY"), server: os.Getenv("GATELINE_SERVER"), plain: os.Getenv("NO_COLOR") != ""}
}

// tokenKeyFile returns where systemd puts the token key, or other where the
// process was not started by systemd with credentials.
func (e environment) tokenKeyFile(other string) string { return e.credential("token-key", other) }

// feedKeyFile is tokenKeyFile for the secrets that sign the feed.
func (e environment) feedKeyFile(other string) string { return e.credential("feed-key", other) }

// linkFile is tokenKeyFile for what both ends of the link are let in by.
func (e environment) linkFile(other string) string { return e.credential("link", other) }

func (e environment) credential(name, other string) string {
	if e.credentials == "" {
		return other
	}
	return filepath.Join(e.credentials, name)
}

func runWith(ctx context.Context, env environment, args []string, in io.Reader, out, errOut io.Writer) int {
	root := newRoot(env)
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	complete(root)
	err := root.ExecuteContext(ctx)
	var usage errUsage
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errReported):
		return exitFailed
	case errors.As(err, &usage):
		fmt.Fprintf(errOut, "gateline: %v\nSee 'gateline --help'.\n", err)
		return exitUsage
	}
	fmt.Fprintf(errOut, "gateline: %v\n", err)
	return exitFailed
}

// errReported is returned by a command that has said everything already.
var errReported = errors.New("failed")

func newRoot(env environment) *cobra.Command {
	root := &cobra.Command{
		Use:           "gateline",
		Short:         "Tells every gate of a station whether the rider in front of it may pass",
		Version:       versionText(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          showHelp,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return errUsage{err} })
	root.AddCommand(newStation(env), newSwitch(), newLine(env), newCheck(env), newOSDP(env), newCentral(env), newOps(env), newFleet(env), newFeedKey(), newLinkKey(),
		newInspect(), newSimulate(), newDemo(), newMan())
	return root
}

// group is a command that only holds others. Without Args and RunE cobra takes
// a subcommand it does not know for a wish for help.
func group(use, short string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: showHelp}
	c.AddCommand(children...)
	return c
}

func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// complete adds what cobra would add only as it executes, so that wrong
// arguments are an errUsage there too.
func complete(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "completion":
			c.RunE = showHelp
		case "help":
			c.Args = func(_ *cobra.Command, args []string) error {
				if _, rest, err := root.Find(args); err != nil || len(rest) > 0 {
					return fmt.Errorf("there is no command %q", args)
				}
				return nil
			}
		}
	}
	wrapArgs(root)
}

// wrapArgs makes wrong arguments an errUsage for every command below c.
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return errUsage{err}
			}
			return nil
		}
	}
	for _, child := range c.Commands() {
		wrapArgs(child)
	}
}

// versionText is the version with the Go version it was built with.
func versionText() string {
	v := version
	info, ok := debug.ReadBuildInfo()
	if v == "" && ok {
		v = info.Main.Version
	}
	if v == "" || v == "(devel)" {
		v = "development"
	}
	if !ok {
		return "gateline " + v
	}
	return "gateline " + v + " " + info.GoVersion
}
