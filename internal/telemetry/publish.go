package telemetry

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"framekeeper/pkg/redisconn"
)

// Publisher puts samples on a Redis channel.
type Publisher struct {
	Backlog *Backlog
	Topic   string
	Format  string // json or list, see Sample.Payload
	Log     zerolog.Logger

	refused  bool // the last sample was, and it has been logged
	tooLarge bool // one was, and it has been logged
}

// Run publishes what there is and each new sample through the client until ctx
// ends or the connection fails; it returns the failure. One Run at a time. What
// the server answers with an error (no permission, for one) is logged once and
// tried again when the next sample is there: it is no fault of the connection.
//
// A sample whose confirmation was lost is published again by the next Run. The
// list format has no place for a time, so that only the newest is published.
func (p *Publisher) Run(ctx context.Context, client redis.Cmdable) error {
	for {
		e, ok := p.Backlog.oldest(p.Format == "list")
		if ok {
			err := p.publish(ctx, client, p.Backlog.stamped(e))
			if err != nil && ctx.Err() == nil {
				return err
			}
			if ok = err == nil && !p.refused; ok {
				p.Backlog.published(e)
			}
		}
		if ok && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.Backlog.added:
		}
	}
}

func (p *Publisher) publish(ctx context.Context, client redis.Cmdable, sample *Sample) error {
	payload, err := sample.Payload(p.Format)
	if err != nil {
		return err
	}
	if err := redisconn.CheckArgument(payload); err != nil {
		if !p.tooLarge {
			p.Log.Warn().Err(err).Str("topic", p.Topic).Msg("A telemetry sample is too large and is left out")
		}
		p.tooLarge = true
		return nil
	}
	err = client.Publish(ctx, p.Topic, payload).Err()
	var answer redis.Error
	switch {
	case err == nil:
		if p.refused {
			p.Log.Info().Str("topic", p.Topic).Msg("Telemetry is published again")
		}
		p.refused = false
	case errors.As(err, &answer):
		if !p.refused {
			p.Log.Warn().Err(err).Str("topic", p.Topic).Msg("Redis refuses telemetry")
		}
		p.refused = true
	default:
		return fmt.Errorf("publish telemetry: %w", err)
	}
	return nil
}
