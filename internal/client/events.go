package client

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"framekeeper/internal/cli"
	"framekeeper/internal/control"
	"framekeeper/internal/events"
	"framekeeper/internal/text"
)

func (c console) eventsCommand() *cobra.Command {
	var f controlFlags
	var since string
	var limit int
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what has happened to a box",
		Long: `Asks a box's controller what has happened: cameras that failed and came back,
outages and what came of them, losses, restarts, reloads. The newest comes last.`,
		Example: "  client events --box greenbox\n  client events --since 24h --json",
		Args:    cli.Args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			fields := map[string]any{"command": control.Events, "limit": limit}
			if limit < 1 || limit > control.MaxEvents {
				return cli.Usagef("--limit %d: expected 1 to %d", limit, control.MaxEvents)
			}
			if since != "" {
				t, err := events.ParseSince(since, time.Now())
				if err != nil {
					return cli.Usagef("--since %v", err)
				}
				fields["since_us"] = t.UnixMicro()
			}
			return c.control(cmd.Context(), &f, fields)
		},
	}
	cmd.Flags().StringVar(&f.box, "box", "", "the box's name (default: the configuration's, or this host's)")
	cmd.Flags().StringVar(&f.instance, "instance", "", "instance of the controller, if several have the box's name")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 20*time.Second, "how long to wait for the answer, connecting included")
	cmd.Flags().BoolVar(&f.json, "json", false, "print the answer as JSON")
	cmd.Flags().StringVar(&since, "since", "", "`TIME` to begin with, such as 2026-11-30T17:00:00Z, or how long ago, such as 90m")
	cmd.Flags().IntVar(&limit, "limit", 100, "show the newest so many")
	return cmd
}

// eventsText is a line for each event, the newest last.
func eventsText(all *[]events.Event) string {
	var b strings.Builder
	for _, e := range slices.Backward(*all) {
		fmt.Fprintf(&b, "%s  %-8s  %s", e.Time().Format(time.DateTime), text.Printable(string(e.Health), 0), text.Printable(e.Text, 0))
		if n := e.Times(); n > 1 {
			fmt.Fprintf(&b, " (%d times since %s)", n, e.First().Format(time.DateTime))
		}
		b.WriteByte('\n')
	}
	if b.Len() == 0 {
		return "no events\n"
	}
	return b.String()
}
