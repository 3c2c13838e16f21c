package events

import (
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"framekeeper/internal/async"
	"framekeeper/internal/text"
)

const (
	// maxEvents bounds how many events a Log has, the others the characters of each.
	maxEvents, maxText, maxSubject = 1000, 300, 100
	// repeatTime is how soon the same event again is only counted.
	repeatTime = 3 * time.Minute
)

// Log has the newest events. Any goroutine may use it.
type Log struct {
	file   string // "": memory only
	logger func() *zerolog.Logger
	wake   async.Wake

	mu      sync.Mutex // guards all below
	all     []Event    // oldest first, by the last time
	last    uint64     // ID given
	unsaved []Event    // not in the file yet
	anew    bool       // the file has to be written whole: a line of it is damaged

	saving sync.Mutex // held by who writes the file
	size   int64      // of the file; saving guards it, and broken
	broken bool       // it cannot be written, which was logged
}

// NewLog has what the file has; "" is a log in memory. So is that of a file which cannot
// be read, or is none, which is logged.
func NewLog(file string, logger func() *zerolog.Logger) *Log {
	l := &Log{file: file, logger: logger, wake: async.NewWake()}
	if file == "" {
		return l
	}
	var err error
	if l.all, l.size, l.anew, err = readFile(file); err != nil {
		logger().Warn().Err(err).Msg("Events are in memory only: those of before cannot be read")
		l.file = ""
	}
	for i := range l.all {
		l.last = max(l.last, l.all[i].ID)
	}
	return l
}

// Add takes an event and returns it with its ID. The same as one of the last minutes
// is that one again, counted.
func (l *Log) Add(e Event) Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Text, e.Subject = text.Printable(e.Text, maxText), text.Printable(e.Subject, maxSubject)
	i := l.earlier(&e)
	if i >= 0 {
		old := l.all[i]
		e.ID, e.FirstUS, e.Count = old.ID, old.First().UnixMicro(), old.Times()+1
		e.Lost += old.Lost
		l.all = slices.Delete(l.all, i, i+1)
	} else {
		l.last++
		e.ID = l.last
	}
	l.all = newestEvents(append(l.all, e))
	if l.file == "" {
		return e
	}
	l.unsaved = slices.DeleteFunc(l.unsaved, func(u Event) bool { return u.ID == e.ID })
	if l.unsaved = newestEvents(append(l.unsaved, e)); i < 0 {
		l.wake.Call() // what repeats itself is written by the minute: a card must last
	}
	return e
}

func newestEvents(all []Event) []Event { return all[max(0, len(all)-maxEvents):] }

// earlier is where the event is that e repeats; -1: nowhere.
func (l *Log) earlier(e *Event) int {
	for i := len(l.all) - 1; i >= 0; i-- {
		old := &l.all[i]
		if since := e.Time().Sub(old.Time()); since < 0 || since > repeatTime { // or the clock was set
			return -1
		}
		if e.repeats(old) {
			return i
		}
	}
	return -1
}

// Since are the events from that time on, newest first, at most so many.
func (l *Log) Since(t time.Time, limit int) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := []Event{}
	for i := len(l.all) - 1; i >= 0 && len(found) < limit; i-- {
		if !l.all[i].Time().Before(t) {
			found = append(found, l.all[i])
		}
	}
	return found
}

// Last is the newest event; nil if there is none.
func (l *Log) Last() *Event {
	if newest := l.Since(time.Time{}, 1); len(newest) > 0 {
		return &newest[0]
	}
	return nil
}
