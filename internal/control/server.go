package control

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	rate       = 20.0 // commands a second; bursts of one second are taken
	maxWaiting = 100  // commands that are being carried out or wait for it
	// defaultTimeout is how long the effect of a command may take that does not
	// say it.
	defaultTimeout = 30 * time.Second
)

// Do carries out one command. Commands for one camera come one after the other,
// and so do reloads; apart from that several run at once. When ctx ends, it is
// to say how far it has come. A result may come with an error too.
type Do func(ctx context.Context, c Command) (result any, err error)

// Server is the controller's end. Run may be called once; Handle and Workers
// may be used by one link after the other.
type Server struct {
	do    Do
	log   func() *zerolog.Logger
	queue chan job
	wake  chan struct{} // capacity 1: there is something to publish

	mu      sync.Mutex // guards all below and what entries hold
	memory  memory
	out     outgoing
	waiting int
	bucket  bucket
	told    time.Time // of the last error reply about the rate
	refused uint64
	mute    bool // Redis refuses answers, and that has been logged
}

type job struct {
	command Command
	entry   *entry
	names   *Namesakes // of the box that was asked
}

// NewServer makes a server that has no commands yet. The logger is asked for at
// each line, since a reload may change it.
func NewServer(do Do, log func() *zerolog.Logger) *Server {
	return &Server{
		do: do, log: log, queue: make(chan job, maxWaiting), wake: make(chan struct{}, 1),
		memory: newMemory(), bucket: newBucket(rate, time.Now()),
	}
}

var (
	errBusy   = errors.New("too many commands are being carried out, try again later")
	errOther  = errors.New("another command has had this id: give each its own")
	errEnding = errors.New("the controller is ending")
)

// Handle takes one message of a box's control channel. It never blocks.
func (s *Server) Handle(payload []byte, arrived time.Time, names *Namesakes) {
	if isHello(payload) {
		names.hear(payload, arrived)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.admit(arrived, names) {
		return
	}
	c, err := Parse(payload)
	switch {
	case c.Instance != "" && c.Instance != names.Self().Instance:
		return // another controller is meant, and answers
	case err != nil:
		s.refuse(&c, names, err)
		return
	}
	sum := sha256.Sum256(payload)
	if e := s.memory.find(c.ID); e != nil {
		switch {
		case e.sum != sum:
			s.refuse(&c, names, errOther)
		case e.reply != nil:
			s.publish(e)
		}
		return // else it will be answered once
	}
	if s.waiting >= maxWaiting {
		s.refuse(&c, names, errBusy)
		return
	}
	e := &entry{id: c.ID, sum: sum, channel: ReplyChannel(names.Box())}
	s.memory.add(e)
	s.waiting++
	s.queue <- job{c, e, names} // there is room for all that wait
}

// admit keeps the rate. The caller holds mu.
func (s *Server) admit(now time.Time, names *Namesakes) bool {
	if s.bucket.take(now) {
		return true
	}
	s.refused++
	if now.Sub(s.told) >= time.Second {
		s.told = now
		s.log().Warn().Uint64("refused", s.refused).Msg("too many commands, refusing some")
		s.refuse(&Command{}, names, fmt.Errorf("more than %v commands a second: %d refused so far", rate, s.refused))
	}
	return false
}

// refuse answers what is not carried out, and not remembered. The caller holds mu.
func (s *Server) refuse(c *Command, names *Namesakes, why error) {
	s.publish(&entry{channel: ReplyChannel(names.Box()), reply: encode(c, names, nil, why, time.Now())})
}

// publish hands an answer to the link's worker. The caller holds mu.
func (s *Server) publish(e *entry) {
	before := s.out.lost
	if s.out.push(e); s.out.lost > before {
		s.log().Warn().Uint64("lost", s.out.lost).Msg("too many answers to commands wait for Redis, giving up the oldest")
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run carries out commands until ctx ends, and joins all of them.
func (s *Server) Run(ctx context.Context) error {
	lanes := map[string][]job{} // of those at work: what waits behind them
	finished := make(chan string)
	var wg sync.WaitGroup
	defer wg.Wait()
	work := func(lane string, j job) {
		wg.Go(func() {
			s.carryOut(ctx, j)
			select {
			case finished <- lane:
			case <-ctx.Done():
			}
		})
	}
	for {
		select {
		case j := <-s.queue:
			lane := j.lane()
			if behind, busy := lanes[lane]; busy {
				lanes[lane] = append(behind, j)
				continue
			}
			lanes[lane] = nil
			work(lane, j)
		case lane := <-finished:
			if behind := lanes[lane]; len(behind) > 0 {
				lanes[lane] = behind[1:]
				work(lane, behind[0])
			} else {
				delete(lanes, lane)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// lane is what a command must not overtake. No camera is called like these.
func (j *job) lane() string {
	if j.command.camera() {
		return j.command.Camera
	}
	return "/" + j.command.Name
}

func (s *Server) carryOut(ctx context.Context, j job) {
	c := &j.command
	limit := c.Timeout
	if limit == 0 {
		limit = defaultTimeout
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	result, err := s.obey(limited, j)
	if err != nil && ctx.Err() != nil {
		err = errEnding
	}
	if c.Name != Status {
		s.tell(c, time.Since(began), err)
	}
	reply := encode(c, j.names, result, err, time.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting--
	j.entry.reply = reply
	s.memory.answered(j.entry)
	s.publish(j.entry)
}

// obey carries out a command that is meant for this controller, and no other.
// Everybody may say how it is.
func (s *Server) obey(ctx context.Context, j job) (any, error) {
	if j.command.Name != Status && j.command.Instance == "" {
		if err := j.names.alone(ctx); err != nil {
			return nil, err
		}
	}
	return s.do(ctx, j.command)
}

// tell logs a command that may have changed something.
func (s *Server) tell(c *Command, took time.Duration, err error) {
	level, message := zerolog.InfoLevel, "command carried out"
	if err != nil {
		level, message = zerolog.WarnLevel, "command not carried out"
	}
	e := s.log().WithLevel(level).Err(err).Str("command", c.Name).Str("id", c.ID).Stringer("took", took.Round(time.Millisecond))
	if c.Camera != "" {
		e = e.Str("camera", c.Camera)
	}
	e.Msg(message)
}
