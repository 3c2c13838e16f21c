package camera

import (
	"fmt"
	"regexp"
	"time"

	"framekeeper/internal/bytesize"
	"framekeeper/pkg/frame"
)

// Wire is the language of a camera's pub/sub side.
type Wire string

// The two wires.
const (
	WireJSON   Wire = "json"
	WirePickle Wire = "pickle" // the old Python system's
)

// Format is the pixel format asked of a V4L2 camera.
type Format string

// The formats that can be asked for.
const (
	FormatAuto  Format = "auto"
	FormatMJPEG Format = "mjpeg"
	FormatYUYV  Format = "yuyv"
)

// Config is one [[camera]] table.
type Config struct {
	Name   string `toml:"name"`
	Source string `toml:"source"`

	Width    int              `toml:"width"`
	Height   int              `toml:"height"`
	FPS      float64          `toml:"fps"`
	Format   Format           `toml:"format"`
	Controls map[string]int64 `toml:"controls"`

	PublishFPS float64        `toml:"publish_fps"` // 0: only on request
	Encoding   frame.Encoding `toml:"encoding"`
	Quality    int            `toml:"quality"`

	// SourceLatency is how old a frame already is when the source hands it
	// over with its own timestamp. Negative: the source's default (0 for v4l2:
	// and test:, one frame interval for others).
	SourceLatency time.Duration `toml:"source_latency"`
	StallTimeout  time.Duration `toml:"stall_timeout"`
	FrozenTimeout time.Duration `toml:"frozen_timeout"` // 0: off
	MaxReopens    int           `toml:"max_reopens"`

	RequestTimeout time.Duration `toml:"request_timeout"`
	RequestRate    float64       `toml:"request_rate"`
	StatusInterval time.Duration `toml:"status_interval"`
	Wire           Wire          `toml:"wire"`

	// MaxDecodeBytes is how much memory one image may take to be decoded and made into
	// an answer.
	MaxDecodeBytes bytesize.Size `toml:"max_decode_bytes"`

	// Names on Redis; "" means the default, which Names fills in.
	RequestTopic string `toml:"request_topic"`
	StreamTopic  string `toml:"stream_topic"`
	FramesKey    string `toml:"frames_key"`

	// Elsewhere: this machine does not open the camera: it needs no source.
	Elsewhere bool
}

// Default is a [[camera]] table as it stands when the file names nothing but
// the camera and its source.
func Default() Config {
	return Config{
		Width:          1280,
		Height:         720,
		FPS:            30,
		Format:         FormatAuto,
		Controls:       map[string]int64{},
		Encoding:       frame.JPEG,
		Quality:        85,
		SourceLatency:  -1,
		StallTimeout:   2 * time.Second,
		MaxReopens:     5,
		RequestTimeout: time.Second,
		RequestRate:    100,
		StatusInterval: 5 * time.Second,
		Wire:           WireJSON,
		MaxDecodeBytes: 192 * bytesize.MiB,
	}
}

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// ValidName reports whether s may name a camera or a box.
func ValidName(s string) bool { return validName.MatchString(s) }

// NameExpected describes what ValidName accepts.
const NameExpected = "1 to 64 of a-z, 0-9, _ and -, not beginning with _ or -"

// FillNames gives the Redis names their defaults.
func (c *Config) FillNames() {
	for _, f := range []struct {
		name   *string
		prefix string
	}{{&c.RequestTopic, "request/"}, {&c.StreamTopic, "stream/"}, {&c.FramesKey, "frames:"}} {
		if *f.name == "" {
			*f.name = f.prefix + c.Name
		}
	}
}

// StatusTopic is the channel of the agent's status.
func (c *Config) StatusTopic() string { return "status/" + c.Name }

// StatusKey is the key of the agent's presence.
func (c *Config) StatusKey() string { return "status:" + c.Name }

// Interval is the time from one frame to the next at the configured rate.
func (c *Config) Interval() time.Duration {
	return time.Duration(float64(time.Second) / c.FPS)
}

