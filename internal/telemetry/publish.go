package telemetry

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
)

// Publisher puts samples on a Redis channel.
type Publisher struct {
	Sampler *Sampler
	Topic   string
	Format  string // json or list, see Sample.Payload
	Log     zerolog.Logger

	refused bool // the last sample was, and it has been logged
}

// Run publishes each new sample through the client until ctx ends or the
// connection fails; it returns the failure. One Run at a time. What the server
// answers with an error (no permission, for one) is logged once and tried
// again with the next sample: it is no fault of the connection.
func (p *Publisher) Run(ctx context.Context, client redis.Cmdable) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case sample := <-p.Sampler.New():
			if err := p.publish(ctx, client, sample); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

func (p *Publisher) publish(ctx context.Context, client redis.Cmdable, sample *Sample) error {
	payload, err := sample.Payload(p.Format)
	if err != nil {
		return err
	}
	err = client.Publish(ctx, p.Topic, payload).Err()
	var answer redis.Error
	switch {
	case err == nil:
		if p.refused {
			p.Log.Info().Str("topic", p.Topic).Msg("telemetry is published again")
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
