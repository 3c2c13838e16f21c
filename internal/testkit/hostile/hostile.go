// Package hostile is a man in the middle between a program and a real Redis, who
// answers chosen commands himself, with any bytes. Only tests use it.
package hostile

import (
	"bufio"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	"framekeeper/internal/testkit/redistest"
)

// Server passes everything on to a real server but what the test has it answer.
type Server struct {
	target   string
	listener net.Listener
	wg       sync.WaitGroup

	mu      sync.Mutex // guards all below
	answers map[string]string
	conns   map[net.Conn]bool
	count   int // commands answered

	mutation *Mutation     // that is to come
	mutated  chan struct{} // closed when it came
}

// Start begins to serve in front of the server at target, until the test ends.
func Start(tb redistest.TB, target string) *Server {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("hostile: %v", err)
	}
	s := &Server{target: target, listener: l, answers: map[string]string{}, conns: map[net.Conn]bool{}}
	s.wg.Go(s.accept)
	tb.Cleanup(func() {
		_ = l.Close()
		s.mu.Lock()
		for c := range s.conns {
			_ = c.Close()
		}
		s.mu.Unlock()
		s.wg.Wait()
	})
	return s
}

// Addr is where it listens.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// URL is Addr as Redis clients want it.
func (s *Server) URL() string { return "redis://" + s.Addr() + "/0" }

// Answer has every command of this name answered with these bytes, until Heal.
// "connect" stands for a connection that begins: the bytes are its greeting, and its end.
func (s *Server) Answer(command, with string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[strings.ToLower(command)] = with
}

// Heal passes everything on again.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.answers)
}

// Answered is how many commands were answered here.
func (s *Server) Answered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// Push sends bytes on every connection that is open.
func (s *Server) Push(b string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c, client := range s.conns {
		if client {
			_, _ = io.WriteString(c, b) // it may be closed already
			s.count++
		}
	}
}

// CutAll ends every connection.
func (s *Server) CutAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

func (s *Server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() { s.serve(c) })
	}
}

// note has a connection closed at the end.
func (s *Server) note(c net.Conn, client bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = client
}

func (s *Server) forget(c net.Conn) {
	_ = c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func (s *Server) serve(client net.Conn) {
	s.note(client, true)
	defer s.forget(client)
	if greeting, ok := s.answer("connect"); ok {
		_, _ = io.WriteString(client, greeting) // it may be closed already
		return
	}
	server, err := net.Dial("tcp", s.target)
	if err != nil {
		return
	}
	s.note(server, false)
	s.wg.Go(func() {
		s.relay(client, server) // ends when either is closed
		_ = client.Close()
	})
	defer s.forget(server)
	commands := bufio.NewReader(client)
	for {
		command, args, err := read(commands)
		if err != nil || len(args) == 0 {
			return
		}
		if answer, ok := s.answer(strings.ToLower(args[0])); ok {
			_, err = io.WriteString(client, answer)
		} else {
			_, err = server.Write(command)
		}
		if err != nil {
			return
		}
	}
}

// Mutate has a mutation come with the server's next bytes, and returns what is closed then.
func (s *Server) Mutate(m Mutation) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mutation, s.mutated = &m, make(chan struct{})
	return s.mutated
}

// relay passes the server's bytes on.
func (s *Server) relay(client, server net.Conn) {
	buf := make([]byte, 16<<10)
	for {
		n, err := server.Read(buf)
		if _, failed := client.Write(s.mutate(buf[:n])); failed != nil || err != nil {
			return
		}
	}
}

// mutate is what is passed on for b.
func (s *Server) mutate(b []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.mutation
	switch {
	case m == nil:
		return b
	case m.After >= len(b):
		m.After -= len(b)
		return b
	}
	s.mutation = nil
	close(s.mutated)
	return m.of(b)
}

func (s *Server) answer(command string) (with string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if with, ok = s.answers[command]; ok {
		s.count++
	}
	return with, ok
}

// read reads one command, which is an array of strings.
func read(from *bufio.Reader) (command []byte, args []string, err error) {
	number := func() (n int, err error) {
		line, err := from.ReadString('\n')
		if err != nil {
			return 0, err
		}
		command = append(command, line...)
		return strconv.Atoi(strings.TrimSpace(line[1:]))
	}
	count, err := number()
	for i := 0; i < count && err == nil; i++ {
		var n int
		if n, err = number(); err != nil {
			break
		}
		arg := make([]byte, n+len("\r\n"))
		_, err = io.ReadFull(from, arg)
		args, command = append(args, string(arg[:n])), append(command, arg...)
	}
	return command, args, err
}
