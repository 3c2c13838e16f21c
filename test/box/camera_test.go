package box

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// networkCamera gives MJPEG under /good to who knows the password, and says no
// otherwise.
type networkCamera struct {
	server  *httptest.Server
	picture []byte
}

func startCamera(t *testing.T, addr string) *networkCamera {
	t.Helper()
	var picture bytes.Buffer
	if err := jpeg.Encode(&picture, image.NewGray(image.Rect(0, 0, 64, 48)), nil); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &networkCamera{picture: picture.Bytes()}
	c.server = httptest.NewUnstartedServer(http.HandlerFunc(c.serve))
	_ = c.server.Listener.Close() // not the one that is wanted
	c.server.Listener = l
	c.server.Start()
	t.Cleanup(func() { c.server.CloseClientConnections(); c.server.Close() })
	return c
}

func (c *networkCamera) addr() string { return c.server.Listener.Addr().String() }

func (c *networkCamera) serve(w http.ResponseWriter, r *http.Request) {
	if _, password, _ := r.BasicAuth(); password != cameraSecret || r.URL.Path != "/good" {
		w.Header().Set("WWW-Authenticate", `Basic realm="camera"`)
		http.Error(w, "no, "+r.URL.String(), http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=part")
	next := time.NewTicker(30 * time.Millisecond)
	defer next.Stop()
	for {
		_, err := fmt.Fprintf(w, "--part\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n", len(c.picture), c.picture)
		if err != nil {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-next.C:
		case <-r.Context().Done():
			return
		}
	}
}
