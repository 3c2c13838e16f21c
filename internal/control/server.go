package control

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/rpc"
)

const (
	commandRate = 20      // a second; bursts of one second are taken
	maxOpen     = 100     // commands that are being carried out or wait for it
	maxAnswers  = 4 << 20 // bytes of answers that are remembered, and that wait for a link
	// defaultTimeout is how long the effect of a command may take that does not
	// give a time.
	defaultTimeout = 30 * time.Second
)

var errEnding = errors.New("the controller is ending")

// Do carries out one command. Commands for one camera come one after the other,
// and so do reloads; apart from that several run at once. When ctx ends, it
// returns how far it has come. A result may come with an error too.
type Do func(ctx context.Context, c Command) (result any, err error)

// Server is the controller's end. Run may be called once; Subscription and Worker
// may be used by one link after the other.
type Server struct {
	do       Do
	log      func() *zerolog.Logger
	commands *rpc.Server[request, *answer]
	answers  *answerQueue
}

// request is a command, and the other controllers of the box that it was sent to.
type request struct {
	Command
	rivals *Rivals
}

type pending = rpc.Pending[request]

// NewServer makes a server without commands. The logger is asked for at each line,
// since a reload may change it.
func NewServer(do Do, log func() *zerolog.Logger) *Server {
	s := &Server{do: do, log: log, answers: newAnswerQueue(log)}
	s.commands = rpc.NewServer(rpc.ServerConfig[request, *answer]{
		What: "command", Rate: commandRate, MaxOpen: maxOpen, Memory: maxAnswers, Exact: true,
		Parse: parseRequest, ID: func(r request) string { return r.ID },
		Refuse:  func(r request, _ time.Time, reason error) (*answer, error) { return newAnswer(&r, nil, reason), nil },
		Publish: s.answers.push, Log: log,
	})
	return s
}

func parseRequest(payload []byte, r request) (_ request, err error) {
	r.Command, err = Parse(payload)
	if r.Instance != "" && r.Instance != r.rivals.Self().Instance {
		err = rpc.ErrElsewhere
	}
	return r, err
}

// Subscription takes a box's commands, and the announcements of other controllers
// of its name.
func (s *Server) Subscription(rivals *Rivals) datatransfer.Subscription {
	return datatransfer.Subscription{Channel: Channel(rivals.Box()), Handle: func(payload []byte, arrived time.Time) {
		s.handle(payload, arrived, rivals)
	}}
}

func (s *Server) handle(payload []byte, arrived time.Time, rivals *Rivals) {
	if isAnnouncement(payload) {
		rivals.receive(payload, arrived)
		return
	}
	s.commands.Handle(payload, arrived, request{rivals: rivals})
}

// Worker publishes the answers.
func (s *Server) Worker() datatransfer.Worker {
	return datatransfer.Worker{Name: "answer commands", Run: s.answers.run}
}

// Run carries out commands until ctx ends, and joins all of them.
func (s *Server) Run(ctx context.Context) error {
	busy := map[string]bool{} // lanes
	finished := make(chan string)
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		next := s.commands.Take(func(p pending) bool {
			lane := p.Request.lane()
			taken := !busy[lane]
			busy[lane] = true
			return taken
		})
		for _, p := range next {
			wg.Go(func() {
				s.carryOut(ctx, p)
				select {
				case finished <- p.Request.lane():
				case <-ctx.Done():
				}
			})
		}
		select {
		case <-s.commands.Arrived():
		case lane := <-finished:
			delete(busy, lane)
		case <-ctx.Done():
			return nil
		}
	}
}

// lane is what a command must not overtake. No camera is called like these.
func (c *Command) lane() string {
	if !c.reads() && c.Name != Reload {
		return c.Camera
	}
	return "/" + c.Name
}

func (s *Server) carryOut(ctx context.Context, p pending) {
	r := &p.Request
	limit := r.Timeout
	if limit == 0 {
		limit = defaultTimeout
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	result, err := s.effect(limited, r)
	if err != nil && ctx.Err() != nil {
		err = errEnding
	}
	if !r.reads() {
		s.logEffect(r, time.Since(began), err)
	}
	s.commands.Answer(p, newAnswer(r, result, err))
}

// effect carries out a command that is meant for this controller alone; every
// controller of the name answers what only reads.
func (s *Server) effect(ctx context.Context, r *request) (any, error) {
	if !r.reads() && r.Instance == "" {
		if err := r.rivals.awaitNone(ctx); err != nil {
			return nil, err
		}
	}
	return s.do(ctx, r.Command)
}

func (s *Server) logEffect(r *request, took time.Duration, err error) {
	level, message := zerolog.InfoLevel, "Command carried out"
	if err != nil {
		level, message = zerolog.WarnLevel, "Command not carried out"
	}
	e := s.log().WithLevel(level).Err(err).Str("command", r.Name).Str("id", r.ID).Stringer("took", took.Round(time.Millisecond))
	if r.Camera != "" {
		e = e.Str("camera", r.Camera)
	}
	e.Msg(message)
}
