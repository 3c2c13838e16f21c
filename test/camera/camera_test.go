package camera

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"framekeeper/pkg/redisconn"
)

func TestMain(m *testing.M) {
	redisconn.Quiet()
	goleak.VerifyTestMain(m)
}

// Variables that say to the inner half what it has.
const (
	envDevice   = "FRAMEKEEPER_VIDEO_DEVICE"  // vivid
	envLoopback = "FRAMEKEEPER_TEST_LOOPBACK" // v4l2loopback
	envAgent    = "FRAMEKEEPER_TEST_AGENT"    // the program
)

// TestCamera is every row of the table, under a kernel of its own.
func TestCamera(t *testing.T) {
	if device := os.Getenv(envDevice); device != "" {
		inside(t, device)
		return
	}
	outside(t)
}
