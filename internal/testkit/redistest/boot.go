package redistest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// A starting server is tried often, because that bounds the error of AcceptedAt,
// from which recovery times are measured; one that takes long to load its data
// is left alone more.
const (
	probeEvery   = 300 * time.Microsecond
	probeEagerly = time.Second
	probeSlowly  = 5 * time.Millisecond
)

// Boot is one life of a server's process: from its start to its end. Its
// channels close, in this order, when the server accepts connections, answers
// commands (perhaps only to say that it is loading), answers PING with PONG,
// and has ended; those it never reached stay open.
type Boot struct {
	Accepted <-chan struct{}
	Answered <-chan struct{}
	Ready    <-chan struct{}
	Exited   <-chan struct{}

	child   *child
	watcher sync.WaitGroup

	mu         sync.Mutex // guards the two times
	acceptedAt time.Time
	readyAt    time.Time
}

// AcceptedAt is when a connection was first accepted; zero before that.
func (b *Boot) AcceptedAt() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.acceptedAt
}

// ReadyAt is when the server first answered PONG; zero before that.
func (b *Boot) ReadyAt() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.readyAt
}

// newBoot starts the server's process and the goroutine that watches it come up.
func newBoot(s *Server) (*Boot, error) {
	path, err := exec.LookPath(serverProgram)
	if err != nil {
		return nil, Available()
	}
	log, err := os.OpenFile(s.files.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open server log: %w", err)
	}
	defer log.Close()
	what := spawn{program: path, args: []string{s.files.conf}, dir: s.files.dir, out: log}
	if s.set.sentinel {
		what.args = append(what.args, "--sentinel")
	}
	if s.set.host != nil {
		what.netns = s.set.host.name
	}
	c, err := startChild(what)
	if err != nil {
		return nil, err
	}
	accepted, answered, ready := make(chan struct{}), make(chan struct{}), make(chan struct{})
	b := &Boot{Accepted: accepted, Answered: answered, Ready: ready, Exited: c.done, child: c}
	b.watcher.Go(func() { b.watch(s, accepted, answered, ready) })
	return b, nil
}

// end kills the process and returns when it and the watcher are gone.
func (b *Boot) end() {
	b.child.kill()
	b.watcher.Wait()
}

// watch tries the server until it has answered PONG or its process has ended.
func (b *Boot) watch(s *Server, accepted, answered, ready chan<- struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	stop := make(chan struct{})
	defer func() { cancel(); <-stop }()
	go func() { // ends a dial or read in progress when the process ends
		defer close(stop)
		select {
		case <-b.child.done:
			cancel()
		case <-ctx.Done():
		}
	}()

	network, addr := s.probeAddr()
	b.until(ctx, func() bool { return canConnect(ctx, network, addr) }, &b.acceptedAt, accepted)
	seen := false
	b.until(ctx, func() bool {
		reply := s.ping(ctx)
		if reply != "" && !seen {
			seen = true
			close(answered)
		}
		return reply == "+PONG"
	}, &b.readyAt, ready)
}

// until repeats try; when it succeeds it notes the time and closes reached.
func (b *Boot) until(ctx context.Context, try func() bool, at *time.Time, reached chan<- struct{}) {
	begun, every := time.Now(), probeEvery
	for ctx.Err() == nil {
		if try() {
			b.mu.Lock()
			*at = time.Now()
			b.mu.Unlock()
			close(reached)
			return
		}
		if time.Since(begun) > probeEagerly {
			every = probeSlowly
		}
		select {
		case <-ctx.Done():
		case <-time.After(every):
		}
	}
}

func canConnect(ctx context.Context, network, addr string) bool {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return false
	}
	_ = conn.Close() // nothing was sent
	return true
}

// ping sends PING as the admin over the unix socket and returns the server's
// first word: "+PONG", "-LOADING"…, or "" if it gave none.
func (s *Server) ping(ctx context.Context) string {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", s.files.socket)
	if err != nil {
		return ""
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := fmt.Fprintf(conn, "AUTH %s %s\r\nPING\r\n", adminUser, s.adminPassword); err != nil {
		return ""
	}
	r := bufio.NewReader(conn)
	var line string
	for range 2 {
		if line, err = r.ReadString('\n'); err != nil {
			return ""
		}
	}
	word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	return word
}
