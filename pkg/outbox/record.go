package outbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"

	"framekeeper/pkg/frame"
)

// record is one line of the journal: "<CRC-32C of the rest, 8 hex digits> <JSON>".
// Later lines replace earlier ones of the same subject.
type record struct {
	Type   recordType `json:"type"`
	Epoch  uint64     `json:"epoch,omitempty"`
	Given  uint64     `json:"given,omitempty"`  // epoch: IDs up to this were given
	Sent   uint64     `json:"sent,omitempty"`   // epoch: Redis has had those up to this, as frames or declared
	Closed bool       `json:"closed,omitempty"` // epoch: it ended in order, no other was given
	Blind  bool       `json:"blind,omitempty"`  // epoch: that start could not read the spool
	ID     frame.ID   `json:"id,omitzero"`      // trimmed: all below this was
	First  frame.ID   `json:"first,omitzero"`   // lost
	Last   frame.ID   `json:"last,omitzero"`
	Reason string     `json:"reason,omitempty"`
	File   uint64     `json:"file,omitempty"` // renumbered: the epoch in the spool
	Minus  uint64     `json:"minus,omitempty"`
}

type recordType string

const (
	recordEpoch      recordType = "epoch"
	recordTrimmed    recordType = "trimmed"
	recordLost       recordType = "lost"
	recordRenumbered recordType = "renumbered"
)

const maxLine = 64 << 10 // of a journal

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //nolint:gochecknoglobals // a constant table

func (r record) line() string {
	text, err := json.Marshal(r)
	if err != nil { // it has only strings and numbers
		return ""
	}
	return fmt.Sprintf("%08x %s\n", crc32.Checksum(text, castagnoli), text)
}

// lines are all of a ledger, in an order that parseLedger accepts.
func (l *ledger) lines() (all []string) {
	for _, e := range l.epochs {
		all = append(all, record{Type: recordEpoch, Epoch: e.number, Given: e.given, Sent: e.sent, Closed: e.closed, Blind: e.blind}.line())
	}
	if !l.floor.IsZero() {
		all = append(all, record{Type: recordTrimmed, ID: l.floor}.line())
	}
	for _, m := range l.moves {
		all = append(all, record{Type: recordRenumbered, File: m.file, Minus: m.minus, Epoch: m.epoch}.line())
	}
	for _, s := range l.losses {
		all = append(all, record{Type: recordLost, First: s.first, Last: s.last, Reason: s.reason}.line())
	}
	return all
}

// parseLedger reads the lines of a journal and counts those that are damaged.
func parseLedger(text []byte) (l ledger, damaged int) {
	for line := range bytes.Lines(text) {
		r, ok := parseRecord(line)
		if string(line) == "\n" {
			continue // it ends one that may be torn
		}
		if !ok {
			damaged++
			continue
		}
		l.apply(r)
	}
	l.epochs = slices.DeleteFunc(l.epochs, func(e epoch) bool { return e.number < l.floor.Epoch && e.sent >= e.given })
	l.forget()
	for _, m := range l.moves { // a start that could not read them may have taken files for frames of their names
		if i, known := l.find(m.file); known {
			l.epochs[i].given = min(l.epochs[i].given, m.minus)
		}
	}
	return l, damaged
}

func parseRecord(line []byte) (r record, ok bool) {
	if len(line) > maxLine || len(line) < 10 || line[len(line)-1] != '\n' {
		return r, false
	}
	text := line[9 : len(line)-1]
	if string(line[:9]) != fmt.Sprintf("%08x ", crc32.Checksum(text, castagnoli)) {
		return r, false
	}
	return r, frame.Decode(text, &r) == nil
}

// apply takes a line's content over. What it does not know is of a later version.
func (l *ledger) apply(r record) {
	switch r.Type {
	case recordEpoch:
		e := l.open(r.Epoch)
		e.given, e.sent, e.closed, e.blind = max(e.given, r.Given), max(e.sent, r.Sent), r.Closed, r.Blind
	case recordTrimmed:
		l.floor = frame.Later(l.floor, r.ID)
	case recordRenumbered:
		l.moved(move{file: r.File, minus: r.Minus, epoch: r.Epoch})
	case recordLost:
		if r.First.Epoch == r.Last.Epoch && !r.Last.Less(r.First) {
			l.losses = slices.DeleteFunc(l.losses, func(s lossSpan) bool { return s.first == r.First })
			l.addLoss(r.First, r.Last, r.Reason)
		}
	}
}
