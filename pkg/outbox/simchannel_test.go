package outbox

import "context"

// simChannel is a session's connection of a writer of the channel.
type simChannel struct{ *simSession }

var _ channelConn = (*simChannel)(nil)

// publish is a pipeline of PUBLISH commands: each has its own reply, or none.
func (c *simChannel) publish(_ context.Context, payloads [][]byte) []publishReply {
	replies := make([]publishReply, len(payloads))
	done := 0
	upTo := len(payloads)
	for _, wire := range payloads {
		c.redis.world.ledger.tried(wire)
	}
	if c.cutSoon() {
		upTo = c.redis.world.rng.IntN(upTo + 1)
	}
	err := c.call(func() error {
		for ; done < upTo; done++ {
			replies[done].receivers, replies[done].err = c.redis.publish(payloads[done])
		}
		return nil
	})
	lost := done
	if err != nil {
		lost = c.redis.world.rng.IntN(done + 1)
	} else if done < len(payloads) {
		err = c.end("within a pipeline")
	}
	if err != nil {
		for i := lost; i < len(replies); i++ {
			replies[i] = publishReply{err: err}
		}
	}
	return replies
}
