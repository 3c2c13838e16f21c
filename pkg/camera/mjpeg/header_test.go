package mjpeg

import (
	"bufio"
	"bytes"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"testing"

	"framekeeper/pkg/camera"
)

// serveRaw answers each request with the pieces as they are, and then waits for the
// client to go.
func serveRaw(t *testing.T, pieces ...[]byte) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer func() { _ = conn.Close() }()
				in := bufio.NewReader(conn)
				if _, err := textproto.NewReader(in).ReadLine(); err != nil {
					return
				}
				for _, p := range pieces {
					if _, err := conn.Write(p); err != nil {
						return
					}
				}
				_, _ = in.WriteTo(&bytes.Buffer{})
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return "http://" + l.Addr().String()
}

// TestHTTPBadHeaders: answers that browsers, curl and FFmpeg take.
func TestHTTPBadHeaders(t *testing.T) {
	jpg := picture(t, 1, 64, 48)
	const multipart = "Content-Type: multipart/x-mixed-replace; boundary=b\r\n"
	for name, header := range map[string]string{
		"none":            "HTTP/1.1 200 OK\r\n" + multipart,
		"no colon":        "HTTP/1.1 200 OK\r\nServer Boa 0.94\r\n" + multipart,
		"length -1":       "HTTP/1.1 200 OK\r\n" + multipart + "Content-Length: -1\r\n",
		"length 0":        "HTTP/1.0 200 OK\r\n" + multipart + "Content-Length: 0\r\n",
		"no length":       "HTTP/1.0 200 OK\r\n" + multipart + "content-length:\r\n",
		"icy":             "ICY 200 OK\r\n" + multipart,
		"strange names":   "HTTP/1.1 200 OK\r\nServer : x\r\nMy Name: x\r\n" + multipart,
		"bare line feeds": strings.ReplaceAll("ICY 200 OK\r\nBoa\r\n"+multipart, "\r", ""),
	} {
		t.Run(name, func(t *testing.T) {
			part := append([]byte("--b\r\nContent-Type: image/jpeg\r\n\r\n"), jpg...)
			whole := append([]byte(header+"\r\n"), part...)
			src := mustOpen(t, serveRaw(t, whole[:20], whole[20:len(header)+1], whole[len(header)+1:], part))
			var f camera.Frame
			for range 2 {
				if err := src.Next(t.Context(), &f); err != nil || !bytes.Equal(f.Data, jpg) {
					t.Fatalf("%d bytes, %v", len(f.Data), err)
				}
			}
		})
	}
}
