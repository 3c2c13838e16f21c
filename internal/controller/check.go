package controller

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/rs/zerolog"

	"framekeeper/internal/configfile"
	"framekeeper/internal/text"
	"framekeeper/internal/web"
)

// check says whether a controller takes the configuration, which is valid by
// itself. It changes nothing, opens no camera, and leaves alone what only the
// controller itself can find out: whether its addresses are free.
func check(ctx context.Context, w io.Writer, cfg *configfile.Config) error {
	_, err := agentSpecs(cfg)
	if cfg.Controller.HTTP != "" {
		err = errors.Join(err, web.CheckPassword(cfg.Controller.HTTPUser, cfg.Controller.HTTPPasswordFile))
	}
	if cfg.Redis.Embedded {
		nop := zerolog.Nop()
		_, embedded := newServer(ctx, cfg, func() *zerolog.Logger { return &nop })
		err = errors.Join(err, embedded)
	}
	if err != nil {
		return &usageError{err}
	}
	_, err = fmt.Fprintf(w, "%s: OK, box %s, %s\n", cfg.Path, cfg.Controller.Box, text.Count(len(cfg.Cameras), "camera"))
	return err
}
