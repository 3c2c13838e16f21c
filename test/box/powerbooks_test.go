package box

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"framekeeper/pkg/frame"
)

// powerBooks account, camera by camera, for what boxes told before their power
// was cut, and hold it against what their client has in the end.
type powerBooks struct {
	durable bool // nothing that was in the stream may be lost
	cameras map[string]*powerBook
	faults  []string
}

// powerBook is one camera.
type powerBook struct {
	entries  map[frame.ID]string // frames that were in the stream, and their checksums
	declared map[frame.ID]bool
	spooled  map[uint64][2]frame.ID // by epoch: the first and the last seen on disk
	safe     []frame.ID             // they and all before them were synced
	images   map[frame.ID]string    // in the end, with their checksums
	places   []frame.ID             // the client's, at each start
	highest  uint64                 // epoch before the last cut
	starts   int
}

func newPowerBooks(durable bool) *powerBooks {
	b := &powerBooks{durable: durable, cameras: map[string]*powerBook{}}
	for _, c := range powerCameras {
		b.cameras[c] = &powerBook{
			entries: map[frame.ID]string{}, declared: map[frame.ID]bool{}, spooled: map[uint64][2]frame.ID{}, images: map[frame.ID]string{},
		}
	}
	return b
}

func (b *powerBooks) fault(format string, args ...any) {
	b.faults = append(b.faults, fmt.Sprintf(format, args...))
}

// said takes one message of the inner half.
func (b *powerBooks) said(text string) {
	kind, rest, _ := strings.Cut(text, " ")
	name, rest, _ := strings.Cut(rest, " ")
	c := b.cameras[name]
	if c == nil {
		b.fault("not understood: %q", text)
		return
	}
	if kind == "entry" {
		b.entry(c, rest)
		return
	}
	words := strings.Fields(rest)
	first, err := frame.ParseID(words[0])
	switch {
	case err != nil:
		b.fault("%q: %v", text, err)
	case kind == "place":
		if n := len(c.places); n > 0 && first.Less(c.places[n-1]) {
			b.fault("%s: the client's place went back from %s to %s", name, c.places[n-1], first)
		}
		c.places = append(c.places, first)
	case kind == "spool":
		last, _ := frame.ParseID(words[1])
		c.hold(first, last)
	case kind == "safe":
		c.safe = append(c.safe, first)
	case kind == "image":
		c.images[first] = words[1]
	}
}

func (c *powerBook) hold(first, last frame.ID) {
	held := [2]frame.ID{first, last}
	if before, ok := c.spooled[last.Epoch]; ok {
		held[0] = before[0]
	}
	if first.Epoch != last.Epoch {
		held[0] = frame.ID{Epoch: last.Epoch, Seq: 1}
	}
	c.spooled[last.Epoch] = held
}

func (b *powerBooks) entry(c *powerBook, text string) {
	h, err := frame.ParseHeader([]byte(text))
	if err != nil {
		b.fault("entry %q: %v", text, err)
		return
	}
	switch h.Status {
	case frame.StatusOK:
		if sum, ok := c.entries[h.ID]; ok && sum != h.CRC32C {
			b.fault("%s: the ID %s was used twice", h.Camera, h.ID)
		}
		c.entries[h.ID] = h.CRC32C
	case frame.StatusDropped:
		for id := h.First; !h.Last.Less(id); id = id.Next() {
			c.declared[id] = true
		}
	case frame.StatusStarted:
		c.starts++
		if h.ID.Epoch <= c.highest && c.entries[h.ID] == "" {
			b.fault("%s: started as %s after a cut of epoch %d", h.Camera, h.ID, c.highest)
		}
		c.entries[h.ID] = "started"
	}
}

// cut notes that the power is gone.
func (b *powerBooks) cut() {
	for _, c := range b.cameras {
		for id := range c.entries {
			c.highest = max(c.highest, id.Epoch)
		}
	}
}

// account is what became of one camera's frames.
type account struct {
	told, stored, declared, unknown, undeclared int
}

// judge adds up.
func (b *powerBooks) judge(t *testing.T) {
	t.Helper()
	for _, f := range b.faults {
		t.Error(f)
	}
	for _, name := range powerCameras {
		c := b.cameras[name]
		for id, sum := range c.images {
			if want := c.entries[id]; want != "" && want != sum {
				t.Errorf("%s: %s is stored with the checksum %s and was in the stream with %s", name, id, sum, want)
			}
		}
		var sum account
		last := map[uint64]uint64{} // epoch → the highest number that anything tells of
		for _, id := range c.known() {
			last[id.Epoch] = max(last[id.Epoch], id.Seq)
		}
		for epoch, n := range last {
			c.add(t, &sum, epoch, n, b.durable, name)
		}
		t.Logf("%s: %d starts, %d frames told of, %d stored, %d declared, %d unknown, %d undeclared",
			name, c.starts, sum.told, sum.stored, sum.declared, sum.unknown, sum.undeclared)
		if sum.undeclared > 0 {
			t.Errorf("%s: %d frames are undeclared", name, sum.undeclared)
		}
	}
}

// known is what tells how far the numbers of an epoch went.
func (c *powerBook) known() (all []frame.ID) {
	for id := range c.entries {
		all = append(all, id)
	}
	for id := range c.images {
		all = append(all, id)
	}
	for _, held := range c.spooled {
		all = append(all, held[1])
	}
	return slices.Concat(all, c.safe, c.places)
}

// add classes the frames 1 to n of an epoch. What is missing is unknown at its
// end, where the power was cut, and, if Redis forgets, before the first frame
// that was on disk. Nothing else may be missing, nor what was safe.
func (c *powerBook) add(t *testing.T, sum *account, epoch, n uint64, durable bool, name string) {
	t.Helper()
	has := func(id frame.ID) bool { return c.images[id] != "" || c.declared[id] }
	end := n
	for end > 0 && !has(frame.ID{Epoch: epoch, Seq: end}) {
		end--
	}
	for seq := uint64(1); seq <= n; seq++ {
		id := frame.ID{Epoch: epoch, Seq: seq}
		sum.told++
		switch {
		case c.images[id] != "":
			sum.stored++
		case c.declared[id]:
			sum.declared++
		case c.isSafe(id, durable):
			sum.undeclared++
			t.Errorf("%s: %s was safe and is lost", name, id)
		case seq > end, !durable && c.beforeSpool(id, has):
			sum.unknown++
		default:
			sum.undeclared++
			t.Errorf("%s: %s is missing below %d-%d", name, id, epoch, end)
		}
	}
}

// isSafe: it was synced, or the client had passed it, or the stream had it and
// Redis forgets nothing.
func (c *powerBook) isSafe(id frame.ID, durable bool) bool {
	passed := func(place frame.ID) bool { return place.Epoch == id.Epoch && !place.Less(id) }
	if slices.ContainsFunc(c.places, passed) || durable && c.entries[id] != "" {
		return true
	}
	first, spooled := c.spooled[id.Epoch]
	for _, s := range c.safe {
		if spooled && s.Epoch == id.Epoch && !id.Less(first[0]) && !s.Less(id) {
			return true
		}
	}
	return false
}

// beforeSpool: the run of missing frames ends where those on disk begin.
func (c *powerBook) beforeSpool(id frame.ID, has func(frame.ID) bool) bool {
	held, ok := c.spooled[id.Epoch]
	if !ok || !id.Less(held[0]) {
		return false
	}
	for next := id; next.Less(held[0]); next = next.Next() {
		if has(next) {
			return false
		}
	}
	return true
}
