package images

import (
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"framekeeper/pkg/frame"
)

const (
	corruptDir = "corrupt"
	stateDir   = ".state" // no camera can be called that
	timeLayout = "20060102T150405.000000Z"
)

// key is what makes a stored frame the same one.
type key struct {
	camera  string
	id      frame.ID
	corrupt bool
}

// name is a key and what else its file's name holds.
type name struct {
	key
	captured int64 // Unix microseconds, within what timeLayout can show
	ext      string
}

func (n name) path(root string) string {
	dir := filepath.Join(root, n.camera)
	if n.corrupt {
		dir = filepath.Join(dir, corruptDir)
	}
	return filepath.Join(dir, n.file())
}

func (n name) file() string {
	return time.UnixMicro(n.captured).UTC().Format(timeLayout) + "_" + n.id.String() + n.ext
}

// The four-digit years timeLayout can show and sort.
var (
	firstShown = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	lastShown  = time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC).UnixMicro()
)

func clampCaptured(us int64) int64 { return min(max(us, firstShown), lastShown) }

// parseFile reads what file wrote; ok is false for every other file, which is
// then none of ours.
func parseFile(camera, file string, corrupt bool) (n name, ok bool) {
	ext := filepath.Ext(file)
	switch ext {
	case extJPEG, extPNG, extBMP, extRaw:
	default:
		return name{}, false
	}
	at, id, found := strings.Cut(strings.TrimSuffix(file, ext), "_")
	if !found {
		return name{}, false
	}
	t, err := time.Parse(timeLayout, at)
	if err != nil {
		return name{}, false
	}
	parsed, err := frame.ParseID(id)
	if err != nil {
		return name{}, false
	}
	n = name{key{camera, parsed, corrupt}, t.UnixMicro(), ext}
	return n, n.file() == file
}

// tempFile matches what renameio calls a file before it gets its name.
var tempFile = regexp.MustCompile(`^\.\d{8}T\d{6}\.\d{6}Z_\d+-\d+\.(jpg|png|bmp|raw)\d+$`)