// LargestFrame is about how many bytes a frame may have at the configured size: all its
// pixels, or a byte each as a JPEG, which is more than the finest needs.
func (c *Config) LargestFrame() int64 {
	n := int64(c.Width) * int64(c.Height)
	if c.Encoding != frame.JPEG || c.Wire == WirePickle { // whose answers have the pixels
		n *= 3
	}
	return min(n, int64(512*bytesize.MiB)) // Redis takes no more
}

// usualFrame is more than any frame has that is not configured: 4K as raw pixels twice.
const usualFrame = 48 * bytesize.MiB

// LargestMessage is how many bytes a message of these cameras, or an entry of their
// streams, may have that a reader takes whole: what is longer is somebody's mistake,
// or malice. A reader does not have to know the size at which a camera works.
func LargestMessage(cams ...*Config) int64 {
	n := int64(usualFrame)
	for _, c := range cams {
		n = max(n, c.LargestFrame())
	}
	return n + frame.MaxHeader
}

// Validate reports everything that is wrong with the table. The source's own
// form is checked by whoever opens it.
func (c *Config) Validate(report func(key, value, expected string)) {
	if !ValidName(c.Name) {
		report("name", c.Name, NameExpected)
	}
	if _, err := ParseSource(c.Source); err != nil && (c.Source != "" || !c.Elsewhere) {
		report("source", RedactSource(c.Source), SourceExpected)
	}
	number := func(key string, v, low, high float64) {
		if !(v >= low && v <= high) { // so that NaN is refused too
			report(key, fmt.Sprint(v), fmt.Sprintf("%v to %v", low, high))
		}
	}
	number("width", float64(c.Width), 16, 16384)
	number("height", float64(c.Height), 16, 16384)
	number("fps", c.FPS, 0.1, 1000)
	number("publish_fps", c.PublishFPS, 0, 1000)
	number("quality", float64(c.Quality), 1, 100)
	number("max_reopens", float64(c.MaxReopens), 1, 1000)
	number("request_rate", c.RequestRate, 0.1, 100000)
	if c.SourceLatency > time.Minute {
		report("source_latency", c.SourceLatency.String(), "at most 1m")
	}
	if c.FrozenTimeout != 0 && c.FrozenTimeout < 100*time.Millisecond {
		report("frozen_timeout", c.FrozenTimeout.String(), "0s (off) or at least 100ms")
	}
	for key, d := range map[string]time.Duration{
		"stall_timeout":   c.StallTimeout,
		"request_timeout": c.RequestTimeout,
		"status_interval": c.StatusInterval,
	} {
		if d < 10*time.Millisecond || d > 10*time.Minute {
			report(key, d.String(), "10ms to 10m")
		}
	}
	if c.MaxDecodeBytes < bytesize.MiB || c.MaxDecodeBytes > 16*bytesize.GiB {
		report("max_decode_bytes", c.MaxDecodeBytes.String(), "1MiB to 16GiB")
	}
	c.validateEnums(report)
	for key, name := range map[string]string{
		"request_topic": c.RequestTopic, "stream_topic": c.StreamTopic, "frames_key": c.FramesKey,
	} {
		if len(name) > 256 {
			report(key, name[:32]+"…", "at most 256 bytes")
		}
	}
	if c.RequestTopic != "" && c.RequestTopic == c.StreamTopic {
		report("stream_topic", c.StreamTopic, "another channel than request_topic")
	}
}

func (c *Config) validateEnums(report func(key, value, expected string)) {
	switch c.Format {
	case FormatAuto, FormatMJPEG, FormatYUYV:
	default:
		report("format", string(c.Format), "auto, mjpeg or yuyv")
	}
	switch c.Encoding {
	case frame.JPEG, frame.PNG, frame.Raw:
	default:
		report("encoding", string(c.Encoding), "jpeg, png or raw")
	}
	switch c.Wire {
	case WireJSON, WirePickle:
	default:
		report("wire", string(c.Wire), "json or pickle")
	}
}
