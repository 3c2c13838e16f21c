package configfile

import (
	"fmt"
	"slices"

	"github.com/rs/zerolog"

	"framekeeper/internal/files"
	"framekeeper/pkg/camera"
)

// WorldReadable names the files with secrets that every user of this machine can read,
// and what to do about each.
func (c *Config) WorldReadable() []string {
	secrets := []struct{ key, file string }{
		{"[redis] password_file", c.Redis.PasswordFile},
		{"[redis] tls_key_file", c.Redis.TLSKeyFile},
		{"[controller] http_password_file", c.Controller.Web.HTTPPasswordFile},
		{"[controller] http_tls_key_file", c.Controller.Web.HTTPTLSKeyFile},
		{"[notify] secret_file", c.Notify.SecretFile},
	}
	if slices.ContainsFunc(c.Cameras, func(cam camera.Config) bool { return camera.HoldsSecret(cam.Source) }) {
		secrets = append(secrets, struct{ key, file string }{"the configuration with a camera's password", c.Path})
	} else if c.Notify.HoldsSecret() {
		secrets = append(secrets, struct{ key, file string }{"the configuration with a secret in [notify] url", c.Path})
	}
	var found []string
	for _, s := range secrets {
		if s.file != "" && files.WorldReadable(s.file) {
			found = append(found, fmt.Sprintf("%s is readable by every user of this machine (%s): chmod o-r %s", s.file, s.key, s.file))
		}
	}
	return found
}

// WarnReadable logs WorldReadable.
func (c *Config) WarnReadable(log zerolog.Logger) {
	for _, file := range c.WorldReadable() {
		log.Warn().Msg("A secret is not kept: " + file)
	}
}
