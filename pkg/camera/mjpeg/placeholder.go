package mjpeg

import (
	"bytes"
	"fmt"

	"framekeeper/pkg/camera"
)

// onlineHeader says of an answer or a part whether ustreamer's camera is there. While
// it is not, ustreamer goes on with a picture of its own: no exposure, and never
// given out as a frame.
const onlineHeader = "X-UStreamer-Online"

var errOffline = fmt.Errorf("%w: the server says that its camera is away (%s: false), and sends a placeholder", camera.ErrNoData, onlineHeader)

func isOffline(value []byte) bool { return bytes.EqualFold(bytes.TrimSpace(value), []byte("false")) }

// hasOffline searches a part's header.
func hasOffline(header []byte) bool {
	for len(header) > 0 {
		var line []byte
		line, header, _ = bytes.Cut(header, []byte("\n"))
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(name, []byte(onlineHeader)) && isOffline(value) {
			return true
		}
	}
	return false
}
