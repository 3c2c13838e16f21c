package camera

import (
	"errors"
	"fmt"
)

// Clue is what a source that was told to end has seen in place of a frame, for
// people and without credentials. Its Next and its Opener may wrap one together
// with ctx.Err(): the watchdog knows only that no frame came.
type Clue string

func (c Clue) Error() string { return string(c) }

// WithClue is trouble with the clue that end holds, if it holds one.
func WithClue(trouble, end error) error {
	var clue Clue
	if !errors.As(end, &clue) {
		return trouble
	}
	return fmt.Errorf("%w: %w", trouble, clue)
}
