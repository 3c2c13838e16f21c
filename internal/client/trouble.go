package client

import (
	"fmt"
	"strings"

	"framekeeper/internal/agentstatus"
	"framekeeper/internal/text"
)

// unwell is why a camera is not well, as the controller judges it too; empty if
// it is. One that was stopped is absent.
func (r report) unwell() []string {
	if !r.present {
		return []string{"absent"}
	}
	s, err := agentstatus.Parse(r.body)
	if err != nil {
		return []string{"its status cannot be read"}
	}
	return s.Troubles()
}

// maxTrouble bounds, in characters, what an error shows of a status.
const maxTrouble = 300

func inWords(why []string) string {
	return fmt.Sprintf("%.*s", maxTrouble, text.Printable(strings.Join(why, "; "), 0))
}
