package outbox

import (
	"github.com/rs/zerolog"

	"framekeeper/pkg/frame"
)

func id(epoch, seq uint64) frame.ID { return frame.ID{Epoch: epoch, Seq: seq} }

// newLog is a log of testcam with a stream of 64 MiB, without a life before.
func newLog(epoch uint64, limit int64, log zerolog.Logger) *Log {
	return NewLog(LogConfig{Camera: "testcam", Epoch: epoch, Limit: limit, Stream: 64 << 20, Log: log})
}

func newStreamWriter(l *Log) *StreamWriter {
	return NewStreamWriter(StreamWriterConfig{Key: testKey, Log: zerolog.Nop()}, l)
}

func (l *Log) isWritable() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writable
}
