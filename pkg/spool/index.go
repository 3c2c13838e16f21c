package spool

import (
	"cmp"
	"slices"

	"framekeeper/pkg/frame"
)

// blockFrames is how many sequence numbers share a directory and a block of
// the index.
const blockFrames = 1000

// entry is what memory knows of one file: 12 bytes.
type entry struct {
	off  uint16 // sequence number within the block
	size uint32 // of the file
	at   int32  // when it was written, in ticks since Open
}

// cost is what a file of n bytes takes on disk. 4 KiB blocks are what nearly
// every file system has.
func cost(n int64) int64 { return (n + 4095) &^ 4095 }

// block is the entries of one directory, in order; never empty.
type block struct {
	place
	entries []entry
}

func (b *block) id(i int) frame.ID {
	return frame.ID{Epoch: b.epoch, Seq: b.block*blockFrames + uint64(b.entries[i].off)}
}

// index is all files in ID order.
type index struct {
	blocks []*block
	frames int
	bytes  int64 // on disk
}

func (x *index) findBlock(p place) (int, bool) {
	return slices.BinarySearchFunc(x.blocks, p, func(b *block, p place) int {
		return cmp.Or(cmp.Compare(b.epoch, p.epoch), cmp.Compare(b.block, p.block))
	})
}

func (b *block) find(id frame.ID) (int, bool) {
	return slices.BinarySearchFunc(b.entries, uint16(id.Seq%blockFrames), func(e entry, off uint16) int {
		return cmp.Compare(e.off, off)
	})
}

func (x *index) get(id frame.ID) (entry, bool) {
	if n, ok := x.findBlock(placeOf(id)); ok {
		if i, ok := x.blocks[n].find(id); ok {
			return x.blocks[n].entries[i], true
		}
	}
	return entry{}, false
}

// insert adds an ID that is not there yet.
func (x *index) insert(id frame.ID, size int64, at int32) {
	p := placeOf(id)
	n, ok := x.findBlock(p)
	if !ok {
		x.blocks = slices.Insert(x.blocks, n, &block{place: p})
	}
	b := x.blocks[n]
	i, _ := b.find(id)
	b.entries = slices.Insert(b.entries, i, entry{off: uint16(id.Seq % blockFrames), size: uint32(size), at: at})
	x.frames++
	x.bytes += cost(size)
}

// remove takes an ID out, and says whether its directory has no others.
func (x *index) remove(id frame.ID) (e entry, emptied bool) {
	n, ok := x.findBlock(placeOf(id))
	if !ok {
		return e, false
	}
	b := x.blocks[n]
	i, ok := b.find(id)
	if !ok {
		return e, false
	}
	e = b.entries[i]
	b.entries = slices.Delete(b.entries, i, i+1)
	x.frames--
	x.bytes -= cost(int64(e.size))
	if len(b.entries) > 0 {
		return e, false
	}
	x.blocks = slices.Delete(x.blocks, n, n+1)
	return e, true
}

func (x *index) oldest() (frame.ID, entry, bool) {
	if len(x.blocks) == 0 {
		return frame.ID{}, entry{}, false
	}
	return x.blocks[0].id(0), x.blocks[0].entries[0], true
}

// newest is the last ID; the index must not be empty.
func (x *index) newest() frame.ID {
	b := x.blocks[len(x.blocks)-1]
	return b.id(len(b.entries) - 1)
}

// latest is up to n IDs, the last first, without those to skip.
func (x *index) latest(n int, skip func(frame.ID) bool) (ids []frame.ID) {
	for _, b := range slices.Backward(x.blocks) {
		for i := len(b.entries) - 1; i >= 0 && len(ids) < n; i-- {
			if id := b.id(i); !skip(id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// after is up to n IDs above id.
func (x *index) after(id frame.ID, n int) []frame.ID {
	n = min(n, x.frames)
	if n <= 0 {
		return nil
	}
	var ids []frame.ID
	first, exact := x.findBlock(placeOf(id))
	for k, b := range x.blocks[first:] {
		from := 0
		if k == 0 && exact {
			var held bool
			if from, held = b.find(id); held {
				from++
			}
		}
		for i := from; i < len(b.entries); i++ {
			if len(ids) == n {
				return ids
			}
			ids = append(ids, b.id(i))
		}
	}
	return ids
}
