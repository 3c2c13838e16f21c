package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"framekeeper/internal/cli"
	"framekeeper/internal/configfile"
	"framekeeper/internal/status"
	"framekeeper/internal/text"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
)

func (c console) statusCommand() *cobra.Command {
	var only []string
	var all, asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the health of the cameras",
		Long: "Shows the health of the cameras, as their agents report it in Redis.\n\n" +
			"The exit code is 0 if every camera shown is healthy or degraded: its agent is\n" +
			"present, its link is LIVE, it captures, and Redis accepts its frames. Else it is\n" +
			"1, and the reasons are printed.",
		Example: `  client status
  client status --camera greencam1 --json`,
		Args: cli.Args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.status(cmd.Context(), only, all, asJSON) },
	}
	cmd.Flags().StringArrayVar(&only, "camera", nil, "camera to show; may be repeated (default: all)")
	cmd.Flags().BoolVar(&all, "all", false, "show everything the agents report")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the cameras and everything their agents report as one line of JSON")
	return cmd
}

// statusTimeout is how long Redis may take to be reached and read.
const statusTimeout = 5 * time.Second

func (c console) status(ctx context.Context, only []string, all, asJSON bool) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	cams, err := cameras(cfg, only)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	reports, err := readStatus(limited, cfg, cams)
	if err != nil {
		if ctx.Err() != nil {
			return errInterrupted
		}
		return err
	}
	if asJSON {
		if err := printJSON(c.stdout, cams, reports); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	var failed []string
	for i, cam := range cams {
		j := reports[i].judge()
		if !asJSON {
			if err := reports[i].write(c.stdout, cam, j.Health, all); err != nil {
				return fmt.Errorf("print: %w", err)
			}
		}
		if !j.Health.OK() {
			failed = append(failed, fmt.Sprintf("%s: %s", cam.Name, text.Printable(j.Why(), maxWhy)))
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("not everything is healthy: %s", strings.Join(failed, "; "))
	}
	return nil
}

// maxStatus is longer than any agent's status.
const maxStatus = 1 << 20

// maxWhy bounds, in characters, what an error shows of a status.
const maxWhy = 300

// judge is how the camera is. One that was stopped is absent.
func (r report) judge() status.Judgement {
	e := status.Evidence{Seen: status.Observation{Missing: status.Reason{Code: status.Absent}}}
	if r.present {
		e.Seen = status.Observe(r.body)
	}
	return e.Judge(time.Now())
}

// report is what status:<camera> held.
type report struct {
	present bool
	left    time.Duration // until the key expires
	body    []byte
}

// readStatus reads all keys in one session.
func readStatus(ctx context.Context, cfg *configfile.Config, cams []*camera.Config) ([]report, error) {
	type outcome struct {
		reports []report
		err     error
	}
	read := make(chan outcome, 1)
	link := datatransfer.NewLink(datatransfer.LinkConfig{
		Redis: cfg.Redis, Name: "client", Log: zerolog.Nop(), // the error reports what goes wrong, once
		MaxMessage: maxStatus, MaxReply: maxStatus,
		Workers: []datatransfer.Worker{{Name: "status", Run: func(ctx context.Context, s *datatransfer.Session) error {
			reports, err := fetch(ctx, s.Data(), cams)
			var reply redis.Error
			if err != nil && !errors.As(err, &reply) {
				return err // the connection: the next session tries again
			}
			select {
			case read <- outcome{reports, err}:
			default:
			}
			return nil
		}}},
	})
	_, stop := start(ctx, link)
	defer stop()
	if err := link.WaitLive(ctx); err != nil {
		return nil, err
	}
	select {
	case o := <-read:
		return o.reports, o.err
	case <-ctx.Done():
		return nil, fmt.Errorf("read status from Redis at %s: %w", cfg.Redis.Shown(), ctx.Err())
	}
}

func fetch(ctx context.Context, c *redis.Client, cams []*camera.Config) ([]report, error) {
	reports := make([]report, len(cams))
	for i, cam := range cams {
		body, err := c.Get(ctx, cam.StatusKey()).Bytes()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", cam.StatusKey(), err)
		}
		left, err := c.PTTL(ctx, cam.StatusKey()).Result()
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", cam.StatusKey(), err)
		}
		reports[i] = report{present: true, left: left, body: body}
	}
	return reports, nil
}

// printJSON prints {"ok":…,"cameras":[…]}; ok means that every camera
// works.
func printJSON(w io.Writer, cams []*camera.Config, reports []report) error {
	type shown struct {
		Camera   string          `json:"camera"`
		OK       bool            `json:"ok"`
		Health   status.Health   `json:"health"`
		Present  bool            `json:"present"`
		Troubles []string        `json:"troubles,omitempty"`
		AgeMS    *int64          `json:"age_ms,omitempty"` // absent: unknown
		Status   json.RawMessage `json:"status,omitempty"` // as the agent published it
	}
	ok, all := true, make([]shown, len(cams))
	for i, r := range reports {
		j := r.judge()
		s := shown{Camera: cams[i].Name, OK: j.Health.OK(), Health: j.Health, Present: r.present}
		if !s.OK {
			for _, reason := range j.Reasons {
				s.Troubles = append(s.Troubles, reason.String())
			}
		}
		ok = ok && s.OK
		if r.present && r.left >= 0 {
			ms := max(0, 3*cams[i].StatusInterval-r.left).Milliseconds()
			s.AgeMS = &ms
		}
		if json.Valid(r.body) {
			s.Status = r.body
		}
		all[i] = s
	}
	return cli.WriteJSON(w, map[string]any{"ok": ok, "cameras": all})
}

// age is how long ago the agent reported: it lets the key live three intervals.
func (r report) age(interval time.Duration) string {
	if r.left < 0 {
		return "at an unknown time, its key does not expire"
	}
	return max(0, 3*interval-r.left).Round(100*time.Millisecond).String() + " ago"
}

func (r report) write(out io.Writer, cam *camera.Config, health status.Health, all bool) error {
	if !r.present {
		_, err := fmt.Fprintf(out, "%s: absent, no cam-agent has announced itself (no key %s)\n", cam.Name, cam.StatusKey())
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, reported %s\n", cam.Name, health, r.age(cam.StatusInterval))
	fields := map[string]string{}
	decoder := json.NewDecoder(bytes.NewReader(r.body)) //nolint:forbidigo // into a map, whose keys are exact
	decoder.UseNumber()
	var body map[string]any
	if err := decoder.Decode(&body); err != nil {
		fields["unreadable"] = err.Error()
	}
	flatten("", body, fields)
	keys := shownKeys(fields, all)
	width := 0
	for _, key := range keys {
		width = max(width, len(key))
	}
	for _, key := range keys {
		fmt.Fprintf(&b, "  %-*s  %s\n", width, text.Printable(key, 0), text.Printable(fields[key], 0))
	}
	_, err := io.WriteString(out, b.String())
	return err
}
