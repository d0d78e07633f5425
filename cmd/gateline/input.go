package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

const (
	// pollMS is how often a wait for input looks whether it is still wanted.
	pollMS = 100
	// maxAnswer bounds a line that is typed, bytes.
	maxAnswer = 256
)

// input is standard input as long as ctx lasts: a read that waits for a
// terminal or a pipe ends with ctx, which a plain read would not.
type input struct {
	ctx context.Context
	in  io.Reader
}

func inputOf(cmd *cobra.Command) input { return input{cmd.Context(), cmd.InOrStdin()} }

// terminal reports whether a person sits at the other end.
func (i input) terminal() bool {
	f, ok := i.in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Read implements io.Reader.
func (i input) Read(b []byte) (int, error) {
	if f, ok := i.in.(*os.File); ok {
		if err := i.await(int(f.Fd())); err != nil {
			return 0, err
		}
	}
	return i.in.Read(b)
}

// await returns once fd can be read without waiting.
func (i input) await(fd int) error {
	set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for i.ctx.Err() == nil {
		n, err := unix.Poll(set, pollMS)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for standard input: %w", err)
		case n > 0:
			return nil
		}
	}
	return i.ctx.Err()
}

// line reads one line, without its end.
func (i input) line() (string, error) {
	text, err := bufio.NewReader(io.LimitReader(i, maxAnswer)).ReadString('\n')
	if err != nil && !(errors.Is(err, io.EOF) && text != "") {
		return "", err
	}
	return strings.TrimRight(text, "\r\n"), nil
}

// credential returns the credential that a flag names: the flag itself, or for
// - the first line of standard input.
func credential(cmd *cobra.Command, flag string) (string, error) {
	if flag != "-" {
		return flag, nil
	}
	in := inputOf(cmd)
	if in.terminal() {
		fmt.Fprint(cmd.ErrOrStderr(), "Credential: ")
	}
	text, err := in.line()
	if err != nil {
		return "", fmt.Errorf("read the credential from standard input: %w; give it as one line", err)
	}
	return text, nil
}

// confirm asks a person to type a word before something grave. A script must
// have said --yes.
func confirm(cmd *cobra.Command, yes bool, what, word string) error {
	in := inputOf(cmd)
	switch {
	case yes:
		return nil
	case !in.terminal():
		return errUsage{fmt.Errorf("%s; say --yes if that is meant", what)}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s.\nType %s to go on: ", what, word)
	text, err := in.line()
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the confirmation: %w", err)
	}
	if strings.TrimSpace(text) != word {
		return errors.New("not confirmed; nothing has changed")
	}
	return nil
}
