package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"strings"

	"framekeeper/internal/cli"
	"framekeeper/internal/logging"
	"framekeeper/internal/text"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/stream"
)

// watchFlags are the flags of "client watch".
type watchFlags struct {
	cameras   []string
	json      bool
	fromStart bool
	count     int
}

func (c console) watchCommand() *cobra.Command {
	var f watchFlags
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Print the headers of frames as they come",
		Long: `Prints one line for every message: frames from the camera's stream, or from
pub/sub when delivery is pubsub, and error replies, which go to pub/sub only.`,
		Example: `  client watch --camera greencam1 --count 10
  client watch --json --from-start`,
		Args: cli.Args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.watch(cmd.Context(), f) },
	}
	cmd.Flags().StringArrayVar(&f.cameras, "camera", nil, "camera to watch; may be repeated (default: all)")
	cmd.Flags().BoolVar(&f.json, "json", false, "print each header as one line of JSON")
	cmd.Flags().BoolVar(&f.fromStart, "from-start", false, "begin with the oldest frame still in the stream")
	cmd.Flags().IntVar(&f.count, "count", 0, "end after this many lines (default: never)")
	return cmd
}

func (c console) watch(ctx context.Context, f watchFlags) (err error) {
	if f.count < 0 {
		return cli.Usagef("--count %d: expected a positive number", f.count)
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	cams, err := cameras(cfg, f.cameras)
	if err != nil {
		return err
	}
	if !cfg.Delivery.Mode.Streams() {
		if f.fromStart {
			return cli.Usagef(`--from-start needs a stream, and delivery.mode is "pubsub"`)
		}
		if err := speaksJSON(cams...); err != nil {
			return err
		}
	}
	log, closer := logging.Begin(cfg.Log, "client", c.stderr)
	defer func() { err = errors.Join(err, closer.Close()) }()

	lines := make(chan []byte, watchBacklog)
	longest := camera.LargestMessage(cams...)
	lc := datatransfer.LinkConfig{Redis: cfg.Redis, Name: "client", Log: log, MaxMessage: longest, MaxReply: longest}
	for _, cam := range cams {
		w := &watcher{cam: cam, flags: f, lines: lines, streams: cfg.Delivery.Mode.Streams()}
		lc.Subscriptions = append(lc.Subscriptions, datatransfer.Subscription{Channel: cam.StreamTopic, Handle: w.receive})
		if w.streams {
			lc.Workers = append(lc.Workers, stream.NewConsumer(stream.ConsumerConfig{
				Key: cam.FramesKey, FromStart: f.fromStart, Handle: w.consume, Log: log,
			}).Worker())
		}
	}
	linked, stop := start(ctx, datatransfer.NewLink(lc))
	defer stop()
	if err := printLines(linked, c.stdout, lines, f.count); err != nil {
		return err
	}
	if err := context.Cause(linked); err != nil && ctx.Err() == nil {
		return fmt.Errorf("the link to Redis has ended: %w", err)
	}
	return nil
}

// watchBacklog is how many published lines may wait for a slow terminal.
const watchBacklog = 1000

// printLines prints until ctx ends or count lines are out (0: no end).
func printLines(ctx context.Context, out io.Writer, lines <-chan []byte, count int) error {
	for n := 0; count == 0 || n < count; n++ {
		select {
		case <-ctx.Done():
			return nil
		case line := <-lines:
			if _, err := out.Write(line); err != nil {
				return fmt.Errorf("print: %w", err)
			}
		}
	}
	return nil
}

// watcher turns one camera's messages into lines.
type watcher struct {
	cam     *camera.Config
	flags   watchFlags
	streams bool // frames come from the stream
	lines   chan<- []byte
}

// receive prints what only pub/sub brings. What finds no room is left out:
// nothing may wait here.
func (w *watcher) receive(payload []byte, _ time.Time) {
	m, err := frame.ParseMessage(payload)
	var line []byte
	switch {
	case m == nil && w.streams:
		return // another wire, or nothing of ours
	case m == nil:
		line = fmt.Appendf(nil, "%s unreadable message of %d bytes: %s\n", w.cam.Name, len(payload), text.Printable(err.Error(), 0))
		if w.flags.json {
			return // it has no header
		}
	case w.streams && m.Header.Status != frame.StatusError:
		return // the stream brings it too
	default:
		line = w.line(m, err)
	}
	select {
	case w.lines <- line:
	default:
	}
}

// consume prints an entry of the stream, which waits meanwhile.
func (w *watcher) consume(ctx context.Context, m *frame.Message) error {
	select {
	case w.lines <- w.line(m, nil):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *watcher) line(m *frame.Message, damage error) []byte {
	if w.flags.json {
		return jsonLine(m)
	}
	return []byte(describe(w.cam.Name, m, damage))
}

// describe is a message as one line for people.
func describe(camera string, m *frame.Message, damage error) string {
	h := &m.Header
	var b strings.Builder
	fmt.Fprintf(&b, "%s ", camera)
	if !h.ID.IsZero() {
		fmt.Fprintf(&b, "%s ", h.ID)
	}
	switch h.Status {
	case frame.StatusOK:
		fmt.Fprintf(&b, "%s %dx%d %d bytes captured %s", text.Printable(string(h.Encoding), 0), h.Width, h.Height, h.Bytes, clock(h.CapturedUS))
		if h.PublishedUS > h.CapturedUS && h.CapturedUS > 0 {
			fmt.Fprintf(&b, ", sent %s later", text.Milliseconds(time.Duration(h.PublishedUS-h.CapturedUS)*time.Microsecond))
		}
	case frame.StatusError:
		fmt.Fprintf(&b, "error: %s", text.Printable(h.Error, 0))
	case frame.StatusDropped:
		fmt.Fprintf(&b, "lost %d frames, %s to %s: %s", h.Count, h.First, h.Last, text.Printable(h.Reason, 0))
	case frame.StatusStarted:
		b.WriteString("agent started")
		if h.Clean != nil && !*h.Clean {
			b.WriteString(" after it had not ended in order")
		}
		if h.Previous != nil && !h.Previous.IsZero() {
			fmt.Fprintf(&b, ", last before: %s", h.Previous)
		}
	}
	if len(h.Request) > 0 {
		fmt.Fprintf(&b, ", request %s", text.Printable(string(h.Request), 0))
	}
	if damage != nil {
		fmt.Fprintf(&b, " [%s]", text.Printable(damage.Error(), 0))
	}
	b.WriteByte('\n')
	return b.String()
}

// clock is the local time of day, which is what an operator compares with a watch.
func clock(us int64) string {
	if us <= 0 {
		return "at an unknown time"
	}
	return time.UnixMicro(us).Format("15:04:05.000000")
}
