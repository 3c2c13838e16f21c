package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"framekeeper/pkg/datatransfer"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/outbox"
	"framekeeper/pkg/redisconn"
)

// presencePoll is how often a start reads a foreign status, to see whether it is
// renewed.
const presencePoll = 100 * time.Millisecond

// identity are the keys of a status by which agents differ.
type identity struct {
	Instance string `json:"instance"`
	Owner    string `json:"owner"`
	Host     string `json:"host"`
	PID      int    `json:"pid"`
	Boot     string `json:"boot"` // of the machine: no two share it, nor two starts of one
	TimeUS   int64  `json:"time_us"`
}

// bootID names this start of this machine; "" where it is unknown. Boxes made
// from one image share host name and state directory, but not this.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// dead reports whether the status is from a process that cannot live any more:
// one of our own state directory, which we have locked, or one of this machine
// whose process is not there, as after a kill where the directory does not persist.
// Whether another machine's process lives is unknown, however alike the machines are.
func (i *identity) dead(owner string) bool {
	if boot := bootID(); i.Boot != "" && boot != "" && i.Boot != boot {
		return false
	}
	host, err := os.Hostname()
	return i.Owner == owner ||
		err == nil && i.Host == host && i.PID > 0 && errors.Is(syscall.Kill(i.PID, 0), syscall.ESRCH)
}

// reading is the status as it stands in Redis.
type reading struct {
	identity // zero where it is no agent's

	text   string        // "": there is none
	left   time.Duration // until it expires; negative: never
	hidden bool          // it must not be read
}

func newReading(text string, left time.Duration) reading {
	r := reading{text: text, left: left}
	if frame.Decode([]byte(text), &r.identity) != nil {
		r.identity = identity{}
	}
	return r
}

// foreign reports whether a status may be of another agent that is alive.
func (p *presence) foreign(r reading) bool {
	return r.Instance != "" && r.left >= 0 && r.Instance != p.Instance && !r.dead(p.Owner)
}

// rival is why the start beside this agent ends.
func (i *identity) rival() error {
	return &datatransfer.FatalError{Err: fmt.Errorf("%w: process %d on host %s answers for it over the same Redis; stop one of them, or give this camera another name",
		outbox.ErrClaimed, i.PID, i.Host)}
}

// admit checks, once, whether another agent is alive, and takes the status over. A
// status that is not of this state directory, nor of a process that is dead for
// certain, is a rival's if somebody answers the question that ask puts, or if it is
// renewed meanwhile. Where Redis does not let ask do its work, only the status
// remains: it is waited for until it is renewed or expires.
//
// Of agents that start at the same time none answers the others' questions before it
// is LIVE. The first to exchange the status in Redis goes on; whoever finds another
// one there than it has just read does not.
func (p *presence) admit(ctx context.Context, r redis.Cmdable, ask func(context.Context) (alive bool, err error)) error {
	if p.noRival {
		return nil
	}
	first, err := p.read(ctx, r)
	if err != nil {
		return err
	}
	if p.foreign(first) {
		p.Log.Warn().Str("host", first.Host).Int("pid", first.PID).Int64("for_ms", first.left.Milliseconds()).
			Msg("Another agent's status is in Redis; checking whether that agent is alive")
		if first, err = p.outlive(ctx, r, first, ask); err != nil {
			return err
		}
	}
	return p.takeOver(ctx, r, first)
}

// outlive waits until the agent of a status turns out to be dead, and returns what is
// left of it then.
func (p *presence) outlive(
	ctx context.Context, r redis.Cmdable, first reading, ask func(context.Context) (alive bool, err error),
) (reading, error) {
	type answer struct {
		alive bool
		err   error
	}
	answered := make(chan answer, 1)
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	asking.Go(func() {
		alive, err := ask(ctx)
		answered <- answer{alive, err}
	})
	defer asking.Wait()
	defer cancel()
	for {
		dead := false
		select {
		case a := <-answered:
			switch {
			case a.alive:
				return first, first.rival()
			case redisconn.EndsSession(a.err):
				return first, fmt.Errorf("ask for another agent: %w", a.err)
			case a.err != nil:
				p.Log.Warn().Err(a.err).Str("advice", redisconn.CauseOf(a.err).Advice()).
					Msg("The other agent cannot be asked; waiting until its status is renewed or expires")
			}
			dead = a.err == nil
		case <-time.After(presencePoll):
		case <-ctx.Done():
			return first, context.Cause(ctx)
		}
		now, err := p.read(ctx, r)
		switch {
		case err != nil:
			return first, err
		case p.foreign(now) && (now.TimeUS != first.TimeUS || now.Instance != first.Instance):
			return now, now.rival()
		case dead || !p.foreign(now):
			return now, nil
		}
	}
}

// takeOver exchanges the status that was read for this agent's own. Another one in its
// place is of a rival that started at the same time, and is put back. Where Redis
// refuses to read or to exchange it, rivals are not detected.
func (p *presence) takeOver(ctx context.Context, r redis.Cmdable, known reading) error {
	if known.hidden {
		p.noRival = true
		return nil
	}
	text, err := json.Marshal(p.Status())
	if err != nil {
		return fmt.Errorf("encode status: %w", err)
	}
	old, err := p.set(ctx, r, text)
	if redisconn.EndsSession(err) {
		return err
	}
	if now := newReading(old, 0); old != known.text && p.foreign(now) {
		if _, err := p.set(ctx, r, []byte(old)); err != nil {
			p.Log.Debug().Err(err).Msg("The other agent's status could not be put back; its next one takes this place")
		}
		return now.rival()
	}
	p.noRival = true
	return nil
}
