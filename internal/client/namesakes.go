package client

import (
	"errors"
	"fmt"
	"io"

	"framekeeper/internal/control"
	"framekeeper/internal/text"
)

const ownNames = "give each box a [controller] box of its own"

// printAnswers prints what has been answered; where several controllers have the
// box's name and none was chosen, with who it was.
func (a *app) printAnswers(answers *control.Answers, chosen, asJSON bool) error {
	several := answers.Controllers() > 1 && !chosen && !asJSON
	for _, r := range answers.Replies {
		if several {
			line := "controller " + text.Printable(r.Shown(), 0) + ":\n"
			if err := r.Err(); err != nil {
				line += text.Printable(err.Error(), 0) + "\n"
			}
			if _, err := io.WriteString(a.stdout, line); err != nil {
				return err
			}
		}
		if err := a.printReply(r, asJSON); err != nil {
			return err
		}
		if several {
			if _, err := io.WriteString(a.stdout, "\n"); err != nil {
				return err
			}
		}
	}
	if !several {
		return nil
	}
	for _, s := range answers.Silent {
		if _, err := fmt.Fprintf(a.stdout, "controller %s:\nhas not answered\n\n", text.Printable(s.Shown(), 0)); err != nil {
			return err
		}
	}
	return nil
}

// controlVerdict is what a call has come to. Several controllers of one name are
// an error whatever they say, unless one of them was chosen.
func (a *app) controlVerdict(box string, chosen bool, answers *control.Answers) error {
	first, n := answers.Replies[0], answers.Controllers()
	if n > 1 && !chosen {
		return errors.New("box " + box + ": " + shared(answers))
	}
	switch {
	case n > 1:
		_, _ = fmt.Fprintf(a.stderr, "box %s: %d controllers have this name: %s\n", box, n, ownNames) // the answer counts
	case answers.Listeners > 1 && !chosen:
		_, _ = fmt.Fprintf(a.stderr, "box %s: %d listen to its commands, and only one has answered\n", box, answers.Listeners)
	}
	if err := first.Err(); err != nil {
		return fmt.Errorf("box %s: %w", box, err)
	}
	return nil
}

// shared says what has come of a command that went to several.
func shared(answers *control.Answers) string {
	line := fmt.Sprintf("%d controllers have this name", answers.Controllers())
	done, example := 0, ""
	for _, r := range answers.Replies {
		if r.Status == control.OK {
			done++
		}
		if example == "" && r.Instance != "" {
			example = ", or choose one, such as --instance " + text.Printable(r.Instance, 0)
		}
	}
	if command := answers.Replies[0].Command; command != control.Status {
		line += fmt.Sprintf(", and %d of them carried out %s", done, text.Printable(command, 0))
	}
	return line + ": " + ownNames + example
}
