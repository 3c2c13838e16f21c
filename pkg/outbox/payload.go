package outbox

import (
	"context"
	"errors"

	"framekeeper/pkg/frame"
)

// payloadBatch is what is sent together.
type payloadBatch struct {
	payloads       [][]byte
	total, largest int64
	refused        error // the only payload is an error reply, because of this
}

func (b *payloadBatch) add(payload []byte) {
	b.payloads = append(b.payloads, payload)
	n := int64(len(payload))
	b.total, b.largest = b.total+n, max(b.largest, n)
}

// payloads derives what is published. A message that cannot be, because Redis would
// not accept it, becomes an error reply. nil: these are too many together.
func (p *Publisher) payloads(ctx context.Context, items []*Item, test sizeTester) (*payloadBatch, error) {
	b := &payloadBatch{}
	for _, item := range items {
		m, err := p.entries.current(item)
		if err != nil {
			return nil, err
		}
		payload := item.payload
		if payload == nil {
			payload, err = p.cfg.Wire.of(ctx, m)
		}
		if err != nil && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			p.cfg.Log.Error().Stringer("id", m.Header.ID).Err(err).Msg("An answer cannot be published; its request gets an error")
			return p.refusal(ctx, m, err)
		}
		b.add(payload)
	}
	fits, err := p.cfg.Ceiling.fits(ctx, b.total, test)
	switch {
	case err != nil || fits:
		return b, err
	case len(items) > 1:
		return nil, nil //nolint:nilnil // it is no error
	}
	return p.refusal(ctx, items[0].msg, errors.New(tooLarge(b.total)))
}

// refusal is the error reply in place of an answer that cannot be published.
func (p *Publisher) refusal(ctx context.Context, m *frame.Message, reason error) (*payloadBatch, error) {
	h := frame.Header{
		Camera: m.Header.Camera, Status: frame.StatusError, Error: reason.Error(),
		Request: m.Header.Request, RequestedUS: m.Header.RequestedUS, PublishedUS: m.Header.PublishedUS,
	}
	reply, err := frame.NewMessage(h, nil)
	if err != nil {
		return nil, err
	}
	payload, err := p.cfg.Wire.of(ctx, reply)
	return &payloadBatch{payloads: [][]byte{payload}, refused: reason}, err
}
