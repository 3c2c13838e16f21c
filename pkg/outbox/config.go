package outbox

import (
	"time"

	"framekeeper/internal/bytesize"
)

// Mode is where continuous frames and answers go besides the answer itself.
type Mode string

// The three delivery modes.
const (
	ModePubSub Mode = "pubsub" // published only
	ModeStream Mode = "stream" // answers published, every frame in the stream
	ModeBoth   Mode = "both"   // everything published and in the stream
)

// Streams reports whether frames are added to the Redis stream.
func (m Mode) Streams() bool { return m != ModePubSub }

// Publishes reports whether continuous frames are published.
func (m Mode) Publishes() bool { return m != ModeStream }

// Sync is when a frame is on disk.
type Sync string

// The two sync modes.
const (
	SyncBatch  Sync = "batch"  // when Redis did not take it, in groups of at most 100 ms
	SyncAlways Sync = "always" // before it is sent
)

// Delivery is the [delivery] table: how frames reach Redis, and where they wait
// until they have.
type Delivery struct {
	Mode           Mode          `toml:"mode"`
	StreamMaxBytes bytesize.Size `toml:"stream_max_bytes"`
	RetainBytes    bytesize.Size `toml:"retain_bytes"`
	SpoolDir       string        `toml:"spool_dir"`
	SpoolMaxBytes  bytesize.Size `toml:"spool_max_bytes"`
	SpoolMaxAge    time.Duration `toml:"spool_max_age"`
	Sync           Sync          `toml:"sync"`
}

// DefaultDelivery is the table as it stands when the file leaves it out.
func DefaultDelivery() Delivery {
	return Delivery{
		Mode:           ModeStream,
		StreamMaxBytes: 64 * bytesize.MiB,
		RetainBytes:    32 * bytesize.MiB,
		SpoolDir:       "./state/spool",
		SpoolMaxBytes:  bytesize.GiB,
		SpoolMaxAge:    24 * time.Hour,
		Sync:           SyncBatch,
	}
}

// Validate reports everything that is wrong with the table.
func (d *Delivery) Validate(report func(key, value, expected string)) {
	switch d.Mode {
	case ModePubSub, ModeStream, ModeBoth:
	default:
		report("mode", string(d.Mode), "pubsub, stream or both")
	}
	switch d.Sync {
	case SyncBatch, SyncAlways:
	default:
		report("sync", string(d.Sync), "batch or always")
	}
	for key, size := range map[string]bytesize.Size{
		"stream_max_bytes": d.StreamMaxBytes,
		"retain_bytes":     d.RetainBytes,
		"spool_max_bytes":  d.SpoolMaxBytes,
	} {
		if size < bytesize.MiB || size > bytesize.TiB {
			report(key, size.String(), "1MiB to 1TiB")
		}
	}
	if d.SpoolMaxAge < time.Minute {
		report("spool_max_age", d.SpoolMaxAge.String(), "at least 1m")
	}
	if d.SpoolDir == "" {
		report("spool_dir", "", "a directory")
	}
}
