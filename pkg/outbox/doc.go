// Package outbox is the frame log of one camera: it gives frames their IDs, stores
// them until Redis has them, and writes them there.
//
//	             Add                         a session's worker
//	 frame ───► Log: unsent ──────────────► StreamWriter ──► XADD frames:<camera>
//	   │          │    ▲  ▲                       │ (delivery pubsub: ChannelWriter ──► PUBLISH)
//	   │ answer   │    │  └─ Redis lost it        ▼
//	   ▼          │    │                       delivered
//	Publisher     │    └──── read back            │
//	   │          ▼              │                ▼
//	   ▼       Spooler ──► pkg/spool          Log: retained, while there is room
//	PUBLISH    while Redis accepts nothing,
//	           or memory fills                Journal: what was given, delivered,
//	                                          trimmed, given up, over all starts
//
// # States
//
// An item is a frame, a run of lost frames, or "started". Where it is: Memory,
// MemoryAndDisk, Disk, Lost. How far it has come: AwaitingPublish (an answer that
// nobody has yet), Unsent, InFlight, Delivered. Only these changes exist
// (transitions; a test compares):
//
//	event              from                          to
//	published          Memory|MemoryAndDisk          the same/Unsent
//	                   /AwaitingPublish
//	spooled            Memory/any but Delivered      MemoryAndDisk/the same
//	spool gave it up   MemoryAndDisk/any             Memory/the same
//	                   Disk/Unsent                   Lost/Unsent
//	memory short       MemoryAndDisk/Unsent          Disk/Unsent
//	                   Memory/Unsent                 Lost/Unsent
//	batch begins       any/Unsent                    the same/InFlight
//	  and is read      Disk/InFlight                 MemoryAndDisk|Memory|Lost/InFlight
//	batch commits      any/InFlight                  Memory|Lost/Delivered
//	batch fails        any/InFlight                  the same/Unsent
//	Redis has it       any/Unsent                    Memory|Lost/Delivered
//	Redis lost it      Memory|Lost/Delivered         the same/Unsent
//	too large          any/Unsent                    Lost/Unsent
//
// Delivered items leave from the head of the list when memory is short or the
// stream has trimmed them; what then is lost by Redis is named from the ledger.
//
// It promises:
//
//   - IDs rise by one within an epoch and are never used twice. An epoch is saved
//     before it is used (Claim).
//   - Every ID reaches the stream once and in order: as its frame, or within a
//     declaration of lost frames, over all starts of the agent. What a kill or a
//     power cut took before it was on disk or in the journal is unknown, and the
//     next "started" says so (clean: false).
//   - Unsent and retained frames together take no more memory than the limit, but
//     for one frame; what cannot stay is evicted (if it is on disk or in Redis) or
//     declared lost.
//   - When Redis loses its data, the stream is made again of what it would have:
//     retained frames are sent again, the others above the trim bound are declared.
//   - An error that may pass loses nothing: a file that cannot be read now waits.
//
// It refuses a camera that another process has claimed, and does not write to a
// stream in which it finds entries that are not its own.
//
// internal/agent uses it. It is independent of cameras and requests. Nothing outside
// the Log touches an item's fields; Spooler and writers use methods only. Log,
// Journal, Spooler and writers are step machines: their goroutines are a loop around
// a step, so that the simulation in the tests can order every event.
//
// Why it is so: several entries go to Redis in one MULTI, because an entry that
// is refused while the next one is taken could never be added later. Every XADD
// but the one that creates the stream carries NOMKSTREAM, so that a stream which
// vanishes under a live session is noticed with the next frame. A refused ID
// counts as delivered only if the stream's last ID is one that we sent;
// otherwise it is a conflict. Answers and continuous frames have a lane and a
// connection each, so that an answer never waits behind frames. A start that
// cannot read the spool leaves it to a later one, which gives what the stream
// has passed new IDs.
package outbox
