package controller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/rs/zerolog"

	"framekeeper/internal/cli"
	"framekeeper/internal/configfile"
	"framekeeper/internal/text"
	"framekeeper/internal/web"
)

// check says whether a controller takes the configuration, which is valid by
// itself. It changes nothing, opens no camera, and leaves alone what only the
// controller itself can find out: whether its addresses are free.
func check(ctx context.Context, cfg *configfile.Config) error {
	_, err := agentSpecs(cfg)
	_, unread := cfg.Notify.Target(cfg.Controller.Box)
	err = errors.Join(err, unread)
	if cfg.Controller.Web.HTTP != "" {
		err = errors.Join(err, web.Check(&cfg.Controller.Web))
	}
	if cfg.Redis.Embedded {
		nop := zerolog.Nop()
		_, embedded := (&serverPart{log: func() *zerolog.Logger { return &nop }}).make(ctx, cfg)
		err = errors.Join(err, embedded)
	}
	return err
}

// printCheck prints that the configuration is OK, or returns what is wrong with
// it; as JSON it prints either.
func printCheck(w io.Writer, cfg *configfile.Config, wrong error, asJSON bool) error {
	if !asJSON {
		if wrong != nil {
			return cli.Usage(wrong)
		}
		_, err := fmt.Fprintf(w, "%s: OK, box %s, %s\n", cfg.Path, cfg.Controller.Box, text.Count(len(cfg.Cameras), "camera"))
		for _, warning := range cfg.WorldReadable() {
			_, e := fmt.Fprintf(w, "  warning: %s\n", text.Printable(warning, 0))
			err = errors.Join(err, e)
		}
		return err
	}
	result := struct {
		OK      bool     `json:"ok"`
		Config  string   `json:"config,omitempty"`
		Box     string   `json:"box,omitempty"`
		Cameras []string `json:"cameras,omitempty"`
		Errors  []string `json:"errors,omitempty"`
		Warning []string `json:"warnings,omitempty"`
	}{OK: wrong == nil}
	if cfg != nil {
		result.Config, result.Box, result.Warning = cfg.Path, cfg.Controller.Box, cfg.WorldReadable()
		for i := range cfg.Cameras {
			result.Cameras = append(result.Cameras, cfg.Cameras[i].Name)
		}
	}
	if wrong != nil {
		result.Errors = strings.Split(wrong.Error(), "\n")
	}
	return errors.Join(cli.Usage(wrong), cli.WriteJSON(w, result))
}
