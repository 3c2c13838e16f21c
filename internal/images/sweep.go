package images

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/rs/zerolog"
)

const (
	// maxExpirePerSave bounds one Save when a great many images come of
	// age at once, after a long pause for instance.
	maxExpirePerSave = 64

	// burstLogEvery is how often a lasting run of deletions is mentioned; a
	// pause of that length ends the run, and the next deletion is logged again.
	burstLogEvery = 10 * time.Minute
)

// Sweep deletes what is too old now. Saving does the same little by little;
// Sweep is for the times when nothing arrives.
func (s *Store) Sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.sweep(now, s.index.len())
	s.burst.tick(s.log, now)
}

// sweep deletes the oldest images until everything fits, and up to maxExpired
// of those that are too old. The caller holds s.mu during the deletion too:
// an image that arrives again meanwhile must not be stored before its old
// copy is gone.
func (s *Store) sweep(now time.Time, maxExpired int) {
	for {
		e, ok := s.index.oldest()
		if !ok {
			return
		}
		reason := "images_max_bytes"
		if s.index.bytes+s.index.reserved <= int64(s.cfg.MaxBytes) {
			if maxExpired == 0 || now.Sub(e.stored) <= s.cfg.MaxAge {
				return
			}
			maxExpired--
			reason = "images_max_age"
		}
		s.index.pop()
		err := os.Remove(e.path(s.cfg.Dir))
		if errors.Is(err, fs.ErrNotExist) { // somebody else took it away
			err = nil
		}
		s.burst.add(s.log, now, reason, e.size, err)
	}
}

// burst turns a run of deletions into one line at its begin and, now and then
// and at its end, one with the figures.
type burst struct {
	running    bool
	lastLogged time.Time
	count      int // since lastLogged, as everything below
	bytes      int64
	failed     int
	err        error // the first failure
}

func (b *burst) add(log zerolog.Logger, now time.Time, reason string, size int64, err error) {
	b.tick(log, now)
	if !b.running {
		log.Info().Str("limit", reason).Msg("Deleting the oldest images to stay within the limit")
		*b = burst{running: true, lastLogged: now}
	}
	b.count++
	b.bytes += size
	if err != nil {
		b.failed++
		if b.err == nil {
			b.err = err
		}
	}
}

// tick reports when it is time to, and ends a run that has nothing to report.
func (b *burst) tick(log zerolog.Logger, now time.Time) {
	if !b.running || now.Sub(b.lastLogged) < burstLogEvery {
		return
	}
	b.report(log)
	*b = burst{running: b.count > 0, lastLogged: now}
}

func (b *burst) report(log zerolog.Logger) {
	switch {
	case b.failed > 0:
		log.Warn().Err(b.err).Int("deleted", b.count-b.failed).Int("failed", b.failed).Msg("Old images could not be deleted")
	case b.count > 0:
		log.Info().Int("deleted", b.count).Int64("bytes", b.bytes).Msg("Deleted the oldest images")
	}
}
