// Package rtsptest runs a real RTSP server, GStreamer's, and hurts it: it kills,
// freezes and restarts it on the same port. It promises that the server is gone
// when the test is. Tests may call it; the product must not. One goroutine at a
// time may hurt a Server.
package rtsptest

import (
	"bufio"
	_ "embed" // the server's program
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// Debian's own, which has the bindings; another python3 may come first in PATH.
const python = "/usr/bin/python3"

//go:embed server.py
var program string

// H264 is a moving picture as most network cameras send it.
func H264(w, h, fps int) string {
	return live(w, h, fps) + " ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 ! rtph264pay name=pay0"
}

// MJPEG is a moving picture as JPEGs.
func MJPEG(w, h, fps int) string { return live(w, h, fps) + " ! jpegenc ! rtpjpegpay name=pay0" }

func live(w, h, fps int) string {
	return fmt.Sprintf("videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=%d,height=%d,framerate=%d/1", w, h, fps)
}

// Available says whether a server can be run here, and if not, what to do.
func Available() error {
	check := `import gi; gi.require_version("GstRtspServer", "1.0"); from gi.repository import Gst; Gst.init(None)
missing = [e for e in ("videotestsrc", "x264enc", "rtph264pay", "jpegenc") if not Gst.ElementFactory.find(e)]
assert not missing, missing`
	if out, err := exec.Command(python, "-c", check).CombinedOutput(); err != nil {
		return fmt.Errorf("no GStreamer RTSP server here: %s; run: sudo apt-get install -y python3-gi gir1.2-gst-rtsp-server-1.0 "+
			"gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly", lastLine(string(out)))
	}
	return nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// Server is one RTSP server and its current process.
type Server struct {
	tb                   testing.TB
	pipeline, user, pass string
	port                 string
	process              *process
}

// Start runs a server of the pipeline, such as H264(640, 480, 30), and returns
// when it listens. With a user it asks for user and password.
func Start(tb testing.TB, pipeline, user, password string) *Server {
	tb.Helper()
	s := &Server{tb: tb, pipeline: pipeline, user: user, pass: password, port: "0"}
	s.Restart()
	tb.Cleanup(s.Kill)
	return s
}

// URL is where the pipeline is served, with the credentials of whoever asks.
func (s *Server) URL(user, password string) string {
	if user != "" {
		user += ":" + password + "@"
	}
	return "rtsp://" + user + "127.0.0.1:" + s.port + "/live"
}

// Restart starts the server again, on the port it had.
func (s *Server) Restart() {
	s.tb.Helper()
	p, port, err := start(s.port, s.user, s.pass, s.pipeline)
	if err != nil {
		s.tb.Fatalf("rtsptest: %v", err)
	}
	s.process, s.port = p, port
}

// Kill ends the server at once, frozen or not.
func (s *Server) Kill() { s.process.kill() }

// Freeze stops the process: the kernel still takes connections and bytes.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.tb.Helper()
	if err := s.process.cmd.Process.Signal(sig); err != nil {
		s.tb.Fatalf("rtsptest: %v to the server: %v", sig, err)
	}
}

// process dies when this one does.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	done  chan struct{} // closed when it has been reaped
}

// start returns the port the server listens on.
func start(args ...string) (*process, string, error) {
	p := &process{cmd: exec.Command(python, append([]string{"-c", program}, args...)...), done: make(chan struct{})}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr strings.Builder
	p.cmd.Stderr = &stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, "", err
	}
	started, port := make(chan error, 1), ""
	go func() { // kill joins it
		// The kernel sends Pdeathsig when the thread that forked ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := p.cmd.Start()
		if err == nil {
			port, _ = bufio.NewReader(stdout).ReadString('\n')
		}
		started <- err
		_ = p.cmd.Wait()
	}()
	if err := <-started; err != nil {
		return nil, "", fmt.Errorf("start server: %w", err)
	}
	if port = strings.TrimSpace(port); port == "" {
		p.kill()
		return nil, "", errors.New("server did not start: " + lastLine(stderr.String()))
	}
	return p, port, nil
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // the only error is that it has ended
	<-p.done
}
