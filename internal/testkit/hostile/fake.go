package hostile

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"framekeeper/internal/testkit/redistest"
)

// Fake is a Redis whose streams have one entry, and which answers the first command of one name with
// chosen bytes. It is for fuzzing: nothing is started for it.
type Fake struct {
	listener net.Listener
	wg       sync.WaitGroup
	fault    string // the command, in lower case
	bytes    string

	// Taken is closed when somebody has gone on after the bytes: with a command, or with
	// the end of the connection.
	Taken chan struct{}
	once  sync.Once

	mu      sync.Mutex // guards all below
	conns   map[net.Conn]bool
	heard   map[string]net.Conn // by channel: who is subscribed
	spent   bool                // the bytes were sent
	gave    map[string]bool     // by command: the entry was read
	written sync.Mutex          // of one command's answers after the other's
}

// StartFake begins to serve until Close. The command "push" stands for a message that
// comes by itself, after a subscription.
func StartFake(tb redistest.TB, command, answer string) *Fake {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("hostile: %v", err)
	}
	f := &Fake{
		listener: l, fault: command, bytes: answer, Taken: make(chan struct{}), conns: map[net.Conn]bool{}, heard: map[string]net.Conn{}, gave: map[string]bool{},
	}
	f.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.wg.Go(func() { f.serve(c) })
		}
	})
	return f
}

// URL is its address as Redis clients want it.
func (f *Fake) URL() string { return "redis://" + f.listener.Addr().String() + "/0" }

// Close ends every connection and waits for all goroutines.
func (f *Fake) Close() {
	_ = f.listener.Close()
	f.mu.Lock()
	for c := range f.conns {
		_ = c.Close()
	}
	f.mu.Unlock()
	f.wg.Wait()
}

func (f *Fake) serve(c net.Conn) {
	f.mu.Lock()
	f.conns[c] = true
	f.mu.Unlock()
	commands, faulty := bufio.NewReader(c), false
	defer func() {
		_ = c.Close()
		if faulty {
			f.once.Do(func() { close(f.Taken) })
		}
	}()
	for {
		_, args, err := read(commands)
		if err != nil || len(args) == 0 {
			return
		}
		if faulty {
			f.once.Do(func() { close(f.Taken) })
		}
		answer := f.answer(c, args)
		if f.due(strings.ToLower(args[0])) {
			faulty = true
			if f.fault == "push" {
				answer += f.bytes
			} else {
				answer = f.bytes
			}
		}
		f.write(c, answer)
	}
}

// due reports whether this command gets the chosen bytes.
func (f *Fake) due(command string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.spent || command != f.fault && (f.fault != "push" || command != "subscribe") {
		return false
	}
	f.spent = true
	return true
}

func (f *Fake) write(c net.Conn, answer string) {
	f.written.Lock()
	defer f.written.Unlock()
	_, _ = io.WriteString(c, answer) // it may be closed already
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// answer is what a Redis answers.
func (f *Fake) answer(c net.Conn, args []string) string {
	switch strings.ToLower(args[0]) {
	case "hello":
		return "-ERR unknown command\r\n"
	case "subscribe":
		return f.subscribe(c, args[1:])
	case "publish":
		return f.publish(args)
	case "ping":
		return "+PONG\r\n"
	case "get":
		return "$-1\r\n"
	case "xread", "xreadgroup":
		return f.read(args)
	case "xrange", "xrevrange", "xpending":
		return "*0\r\n"
	case "xautoclaim":
		return "*3\r\n" + bulk("0-0") + "*0\r\n*0\r\n"
	case "xlen", "xack", "exists":
		return ":0\r\n"
	case "xadd":
		return bulk("1-1")
	default:
		return "+OK\r\n"
	}
}

// read gives each kind of reader the one entry that there is, and then nothing.
func (f *Fake) read(args []string) string {
	command, after := strings.ToLower(args[0]), args[len(args)-1]
	f.mu.Lock()
	defer f.mu.Unlock()
	first := !f.gave[command]
	switch {
	case command == "xreadgroup" && after != ">":
		return "*1\r\n*2\r\n" + bulk(args[len(args)-2]) + "*0\r\n"
	case !first:
		return "" // it waits
	}
	f.gave[command] = true
	return "*1\r\n*2\r\n" + bulk(args[len(args)-2]) + "*1\r\n*2\r\n" + bulk("7-5") + "*4\r\n" +
		bulk("header") + bulk(`{"camera":"testcam","id":"7-5","status":"ok"}`) + bulk("image") + bulk("x")
}

func (f *Fake) subscribe(c net.Conn, channels []string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	for i, channel := range channels {
		f.heard[channel] = c
		fmt.Fprintf(&b, "*3\r\n%s%s:%d\r\n", bulk("subscribe"), bulk(channel), i+1)
	}
	return b.String()
}

func (f *Fake) publish(args []string) string {
	if len(args) != 3 {
		return "-ERR wrong number of arguments\r\n"
	}
	f.mu.Lock()
	subscriber := f.heard[args[1]]
	f.mu.Unlock()
	if subscriber == nil {
		return ":0\r\n"
	}
	f.write(subscriber, "*3\r\n"+bulk("message")+bulk(args[1])+bulk(args[2]))
	return ":1\r\n"
}
