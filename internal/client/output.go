package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"errors"
	"io/fs"
	"os"

	"github.com/google/renameio/v2"

	"framekeeper/internal/images"
	"framekeeper/internal/text"
	"framekeeper/pkg/frame"
)

// writeImage writes the image to what -o names: nowhere for "", on stdout for "-".
// A regular file appears under its name only when it is complete.
func writeImage(output string, m *frame.Message, stdout io.Writer) error {
	switch output {
	case "":
		return nil
	case "-":
		if _, err := stdout.Write(m.Image()); err != nil {
			return fmt.Errorf("write image: %w", err)
		}
		return nil
	}
	body, err := fileImage(output, m)
	if err != nil {
		return err
	}
	if err := writeFile(output, body); err != nil {
		return fmt.Errorf("write image %s: %w", output, err)
	}
	return nil
}

// checkName refuses a file whose name promises what a camera that sends e does
// not bring. Endings that promise nothing known here are the caller's business,
// except that raw pixels need a name to become what a viewer opens.
func checkName(output string, e frame.Encoding) error {
	if output == "" || output == "-" {
		return nil
	}
	ext := strings.ToLower(filepath.Ext(output))
	var fits, refused string
	switch e {
	case frame.Raw:
		switch ext {
		case ".raw", ".bmp", ".png":
			return nil
		}
		return fmt.Errorf("write image: the camera sends raw pixels; name a .png, .bmp or .raw file, not %s", output)
	case frame.JPEG:
		fits, refused = ".jpg or .jpeg", ".png .bmp .raw"
	case frame.PNG:
		fits, refused = ".png", ".jpg .jpeg .bmp .raw"
	}
	if slices.Contains(strings.Fields(refused), ext) {
		return fmt.Errorf("write image: the camera sends %s; name a %s file, not %s", e, fits, output)
	}
	return nil
}

// fileImage is the image as it goes into a file: unchanged, except that raw
// pixels become what a viewer opens unless the name ends in .raw.
func fileImage(output string, m *frame.Message) ([]byte, error) {
	if err := checkName(output, m.Header.Encoding); err != nil {
		return nil, err
	}
	ext := strings.ToLower(filepath.Ext(output))
	switch {
	case m.Header.Encoding != frame.Raw || ext == ".raw":
		return m.Image(), nil
	case ext == ".bmp":
		return images.BMP(&m.Header, m.Image())
	default:
		return encodePNG(m)
	}
}

func encodePNG(m *frame.Message) ([]byte, error) {
	h, pixels := &m.Header, m.Image()
	if _, err := images.BMP(h, pixels); err != nil { // it checks size and format
		return nil, err
	}
	img := image.NewNRGBA(image.Rect(0, 0, h.Width, h.Height))
	for from, to := 0, 0; from < len(pixels); from, to = from+3, to+4 {
		img.Pix[to], img.Pix[to+1], img.Pix[to+2], img.Pix[to+3] = pixels[from+2], pixels[from+1], pixels[from], 0xff
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return nil, fmt.Errorf("encode png: %w", err)
	}
	return b.Bytes(), nil
}

// jsonLine is the header as it came, on exactly one line, with escapes for what a
// terminal must not see.
func jsonLine(m *frame.Message) []byte {
	var b bytes.Buffer
	if json.Compact(&b, m.HeaderJSON()) != nil {
		b.Reset() // it was parsed, so this does not happen
		b.WriteString("{}")
	}
	return append(text.EscapeJSON(b.Bytes()), '\n')
}

// maxLinks is how many symbolic links are followed, as many as Linux does.
const maxLinks = 40

// writeFile puts body where output leads. A regular file, or one that does not
// exist yet, appears under its name only when it is complete; symbolic links to
// it stay. What is no regular file (a device, a pipe, a terminal) is written to
// and never replaced.
func writeFile(output string, body []byte) error {
	path, special, err := target(output)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && special:
		return fmt.Errorf("%s does not exist, and no files are made there", path)
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a directory", output)
	case special || !info.Mode().IsRegular():
		return writeInto(path, body)
	}
	return renameio.WriteFile(path, body, 0o644, renameio.WithTempDir(filepath.Dir(path)), renameio.WithExistingPermissions())
}

// writeInto writes to what is there. It appends, because /dev/stdout may be a
// file that others have written to.
func writeInto(path string, body []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	return errors.Join(err, f.Close())
}

// target follows output's symbolic links to the name that is to be written.
// special means that the way leads through the system's own directories, where
// nothing may be made or replaced. The last link may lead to nothing yet, which
// is why filepath.EvalSymlinks does not do for the whole name.
func target(output string) (path string, special bool, err error) {
	path = output
	for range maxLinks {
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return "", false, err
		}
		if dir, err = filepath.Abs(dir); err != nil {
			return "", false, err
		}
		path = filepath.Join(dir, filepath.Base(path))
		if systemDir(dir) {
			return path, true, nil // /dev/stdout leads to a name only sometimes
		}
		link, err := os.Readlink(path)
		if err != nil { // no link, or nothing at all
			return path, false, nil
		}
		if !filepath.IsAbs(link) {
			link = filepath.Join(dir, link)
		}
		path = link
	}
	return "", false, fmt.Errorf("%s: too many symbolic links", output)
}

func systemDir(dir string) bool {
	in := func(parent string) bool { return dir == parent || strings.HasPrefix(dir, parent+"/") }
	return in("/proc") || in("/sys") || in("/dev") && !in("/dev/shm")
}
