package spool

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"framekeeper/pkg/frame"
)

// A frame's file is a prefix and the frame's wire form. All numbers are little
// endian:
//
//	 0  "FKsp"
//	 4  version, 4 bytes
//	 8  epoch, 8 bytes
//	16  seq, 8 bytes
//	24  length of what follows the prefix, 8 bytes
//	32  CRC-32C of the 32 bytes before it and of what follows it, 4 bytes
//	36  header JSON, '\n', image
//
// The ID and the length are under the checksum, so that a file that was
// renamed, cut or grown is recognised.
const (
	magic      = "FKsp"
	version    = 1
	prefixSize = 36
	summed     = 32 // of the prefix, under the checksum
	minFile    = prefixSize + len("{}\n")
	suffix     = ".frame"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encodePrefix is what stands before wire in the file of id.
func encodePrefix(id frame.ID, wire []byte) [prefixSize]byte {
	var p [prefixSize]byte
	copy(p[:], magic)
	binary.LittleEndian.PutUint32(p[4:], version)
	binary.LittleEndian.PutUint64(p[8:], id.Epoch)
	binary.LittleEndian.PutUint64(p[16:], id.Seq)
	binary.LittleEndian.PutUint64(p[24:], uint64(len(wire)))
	binary.LittleEndian.PutUint32(p[summed:], checksum(p[:summed], wire))
	return p
}

func checksum(prefix, wire []byte) uint32 {
	return crc32.Update(crc32.Checksum(prefix, castagnoli), castagnoli, wire)
}

// decode reads the file of id. The message keeps data. Every error wraps
// ErrCorrupt.
func decode(id frame.ID, data []byte) (*frame.Message, error) {
	if len(data) < minFile {
		return nil, fmt.Errorf("%w: %d bytes are too few", ErrCorrupt, len(data))
	}
	prefix, wire := data[:prefixSize], data[prefixSize:]
	if !bytes.HasPrefix(prefix, []byte(magic)) {
		return nil, fmt.Errorf("%w: not a frame's file", ErrCorrupt)
	}
	if v := binary.LittleEndian.Uint32(prefix[4:]); v != version {
		return nil, fmt.Errorf("%w: written in version %d, expected %d", ErrCorrupt, v, version)
	}
	inside := frame.ID{Epoch: binary.LittleEndian.Uint64(prefix[8:]), Seq: binary.LittleEndian.Uint64(prefix[16:])}
	if inside != id {
		return nil, fmt.Errorf("%w: holds %s", ErrCorrupt, inside)
	}
	if n := binary.LittleEndian.Uint64(prefix[24:]); n != uint64(len(wire)) {
		return nil, fmt.Errorf("%w: %d bytes, expected %d", ErrCorrupt, len(wire), n)
	}
	if got, want := checksum(prefix[:summed], wire), binary.LittleEndian.Uint32(prefix[summed:]); got != want {
		return nil, fmt.Errorf("%w: checksum %08x, expected %08x", ErrCorrupt, got, want)
	}
	m, err := frame.ParseMessage(wire)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if m.Header.ID != id {
		return nil, fmt.Errorf("%w: its header says %s", ErrCorrupt, m.Header.ID)
	}
	return m, nil
}

func fileName(id frame.ID) string { return id.String() + suffix }

// parseName is the ID that a file's name is for. There is one name per ID.
func parseName(name string) (frame.ID, bool) {
	text, ok := strings.CutSuffix(name, suffix)
	if !ok {
		return frame.ID{}, false
	}
	id, err := frame.ParseID(text)
	return id, err == nil && !id.IsZero()
}

// place is the directory a frame's file is in. No directory gets more than
// blockFrames files: large ones are slow on the file systems of SD cards.
type place struct{ epoch, block uint64 }

func placeOf(id frame.ID) place { return place{id.Epoch, id.Seq / blockFrames} }

func (p place) epochName() string { return strconv.FormatUint(p.epoch, 10) }
func (p place) blockName() string { return strconv.FormatUint(p.block, 10) }

// parseNumber reads the name of a directory of ours.
func parseNumber(name string) (uint64, bool) {
	n, err := strconv.ParseUint(name, 10, 64)
	return n, err == nil && strconv.FormatUint(n, 10) == name
}
