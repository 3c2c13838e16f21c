package client

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"framekeeper/internal/cli"
	"framekeeper/internal/configfile"
	"framekeeper/internal/text"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
)

// requestFlags are the flags of "client request".
type requestFlags struct {
	camera  string
	set     []string
	output  string
	timeout time.Duration
	maxAge  time.Duration
	json    bool
}

func (c console) requestCommand() *cobra.Command {
	var f requestFlags
	cmd := &cobra.Command{
		Use:   "request",
		Short: "Make one request and write its image",
		Long: `Makes one request, waits for its frame and writes the image.

A file named with -o appears only when it is complete; symbolic links to it
stay. Devices and pipes are written to. The file's extension must match the
camera's encoding: .jpg or .jpeg for jpeg, .png for png, and .png, .bmp or .raw
for raw pixels.`,
		Example: `  client request --camera greencam1 --set angle=25 -o out.jpg
  client request --set angle=25 -o - | display`,
		Args: cli.Args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.request(cmd.Context(), f) },
	}
	cmd.Flags().StringVar(&f.camera, "camera", "", "camera to ask; may be omitted if there is only one")
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "KEY=VALUE to put into the request, VALUE as JSON or else a string; may be repeated")
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "file to write the image to, - for standard output (default: nowhere)")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 5*time.Second, "how long to wait, connecting included")
	cmd.Flags().DurationVar(&f.maxAge, "max-age", 0, "accept a frame up to this much older than the request")
	cmd.Flags().BoolVar(&f.json, "json", false, "print the answer's header as JSON on standard output")
	return cmd
}

func (c console) request(ctx context.Context, f requestFlags) error {
	cfg, cam, fields, err := c.requestConfig(f)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	m, took, err := requestOnce(limited, cfg.Redis, cam, f.timeout, fields)
	if err != nil {
		if ctx.Err() != nil {
			return errInterrupted
		}
		return err
	}
	if err := writeImage(f.output, m, c.stdout); err != nil {
		return err
	}
	return c.reportAnswer(f, m, took)
}

func (c console) requestConfig(f requestFlags) (*configfile.Config, *camera.Config, map[string]any, error) {
	fields, err := requestFields(f)
	if err != nil {
		return nil, nil, nil, err
	}
	if f.json && f.output == "-" {
		return nil, nil, nil, cli.Usagef("--json and -o - both want standard output; write the image to a file")
	}
	cfg, err := c.load()
	if err != nil {
		return nil, nil, nil, err
	}
	cam, err := oneCamera(cfg, f.camera)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := checkName(f.output, cam.Encoding); err != nil {
		return nil, nil, nil, err
	}
	return cfg, cam, fields, speaksJSON(cam)
}

// requestFields are the keys of the request that --set and --max-age name.
func requestFields(f requestFlags) (map[string]any, error) {
	fields := map[string]any{}
	for _, set := range f.set {
		key, value, ok := strings.Cut(set, "=")
		if !ok || key == "" {
			return nil, cli.Usagef("--set %.80q: expected KEY=VALUE", set)
		}
		if key == "id" {
			return nil, cli.Usagef("--set id: the client gives every request its own id")
		}
		if json.Valid([]byte(value)) {
			fields[key] = json.RawMessage(value)
		} else {
			fields[key] = value
		}
	}
	if f.timeout < time.Millisecond || f.timeout > frame.MaxTimeout {
		return nil, cli.Usagef("--timeout %s: expected 1ms to %s", f.timeout, frame.MaxTimeout)
	}
	if f.maxAge < 0 || f.maxAge > frame.MaxAge {
		return nil, cli.Usagef("--max-age %s: expected 0s to %s", f.maxAge, frame.MaxAge)
	}
	if f.maxAge > 0 {
		fields["max_age_ms"] = float64(f.maxAge) / float64(time.Millisecond)
	}
	object, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	if _, err := frame.ParseRequest(object); err != nil { // the agent's refusal of it could echo no ID
		return nil, cli.Usagef("--set: %v", err)
	}
	return fields, nil
}

// reportAnswer prints the header for programs, or a line for people.
func (c console) reportAnswer(f requestFlags, m *frame.Message, took time.Duration) error {
	if f.json {
		_, err := c.stdout.Write(jsonLine(m))
		return err
	}
	h := &m.Header
	where := "not written, name a file with -o"
	switch f.output {
	case "":
	case "-":
		where = "on standard output"
	default:
		where = f.output
	}
	_, err := fmt.Fprintf(c.stderr, "%s %s %s %dx%d %d bytes in %s, request %s: %s\n", h.Camera, h.ID, text.Printable(string(h.Encoding), 0),
		h.Width, h.Height, h.Bytes, text.Milliseconds(took), text.Printable(string(h.Request), 0), where)
	return err
}
