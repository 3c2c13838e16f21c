package agent

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/rs/zerolog"

	"framekeeper/internal/sdnotify"
	"framekeeper/pkg/camera"
	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/redisconn"
)

// A restart or reload that ends in a camera which this agent cannot open at all
// must not be taken for one that went well.
func TestNeverReadyWithoutACamera(t *testing.T) {
	cfg := camera.Default()
	cfg.Name, cfg.Source = "greencam1", "gst:nothing"
	grabber := camera.NewGrabber(cfg, func(context.Context, camera.Config) (camera.Source, error) {
		return nil, camera.ErrUnsupported
	}, zerolog.Nop())
	link := datatransfer.NewLink(datatransfer.LinkConfig{Redis: redisconn.Default(), Name: "greencam1", Log: zerolog.Nop()})
	h := newHeartbeat(&agent{grabber: grabber, link: link}, nil)
	if slices.Contains(h.news(), sdnotify.Ready) {
		t.Error("ready before the camera was opened")
	}
	if err := grabber.Run(t.Context()); !errors.Is(err, camera.ErrUnsupported) {
		t.Fatalf("Run returned %v, want ErrUnsupported", err)
	}
	if got := h.news(); slices.Contains(got, sdnotify.Ready) {
		t.Errorf("its last words are %q, with READY among them", got)
	}
}
