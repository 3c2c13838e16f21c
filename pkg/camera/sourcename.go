package camera

import (
	"fmt"
	"regexp"
	"strings"
)

// Scheme is the kind of a source.
type Scheme string

// The kinds of source.
const (
	SchemeV4L2   Scheme = "v4l2"
	SchemeOpenCV Scheme = "opencv"
	SchemeFile   Scheme = "file"
	SchemeRTSP   Scheme = "rtsp"
	SchemeGst    Scheme = "gst"
	SchemeHTTP   Scheme = "http"
	SchemeExec   Scheme = "exec"
	SchemeTest   Scheme = "test"
)

// SourceExpected lists the forms of a source.
const SourceExpected = "/dev/videoN, v4l2:, opencv:N, file:PATH, rtsp://, gst:PIPELINE, http(s)://, exec:COMMAND or test:"

// SourceName is a source string taken apart.
type SourceName struct {
	Scheme Scheme
	Rest   string // what follows the scheme; the whole string for rtsp and http
}

// ParseSource finds out which kind of source s names.
func ParseSource(s string) (SourceName, error) {
	if name, ok := parseSource(s); ok {
		return name, nil
	}
	return SourceName{}, fmt.Errorf("source %q: expected %s", RedactSource(s), SourceExpected)
}

func parseSource(s string) (SourceName, bool) {
	switch {
	case strings.HasPrefix(s, "/dev/") && len(s) > len("/dev/"):
		return SourceName{SchemeV4L2, s}, true
	case hasURLScheme(s, "rtsp"), hasURLScheme(s, "rtsps"):
		return SourceName{SchemeRTSP, s}, true
	case hasURLScheme(s, "http"), hasURLScheme(s, "https"):
		return SourceName{SchemeHTTP, s}, true
	}
	scheme, rest, ok := strings.Cut(s, ":")
	if ok {
		switch sc := Scheme(scheme); sc {
		case SchemeTest:
			return SourceName{sc, rest}, true
		case SchemeV4L2, SchemeOpenCV, SchemeFile, SchemeGst, SchemeExec:
			if strings.TrimSpace(rest) != "" {
				return SourceName{sc, rest}, true
			}
		}
	}
	return SourceName{}, false
}

func hasURLScheme(s, scheme string) bool {
	return len(s) > len(scheme)+3 && strings.EqualFold(s[:len(scheme)+3], scheme+"://")
}

// hidden stands for what is not shown.
const hidden = "…"

// RedactSource is the source as it may appear in logs, errors and status: URLs
// lose their credentials and query, commands and pipelines all but their first
// word. Where a secret cannot be recognised it shows less.
func RedactSource(s string) string {
	scheme, rest, ok := strings.Cut(s, ":")
	switch sc := Scheme(strings.ToLower(scheme)); {
	case !ok:
		return redactedWord(s)
	case sc == SchemeExec || sc == SchemeGst:
		return scheme + ":" + redactedWord(rest)
	case strings.Contains(rest, "://"), sc == SchemeFile && isURL(rest): // a URL inside something else
		return scheme + ":" + hidden
	case strings.HasPrefix(rest, "//") && sc != SchemeFile:
		return redactedURL(scheme+"://", rest[2:])
	}
	if name, known := parseSource(s); known && name.Scheme != SchemeRTSP && name.Scheme != SchemeHTTP {
		return s // a path or a number
	}
	return scheme + ":" + redactedWord(rest)
}

// isURL finds the start of a URL, slashes forgotten or not, where a file
// name is expected.
func isURL(s string) bool {
	scheme, _, ok := strings.Cut(strings.TrimLeft(s, "/ "), ":")
	switch strings.ToLower(scheme) {
	case "rtsp", "rtsps", "rtmp", "http", "https", "ftp":
		return ok
	}
	return false
}

// redactedURL shows host and path.
func redactedURL(scheme, rest string) string {
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host, path := rest[:end], rest[end:]
	if strings.Contains(path, "@") {
		// Either a password with a '/' or '?' in it, or an '@' in the path.
		return scheme + hidden
	}
	host = host[strings.LastIndexByte(host, '@')+1:]
	if i := strings.IndexAny(path, "?#"); i >= 0 {
		path = path[:i+1] + hidden
	}
	return scheme + host + path
}

// redactedWord is the first word, unless it may be more than a name.
func redactedWord(s string) string {
	words := strings.Fields(s)
	switch {
	case len(words) == 0:
		return ""
	case strings.ContainsAny(words[0], "@=?:"):
		return hidden
	case len(words) > 1:
		return words[0] + " " + hidden
	}
	return words[0]
}

// secretSigns are what a source has where it holds a password or a token.
var secretSigns = regexp.MustCompile(`(?i)://[^/\s'"]*@|pass|user-pw|pwd|token|secret|auth|[?&]key=`)

// HoldsSecret reports whether a source seems to hold a password or a token.
func HoldsSecret(source string) bool { return secretSigns.MatchString(source) }
