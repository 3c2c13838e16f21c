package outbox

import "framekeeper/pkg/frame"

// place is where an item's message is.
type place uint8

const (
	inMemory place = iota
	inMemoryAndDisk
	onDisk
	nowhere // lost, or delivered and evicted
	places
)

func (p place) String() string {
	return [...]string{"Memory", "MemoryAndDisk", "Disk", "Lost"}[p]
}

// progress is how far an item has come.
type progress uint8

const (
	awaitingPublish progress = iota // an answer: it enters the stream after it was published
	unsent
	inFlight
	delivered
	progresses
)

func (p progress) String() string {
	return [...]string{"AwaitingPublish", "Unsent", "InFlight", "Delivered"}[p]
}

// Item is a frame, or a reply that no log has, on its way to the channel. It holds
// its message whatever the log does with its own.
type Item struct {
	msg       *frame.Message
	payload   []byte // published instead of what is derived from msg; nil: that
	logged    *item  // nil: no log has it
	published bool   // its lane's mutex guards it
}

// NewItem makes an item that no log has, such as an error reply.
func NewItem(m *frame.Message) *Item { return &Item{msg: m} }

// Size is what the item takes in memory, in bytes.
func (i *Item) Size() int64 { return int64(i.msg.Size() + len(i.payload)) }

// Message is the item's message. Its ID is the one it was given first (see Log.renumber).
func (i *Item) Message() *frame.Message { return i.msg }

// item is one entry of the log: a frame, a run of lost frames, or the epoch's first
// entry. The Log's mutex guards all of it.
type item struct {
	id       frame.ID // of a lost run: its last
	first    frame.ID // the first of a lost run; else the same as id
	place    place
	progress progress
	msg      *frame.Message // nil unless in memory
	size     int64          // of the message
	file     frame.ID       // under which the spool has it; zero: it does not
	key      frame.ID       // under which the spool had it first; zero: it never did
	reason   string         // of a loss; or why the spool gave the file up

	isStarted  bool     // "<epoch>-0"
	refused    bool     // the spool was offered it and does not have it: nothing waits for the disk
	resent     bool     // Redis had it, and lost it
	others     uint64   // of a lost run: how many of its IDs are answers, which are not lost
	dropped    frame.ID // of a lost run: the first that Redis never had; zero if it had all
	declaredTo frame.ID // of a lost run: the last one that an entry sent to Redis declares
}

func (i *item) isLost() bool { return i.place == nowhere && !i.isStarted }

// count is how many frames an item stands for.
func (i *item) count() uint64 { return i.id.Seq - i.first.Seq + 1 - i.others }

// memory is what the item takes there, in bytes.
func (i *item) memory() int64 {
	if i.msg == nil {
		return 0
	}
	return i.size
}

// spoolable reports whether the item is for the disk and not there yet.
func (i *item) spoolable() bool {
	return i.place == inMemory && i.progress != delivered && i.msg != nil && !i.refused
}

// transitions lists, for each state of an item, the states that may follow it.
var transitions = map[state][]state{ //nolint:gochecknoglobals // a constant table
	{inMemory, awaitingPublish}:        {{inMemory, unsent}, {inMemoryAndDisk, awaitingPublish}},
	{inMemoryAndDisk, awaitingPublish}: {{inMemoryAndDisk, unsent}, {inMemory, awaitingPublish}},
	{inMemory, unsent}:                 {{inMemoryAndDisk, unsent}, {inMemory, inFlight}, {inMemory, delivered}, {nowhere, unsent}},
	{inMemoryAndDisk, unsent}:          {{onDisk, unsent}, {inMemory, unsent}, {inMemoryAndDisk, inFlight}, {inMemory, delivered}, {nowhere, unsent}},
	{onDisk, unsent}:                   {{onDisk, inFlight}, {nowhere, unsent}, {nowhere, delivered}},
	{nowhere, unsent}:                  {{nowhere, inFlight}, {nowhere, delivered}},
	{inMemory, inFlight}:               {{inMemoryAndDisk, inFlight}, {inMemory, unsent}, {inMemory, delivered}},
	{inMemoryAndDisk, inFlight}:        {{inMemory, inFlight}, {inMemoryAndDisk, unsent}, {inMemory, delivered}},
	{onDisk, inFlight}:                 {{inMemoryAndDisk, inFlight}, {inMemory, inFlight}, {onDisk, unsent}, {nowhere, inFlight}},
	{nowhere, inFlight}:                {{nowhere, unsent}, {nowhere, delivered}},
	{inMemory, delivered}:              {{inMemory, unsent}},
	{nowhere, delivered}:               {{nowhere, unsent}},
}

// state is all of an item's truth.
type state struct {
	place    place
	progress progress
}

func (s state) String() string { return s.place.String() + "/" + s.progress.String() }
