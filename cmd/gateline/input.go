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

	"gateline/central/rules"
)

const (
	// pollMS is how often a wait for input looks whether it is still wanted.
	pollMS = 100
	// maxAnswer bounds a line that is typed, bytes, and maxAnswers how many of them
	// one command takes.
	maxAnswer  = 256
	maxAnswers = rules.MaxPerPerson + 4
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

// readLine reads one line, without its end.
func readLine(r *bufio.Reader) (string, error) {
	text, err := r.ReadString('\n')
	if err != nil && !(errors.Is(err, io.EOF) && text != "") {
		return "", err
	}
	return strings.TrimRight(text, "\r\n"), nil
}

// typist gives what a command's flags leave to standard input, a line each, in
// the order in which it is asked for.
type typist struct {
	in     input
	lines  *bufio.Reader
	prompt io.Writer
}

func newTypist(cmd *cobra.Command) *typist {
	in := inputOf(cmd)
	return &typist{in: in, lines: bufio.NewReader(io.LimitReader(in, maxAnswer*maxAnswers)), prompt: cmd.ErrOrStderr()}
}

// line returns the next line; what says what it is, for the prompt on a terminal
// and for errors.
func (t *typist) line(what string) (string, error) {
	if t.in.terminal() {
		fmt.Fprintf(t.prompt, "%s%s: ", strings.ToUpper(what[:1]), what[1:])
	}
	text, err := readLine(t.lines)
	if err != nil {
		return "", fmt.Errorf("read the %s from standard input: %w; give it as one line", what, err)
	}
	return text, nil
}

// credential returns the credential that a flag names: the flag itself, or for
// - the next line.
func (t *typist) credential(what, flag string) (string, error) {
	if flag != "-" {
		return flag, nil
	}
	return t.line(what)
}

// credential returns the credential that a command's only such flag names.
func credential(cmd *cobra.Command, flag string) (string, error) {
	return newTypist(cmd).credential("credential", flag)
}

// confirm asks a person to type a word before something grave. A script must
// have said --yes.
func confirm(cmd *cobra.Command, yes bool, what, word string) error {
	if yes {
		return nil
	}
	return newTypist(cmd).retype(what, word, word, "--yes")
}

// retype is confirm for a word that is shown otherwise, and another flag by which a
// script says that it is meant.
func (t *typist) retype(what, shown, word, flag string) error {
	if !t.in.terminal() {
		return errUsage{fmt.Errorf("%s; say %s if that is meant", what, flag)}
	}
	fmt.Fprintf(t.prompt, "%s.\nType %s to go on: ", what, shown)
	text, err := readLine(t.lines)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the confirmation: %w", err)
	}
	if strings.TrimSpace(text) != word {
		return errNotConfirmed
	}
	return nil
}

var errNotConfirmed = errors.New("not confirmed; nothing has changed")
