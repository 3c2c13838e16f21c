package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"framekeeper/internal/text"
)

// UsageError is a mistake in the command line or the configuration: starting the
// program again without a change is pointless.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// Usage makes a usage error of err, and nil of nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return &UsageError{err}
}

// Usagef is a usage error with a text of its own.
func Usagef(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

// IsUsage reports whether err is a usage error.
func IsUsage(err error) bool {
	var usage *UsageError
	return errors.As(err, &usage)
}

// Root completes a program's root command: --config into config, --version, and
// errors that are returned as one line instead of printed with a page of usage.
// It sets none of cobra's templates: with text/template in use the linker leaves
// out no method of any package, which makes a program larger by 12 MB.
func Root(cmd *cobra.Command, config *string) *cobra.Command {
	cmd.Version = Version()
	cmd.SilenceUsage = true
	cmd.SilenceErrors = true
	cmd.PersistentFlags().StringVar(config, "config", "config.toml", "the configuration `FILE`")
	cmd.CompletionOptions.HiddenDefaultCmd = true
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return Usagef("%w; see %s --help", err, cmd.CommandPath())
	})
	return cmd
}

// doubleDashes replaces the single-dash long flags (-config FILE) that programs
// without a group of commands accepted until now, and yields a hint that names the new
// spellings. The next release accepts them no longer.
func doubleDashes(root *cobra.Command, args []string) (replaced []string, hint string) {
	if root.Annotations[group] != "" || len(args) > 0 && slices.ContainsFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == args[0] }) {
		return args, ""
	}
	var before, now []string
	isValue := false // of the flag before it
	for i, arg := range args {
		if arg == "--" {
			replaced = append(replaced, args[i:]...)
			break
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		flag := root.Flags().Lookup(name)
		if flag == nil {
			flag = root.PersistentFlags().Lookup(name)
		}
		if flag != nil && !isValue && len(name) > 1 && strings.HasPrefix(arg, "-") && !strings.HasPrefix(arg, "--") {
			before, now = append(before, "-"+name), append(now, "--"+name)
			arg = "-" + arg
		}
		isValue = !isValue && flag != nil && strings.HasPrefix(arg, "--") && !hasValue && flag.NoOptDefVal == ""
		replaced = append(replaced, arg)
	}
	if len(now) > 0 {
		hint = fmt.Sprintf("write %s instead of %s, which the next release rejects", strings.Join(now, " "), strings.Join(before, " "))
	}
	return replaced, hint
}

// group marks the commands that Group has completed.
const group = "group"

// Group completes a command that only holds others: it prints its help, and
// rejects what is none of its commands.
func Group(cmd *cobra.Command) *cobra.Command {
	cmd.Annotations = map[string]string{group: "yes"}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() } // without it Args is not checked
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		var names []string
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				names = append(names, c.Name())
			}
		}
		return Usagef("unknown command %q; %s has %s", args[0], cmd.CommandPath(), strings.Join(names, ", "))
	}
	return cmd
}

// Args demands one argument for each of what, the names of the arguments.
func Args(what ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(what):
			return Usagef("%s: the %s is missing: expected %s", cmd.Name(), what[len(args)], cmd.UseLine())
		case len(args) > len(what):
			return Usagef("unexpected argument %.80q; see %s --help", args[len(what)], cmd.CommandPath())
		}
		return nil
	}
}

// WriteJSON prints v as one line of JSON that can command no terminal.
func WriteJSON(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode json: %w", err)
	}
	_, err = w.Write(append(text.EscapeJSON(b), '\n'))
	return err
}

// OneLine is an error's text without line breaks and control characters.
func OneLine(err error) string {
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' })
	return text.Printable(strings.Join(lines, "; "), 0)
}
