// Package access is where a box's page is and who may see it: keys of the
// [controller] table. It is apart from package web so that a program which reads
// the configuration, and shows no page, does without the page's templates (12 MB of
// an agent's binary).
package access

import (
	"net"
	"strconv"
	"strings"
)

// Settings are the keys of the [controller] table that are about the page.
type Settings struct {
	HTTP             string `toml:"http"`      // host:port; "": no page
	HTTPUser         string `toml:"http_user"` // "": no password is asked for
	HTTPPasswordFile string `toml:"http_password_file"`
	HTTPTLSCertFile  string `toml:"http_tls_cert_file"` // "": no TLS
	HTTPTLSKeyFile   string `toml:"http_tls_key_file"`
	HTTPEmbed        bool   `toml:"http_embed"` // pages of other origins may show the pictures
}

// Default is what applies when the file leaves them out.
func Default() Settings { return Settings{HTTP: "127.0.0.1:8080"} }

// Validate reports everything that is wrong with them.
func (s *Settings) Validate(report func(key, value, expected string)) {
	if (s.HTTPUser == "") != (s.HTTPPasswordFile == "") {
		report("http_user", s.HTTPUser, "http_user and http_password_file together, or neither")
	}
	if (s.HTTPTLSCertFile == "") != (s.HTTPTLSKeyFile == "") {
		report("http_tls_cert_file", s.HTTPTLSCertFile, "http_tls_cert_file and http_tls_key_file together, or neither")
	}
	if strings.Contains(s.HTTPUser, ":") { // it ends the name on the wire: nobody would get in
		report("http_user", s.HTTPUser, "a name without a colon")
	}
	if s.HTTP == "" {
		return
	}
	host, port, err := net.SplitHostPort(s.HTTP)
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n > 65535 {
		report("http", s.HTTP, `"host:port", or "" for none`)
		return
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) && s.HTTPUser == "" {
		report("http", s.HTTP, "a loopback address such as 127.0.0.1:8080, unless http_user and http_password_file are set")
	}
}
