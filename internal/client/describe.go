package client

import (
	"fmt"
	"strings"
	"time"

	"framekeeper/internal/text"
	"framekeeper/pkg/frame"
)

// describe is a message as one line for people.
func describe(camera string, m *frame.Message, damage error) string {
	h := &m.Header
	var b strings.Builder
	fmt.Fprintf(&b, "%s ", camera)
	if !h.ID.IsZero() {
		fmt.Fprintf(&b, "%s ", h.ID)
	}
	switch h.Status {
	case frame.StatusOK:
		fmt.Fprintf(&b, "%s %dx%d %d bytes captured %s", text.Printable(string(h.Encoding), 0), h.Width, h.Height, h.Bytes, clock(h.CapturedUS))
		if h.PublishedUS > h.CapturedUS && h.CapturedUS > 0 {
			fmt.Fprintf(&b, ", sent %s later", milliseconds(time.Duration(h.PublishedUS-h.CapturedUS)*time.Microsecond))
		}
	case frame.StatusError:
		fmt.Fprintf(&b, "error: %s", text.Printable(h.Error, 0))
	case frame.StatusDropped:
		fmt.Fprintf(&b, "lost %d frames, %s to %s: %s", h.Count, h.First, h.Last, text.Printable(h.Reason, 0))
	case frame.StatusStarted:
		b.WriteString("agent started")
		if h.Clean != nil && !*h.Clean {
			b.WriteString(" after it had not ended in order")
		}
		if h.Previous != nil && !h.Previous.IsZero() {
			fmt.Fprintf(&b, ", last before: %s", h.Previous)
		}
	}
	if len(h.Request) > 0 {
		fmt.Fprintf(&b, ", request %s", text.Printable(string(h.Request), 0))
	}
	if damage != nil {
		fmt.Fprintf(&b, " [%s]", text.Printable(damage.Error(), 0))
	}
	b.WriteByte('\n')
	return b.String()
}

// clock is the local time of day, which is what an operator compares with a watch.
func clock(us int64) string {
	if us <= 0 {
		return "at an unknown time"
	}
	return time.UnixMicro(us).Format("15:04:05.000000")
}

// milliseconds is how people read latencies.
func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
