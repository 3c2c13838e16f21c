// Package logging makes the logger that a program hands to everything it
// starts. It promises lines for people or JSON, with the time in milliseconds
// and the program's name, on standard error or in a file whose size is bounded.
// It sets no global. New refuses a file it cannot write, and for root one in a
// directory of another user's; Begin goes on without.
// The programs' main packages call it.
package logging

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
	"gopkg.in/natefinch/lumberjack.v2"
)

// New makes the logger of one process. The program's name is on every line and,
// when the log goes to a file, part of the file's name: all processes of a box
// share one configuration, and a file can be rotated by one process only. So
// "box.log" and "cam-agent-greencam1" make "box-cam-agent-greencam1.log".
//
// Close the closer after the last line has been written.
func New(cfg Config, program string, stderr io.Writer) (zerolog.Logger, io.Closer, error) {
	out, file, err := open(cfg, program, stderr)
	if err != nil {
		return zerolog.Nop(), nil, err
	}
	logger := func(out io.Writer) zerolog.Logger {
		if cfg.Format == "console" {
			out = zerolog.ConsoleWriter{Out: out, NoColor: cfg.File != "" || !isTerminal(stderr), TimeFormat: "2006-01-02 15:04:05.000"}
		}
		return zerolog.New(zerolog.SyncWriter(out)).Level(cfg.level()).Hook(zerolog.HookFunc(stamp)).
			With().Str("program", program).Logger()
	}
	direct := logger(out)
	lines := newNonBlocking(out, func(lost uint64) {
		direct.Warn().Uint64("lines", lost).Msg("Log lines are lost: nobody reads them, or the disk hangs")
	})
	return logger(lines), &closer{lines, file}, nil
}

// Begin is New for a program that starts where nobody is: a file that cannot be
// written, because its disk is gone or has become read-only, must not keep
// cameras from working. The log then goes to standard error, and says so.
func Begin(cfg Config, program string, stderr io.Writer) (zerolog.Logger, io.Closer) {
	log, closer, err := New(cfg, program, stderr)
	if err == nil {
		return log, closer
	}
	cfg.File = ""
	log, closer, _ = New(cfg, program, stderr) // nothing to open that could fail
	log.Error().Err(err).Msg("The log file cannot be written; the log goes to standard error")
	return log, closer
}

// stamp adds the time. zerolog's own timestamp has whole seconds unless a
// global is changed, which is too coarse to report what a lost connection cost.
func stamp(e *zerolog.Event, _ zerolog.Level, _ string) {
	e.Str(zerolog.TimestampFieldName, time.Now().Format("2006-01-02T15:04:05.000Z07:00"))
}

func open(cfg Config, program string, stderr io.Writer) (io.Writer, io.Closer, error) {
	if cfg.File == "" {
		return stderr, io.NopCloser(nil), nil
	}
	name := FileName(cfg.File, program)
	if err := tryFile(name); err != nil {
		return nil, nil, fmt.Errorf("open log file: %w; correct file in [log], or leave it empty for standard error", err)
	}
	file := &lumberjack.Logger{Filename: name, MaxSize: cfg.MaxSizeMB, MaxBackups: cfg.MaxBackups, LocalTime: true}
	return file, file, nil
}

// tryFile finds out at the start what lumberjack would only find out at the
// first line, when there is nobody left to report.
func tryFile(name string) error {
	if err := checkOwner(filepath.Dir(name), os.Geteuid()); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY|unix.O_NONBLOCK, 0o640) // else a pipe waits for a reader
	if err != nil {
		return err
	}
	return f.Close()
}

// FileName is the log file of one program.
func FileName(file, program string) string {
	if program == "" {
		return file
	}
	ext := filepath.Ext(file)
	program = strings.Map(func(r rune) rune {
		if r == '/' || r == os.PathSeparator || r <= ' ' {
			return '-'
		}
		return r
	}, program)
	return strings.TrimSuffix(file, ext) + "-" + program + ext
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// Config is the [log] table.
type Config struct {
	Level      string `toml:"level"`
	Format     string `toml:"format"` // console or json
	File       string `toml:"file"`   // "" is standard error; else see FileName
	MaxSizeMB  int    `toml:"max_size_mb"`
	MaxBackups int    `toml:"max_backups"`
}

// Default is the table as it stands when the file leaves it out.
func Default() Config {
	return Config{Level: "info", Format: "console", MaxSizeMB: 100, MaxBackups: 3}
}

// Validate reports everything that is wrong with the table.
func (c *Config) Validate(report func(key, value, expected string)) {
	switch c.Level {
	case "trace", "debug", "info", "warn", "error":
	default:
		report("level", c.Level, "trace, debug, info, warn or error")
	}
	if c.Format != "console" && c.Format != "json" {
		report("format", c.Format, "console or json")
	}
	if c.MaxSizeMB < 1 || c.MaxSizeMB > 100000 {
		report("max_size_mb", strconv.Itoa(c.MaxSizeMB), "1 to 100000")
	}
	if c.MaxBackups < 1 || c.MaxBackups > 1000 {
		report("max_backups", strconv.Itoa(c.MaxBackups), "1 to 1000") // lumberjack takes 0 for "keep all"
	}
}

func (c *Config) level() zerolog.Level {
	l, err := zerolog.ParseLevel(c.Level)
	if err != nil {
		return zerolog.InfoLevel
	}
	return l
}
