package client

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"errors"

	"framekeeper/internal/agentapi"
	"framekeeper/internal/control"
	"framekeeper/internal/status"
	"framekeeper/internal/text"
	"framekeeper/pkg/frame"
)

// replyText is what came of a command: the answer for programs, or its result for
// people. Its error is not in it.
func replyText(r *control.Reply, asJSON bool) (string, error) {
	if asJSON {
		b, err := json.Marshal(r)
		return string(text.EscapeJSON(b)) + "\n", err
	}
	if r.Result == nil {
		return "", nil
	}
	switch r.Command {
	case control.Status:
		return shown(r.Result, boxTable)
	case control.Events:
		return shown(r.Result, eventsText)
	case control.Reload:
		return shown(r.Result, reloadText)
	case control.Set:
		return shown(r.Result, settingsText)
	default:
		return shown(r.Result, agentText)
	}
}

// shown decodes a result and shows it.
func shown[T any](result json.RawMessage, show func(*T) string) (string, error) {
	var v T
	if err := frame.Decode(result, &v); err != nil {
		return "", fmt.Errorf("read result: %w", err)
	}
	return show(&v), nil
}

func boxTable(s *status.Box) string {
	var b strings.Builder
	fmt.Fprintf(&b, "box %s, version %s, up %s, link LIVE for %s\nconfiguration %s, loaded %s ago\n",
		text.Printable(s.Box, 0), text.Printable(s.Version, 0), seconds(s.UptimeS), seconds(s.LinkS), text.Printable(s.Config, 0), seconds(s.LoadedS))
	b.WriteByte('\n')
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "CAMERA\tHEALTH\tSTATE\tFOR\tPID\tRESTARTS\tLINK\tCAPTURE\tTROUBLE")
	for _, c := range s.Cameras {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", text.Printable(c.Name, 0), text.Printable(string(c.Health), 0), text.Printable(string(c.State), 0), seconds(c.ForS), c.PID, c.Restarts,
			text.Printable(cmp.Or(c.Link, "-"), 0), text.Printable(cmp.Or(c.Capture, "-"), 0), text.Printable(cmp.Or(c.Trouble, "-"), 0))
	}
	_ = t.Flush() // a strings.Builder takes everything
	for _, c := range s.Cameras {
		if c.Note != "" {
			fmt.Fprintf(&b, "\n%s: %s\n", text.Printable(c.Name, 0), text.Printable(c.Note, 0))
		}
		if c.Advice != "" {
			fmt.Fprintf(&b, "\n%s: to do: %s\n", text.Printable(c.Name, 0), text.Printable(c.Advice, 0))
		}
	}
	items := s.Items()
	for _, o := range s.Orphaned {
		items = append(items, o.Item())
	}
	for _, item := range items {
		fmt.Fprintf(&b, "\n%s: %s\nto do: %s\n", item.Health, text.Printable(item.Line(), 0), text.Printable(item.ToDo(), 0))
		for _, note := range item.Notes {
			fmt.Fprintf(&b, "%s\n", text.Printable(note, 0))
		}
	}
	return b.String()
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

func agentText(s *status.Process) string {
	line := fmt.Sprintf("%s: %s", s.Name, s.State)
	if s.PID > 0 {
		line += fmt.Sprintf(", pid %d", s.PID)
	}
	if s.Says != "" {
		line += ", " + s.Says
	}
	return text.Printable(line, 0) + "\n"
}

func reloadText(r *control.ReloadResult) string {
	lines := []string{"changed: " + list(r.Sections)}
	for _, c := range []struct {
		what  string
		names []string
	}{{"started", r.Cameras.Started}, {"restarted", r.Cameras.Restarted}, {"stopped", r.Cameras.Stopped}, {"unchanged", r.Cameras.Kept}} {
		if len(c.names) > 0 {
			lines = append(lines, c.what+": "+list(c.names))
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

func list(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return text.Printable(strings.Join(names, ", "), 0)
}

func settingsText(s *agentapi.Settings) string {
	var all []string
	if s.PublishFPS != nil {
		all = append(all, fmt.Sprintf("publish_fps = %v", *s.PublishFPS))
	}
	if s.Quality != nil {
		all = append(all, fmt.Sprintf("quality = %d", *s.Quality))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Controls)) {
		all = append(all, fmt.Sprintf("%s = %d", name, s.Controls[name]))
	}
	return text.Printable(strings.Join(all, ", "), 0) + "\n"
}

const ownNameAdvice = "give each box a [controller] box of its own"

// answersText is everything that has been answered; where several controllers have
// the box's name and none was chosen, with the name of each.
func answersText(answers *control.Answers, chosen, asJSON bool) (string, error) {
	several := answers.Controllers() > 1 && !chosen && !asJSON
	var b strings.Builder
	for _, r := range answers.Replies {
		line, err := replyText(r, asJSON)
		if err != nil {
			return "", err
		}
		if !several {
			b.WriteString(line)
			continue
		}
		fmt.Fprintf(&b, "controller %s:\n", text.Printable(r.Shown(), 0))
		if err := r.Err(); err != nil {
			fmt.Fprintln(&b, text.Printable(err.Error(), 0))
		}
		b.WriteString(line + "\n")
	}
	if several {
		for _, s := range answers.Silent {
			fmt.Fprintf(&b, "controller %s:\nhas not answered\n\n", text.Printable(s.Shown(), 0))
		}
	}
	return b.String(), nil
}

// answersError is why a command was not carried out, or nil. Several controllers of
// one name are an error whatever they answer, unless one of them was chosen. stderr
// gets what is no error.
func answersError(stderr io.Writer, box string, chosen bool, answers *control.Answers) error {
	first, n := answers.Replies[0], answers.Controllers()
	if n > 1 && !chosen {
		return errors.New("box " + box + ": " + nameConflict(answers))
	}
	switch {
	case n > 1:
		_, _ = fmt.Fprintf(stderr, "box %s: %d controllers have this name: %s\n", box, n, ownNameAdvice) // the answer counts
	case answers.Listeners > 1 && !chosen:
		_, _ = fmt.Fprintf(stderr, "box %s: %d subscribers receive its commands, and only one has answered\n", box, answers.Listeners)
	}
	if err := first.Err(); err != nil {
		return fmt.Errorf("box %s: %w", box, err)
	}
	return nil
}

// nameConflict describes what came of a command that went to several controllers.
func nameConflict(answers *control.Answers) string {
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
	if command := answers.Replies[0].Command; command != control.Status && command != control.Events {
		line += fmt.Sprintf(", and %d of them carried out %s", done, text.Printable(command, 0))
	}
	return line + ": " + ownNameAdvice + example
}
