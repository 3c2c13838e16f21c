package box

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"framekeeper/pkg/frame"
)

// powerBooks account, camera by camera, for what boxes reported before their power
// was cut, and hold it against what is there afterwards.
type powerBooks struct {
	durable bool // nothing that was in the stream may be lost
	cameras map[string]*powerBook
	faults  []string
}

// powerBook is one camera. Sets of frames are true for those that have to be
// there still.
type powerBook struct {
	entries map[frame.ID]string // that were in the stream, with their checksums
	lost    map[frame.ID]bool   // declared
	safe    []frame.ID          // synced when the power was cut
	images  map[frame.ID]bool   // stored; those that the client's place had passed must stay
	sums    map[frame.ID]string // of the images, in the end
	place   frame.ID            // the client's
	highest uint64              // epoch before the last cut
	starts  int
	seen    map[uint64]uint64 // epoch → the highest number that anything reported
}

func newPowerBooks(durable bool) *powerBooks {
	b := &powerBooks{durable: durable, cameras: map[string]*powerBook{}}
	for _, c := range powerCameras {
		b.cameras[c] = &powerBook{
			entries: map[frame.ID]string{}, lost: map[frame.ID]bool{},
			images: map[frame.ID]bool{}, sums: map[frame.ID]string{}, seen: map[uint64]uint64{},
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
	switch {
	case c == nil:
		b.fault("not understood: %q", text)
	case kind == "entry":
		b.entry(c, rest)
	case kind == "undeclared":
		b.fault("the client misses frames that nobody declared lost")
	case kind == "image":
		id, sum, _ := strings.Cut(rest, " ")
		c.sums[b.ids(id)[0]] = sum
	default:
		b.list(name, c, kind, b.ids(rest))
	}
}

func (b *powerBooks) ids(text string) (all []frame.ID) {
	for word := range strings.FieldsSeq(text) {
		id, err := frame.ParseID(word)
		if err != nil {
			b.fault("%v", err)
		}
		all = append(all, id)
	}
	return all
}

// list takes a message that names frames.
func (b *powerBooks) list(name string, c *powerBook, kind string, all []frame.ID) {
	for _, id := range all {
		c.seen[id.Epoch] = max(c.seen[id.Epoch], id.Seq)
	}
	there := map[frame.ID]bool{}
	for _, id := range all {
		there[id] = true
	}
	switch kind {
	case "safe":
		c.safe = all
	case "promised":
		for _, id := range all {
			c.images[id] = true
		}
	case "place":
		if all[0].Less(c.place) {
			b.fault("%s: the client's place went back from %s to %s", name, c.place, all[0])
		}
		c.place = all[0]
	case "held": // at the start after a cut, and in the end
		gone := slices.DeleteFunc(slices.Clone(c.safe), func(id frame.ID) bool { return there[id] })
		if len(gone) > 0 {
			b.fault("%s: %d frames, %s to %s, were synced and are not on disk after the cut; of %s to %s; there are %d, %s to %s", name,
				len(gone), gone[0], gone[len(gone)-1], c.safe[0], c.safe[len(c.safe)-1], len(all), all[0], all[len(all)-1])
		}
		c.safe = nil
	case "stored":
		for id := range c.images {
			if !there[id] {
				b.fault("%s: the image of %s was stored and is gone after the cut", name, id)
			}
		}
		for _, id := range all {
			c.images[id] = true
		}
	}
}

func (b *powerBooks) entry(c *powerBook, text string) {
	h, err := frame.ParseHeader([]byte(text))
	if err != nil {
		b.fault("entry %q: %v", text, err)
		return
	}
	c.seen[h.ID.Epoch] = max(c.seen[h.ID.Epoch], h.ID.Seq)
	before, again := c.entries[h.ID]
	switch h.Status {
	case frame.StatusOK:
		if again && before != h.CRC32C {
			b.fault("%s: the ID %s was used twice", h.Camera, h.ID)
		}
		c.entries[h.ID] = h.CRC32C
	case frame.StatusDropped:
		for id := h.First; !h.Last.Less(id); id = id.Next() {
			c.lost[id] = true
		}
	case frame.StatusStarted:
		if again {
			return
		}
		c.starts++
		if h.ID.Epoch <= c.highest {
			b.fault("%s: started as %s, and epoch %d was used before", h.Camera, h.ID, c.highest)
		}
		c.entries[h.ID] = "started"
	}
}

// cut notes that the power is gone.
func (b *powerBooks) cut() {
	for _, c := range b.cameras {
		for epoch := range c.seen {
			c.highest = max(c.highest, epoch)
		}
	}
}

// judge adds up. Frames are unknown if the power's end took them: out of memory,
// from what the disk had not got yet, or with a Redis that forgets.
func (b *powerBooks) judge(t *testing.T) {
	t.Helper()
	for _, f := range b.faults {
		t.Error(f)
	}
	for _, name := range powerCameras {
		c := b.cameras[name]
		if len(c.safe) > 0 {
			t.Errorf("%s: %d frames were synced and none is on disk after the cut", name, len(c.safe))
		}
		for id, sum := range c.sums {
			if want, ok := c.entries[id]; ok && want != sum {
				t.Errorf("%s: %s is stored with the checksum %s and was in the stream with %s", name, id, sum, want)
			}
		}
		reported, stored, declared, unknown := 0, 0, 0, 0
		for epoch, n := range c.seen {
			for seq := uint64(1); seq <= n; seq++ {
				id := frame.ID{Epoch: epoch, Seq: seq}
				reported++
				switch {
				case c.sums[id] != "":
					stored++
				case c.lost[id]:
					declared++
				case c.place.Less(id): // left for the client's next run
					reported--
				case b.durable && c.entries[id] != "":
					t.Errorf("%s: %s was in the stream and is lost", name, id)
				default:
					unknown++
				}
			}
		}
		t.Logf("%s: %d starts, %d frames reported, %d stored, %d declared, %d unknown", name, c.starts, reported, stored, declared, unknown)
	}
}
