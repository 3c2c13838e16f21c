package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
)

var errNeedsRoot = errors.New("a private mount namespace and port 53 need root; run with sudo")

func itoa(n int) string { return strconv.Itoa(n) }

// nameServer is a DNS server on a loopback address of its own. It answers every
// question for an IPv4 address with 127.0.0.1, until it has to fail.
type nameServer struct {
	ip      string
	conn    net.PacketConn
	failing atomic.Bool
	wg      sync.WaitGroup
}

func newNameServer() (*nameServer, error) {
	var last error
	for n := 53; n < 73; n++ { // another run may have one too
		ip := fmt.Sprintf("127.231.0.%d", n)
		conn, err := net.ListenPacket("udp4", ip+":53")
		if err != nil {
			last = err
			continue
		}
		s := &nameServer{ip: ip, conn: conn}
		s.wg.Go(s.serve)
		return s, nil
	}
	return nil, fmt.Errorf("start name server: %w", last)
}

func (s *nameServer) fail(on bool) { s.failing.Store(on) }

func (s *nameServer) close() {
	_ = s.conn.Close()
	s.wg.Wait()
}

func (s *nameServer) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if reply := answerTo(buf[:n], s.failing.Load()); reply != nil {
			_, _ = s.conn.WriteTo(reply, from) // who asked will ask again
		}
	}
}

// answerTo makes the reply to one question: the header's flags say SERVFAIL, or
// one A record follows the question, or none if it was for another type.
func answerTo(query []byte, failing bool) []byte {
	const header = 12
	end := header
	for end < len(query) && query[end] != 0 {
		end += 1 + int(query[end])
	}
	end += 5 // the root label, type and class
	if end > len(query) {
		return nil
	}
	reply := append([]byte(nil), query[:end]...)
	reply[2], reply[3] = 0x81, 0x80 // a reply, recursion available
	copy(reply[6:header], []byte{0, 0, 0, 0, 0, 0})
	switch isA := query[end-4] == 0 && query[end-3] == 1; {
	case failing:
		reply[3] |= 2 // SERVFAIL
	case isA:
		reply[7] = 1
		// A pointer to the question's name, type A, class IN, TTL 0, 4 bytes.
		reply = append(reply, 0xc0, header, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1)
	}
	return reply
}
