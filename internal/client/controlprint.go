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

	"framekeeper/internal/agentapi"
	"framekeeper/internal/control"
	"framekeeper/internal/status"
	"framekeeper/internal/text"
)

// printReply prints what came of a command: the answer for programs, or its
// result for people. Errors are main's to print.
func (a *app) printReply(r *control.Reply, asJSON bool) error {
	if asJSON {
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		_, err = a.stdout.Write(append(b, '\n'))
		return err
	}
	if r.Result == nil {
		return nil
	}
	var line string
	var err error
	switch r.Command {
	case control.Status:
		line, err = shown(r.Result, boxTable)
	case control.Reload:
		line, err = shown(r.Result, reloadText)
	case control.Set:
		line, err = shown(r.Result, settingsText)
	default:
		line, err = shown(r.Result, agentText)
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(a.stdout, line)
	return err
}

// shown decodes a result and shows it.
func shown[T any](result json.RawMessage, show func(*T) string) (string, error) {
	var v T
	if err := json.Unmarshal(result, &v); err != nil {
		return "", fmt.Errorf("read result: %w", err)
	}
	return show(&v), nil
}

func boxTable(s *status.Box) string {
	var b strings.Builder
	fmt.Fprintf(&b, "box %s, version %s, up %s, link LIVE for %s\nconfiguration %s, taken over %s ago\n",
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
	items := s.Findings.Items()
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
	}{{"started", r.Cameras.Started}, {"restarted", r.Cameras.Restarted}, {"stopped", r.Cameras.Stopped}, {"kept", r.Cameras.Kept}} {
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
