package outbox

import "io"

// simSession is one life of a connection.
type simSession struct {
	redis *simRedis
	ended bool
	safe  bool // it is a reader's: its calls are not cut at random
}

// call does one command with what may happen to it: the session ends before it, or
// after it and its reply is lost; the process is killed at either moment; others get
// on with their work meanwhile.
func (s *simSession) call(do func() error) error {
	w := s.redis.world
	if s.safe {
		w.guarded++
		defer func() { w.guarded-- }()
	}
	if s.cut() {
		return s.end("before a command")
	}
	w.meanwhile()
	if s.ended || !s.redis.up {
		return s.end("before a command")
	}
	err := do()
	w.meanwhile()
	if s.cut() {
		if !s.safe && w.life != nil {
			w.life.lostReplies++
		}
		return s.end("and loses a reply")
	}
	return err
}

// cutSoon is cut, without the kill.
func (s *simSession) cutSoon() bool { return s.redis.world.rng.percent(s.redis.cutting) }

func (s *simSession) cut() bool {
	w := s.redis.world
	if !s.safe && s.redis.killing > 0 && w.rng.IntN(1000) < s.redis.killing {
		w.kill()
	}
	return s.ended || !s.redis.up || (!s.safe && w.rng.percent(s.redis.cutting))
}

func (s *simSession) end(how string) error {
	if !s.ended {
		s.redis.world.trace.note("session ends %s", how)
	}
	if s.ended = true; !s.safe && s.redis.world.life != nil {
		s.redis.world.life.cut()
	}
	return io.EOF
}
