package images

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
)

// Folder shows what a Store has in its directory, while it is open elsewhere or not. It
// changes nothing there, follows no link out of it, and opens no file that a Store has
// not named. Any goroutine may use it.
type Folder struct{ root *os.Root }

// File is a stored image.
type File struct {
	Name     string // within its camera's directory
	ID       frame.ID
	Captured time.Time
	Encoding frame.Encoding // Raw: the file is a BMP
}

// maxFile bounds what is read of a file, in bytes.
const maxFile = 64 << 20

// ErrNoImage is what there is not.
var ErrNoImage = errors.New("there is no such image")

// OpenFolder opens a directory to look at. The caller closes it.
func OpenFolder(dir string) (*Folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open folder of images: %w", err)
	}
	return &Folder{root}, nil
}

// Close gives the directory back.
func (f *Folder) Close() error { return f.root.Close() }

// Cameras are the cameras that have a directory, in order.
func (f *Folder) Cameras() (all []string, err error) {
	entries, err := f.list(".")
	for _, e := range entries {
		if e.IsDir() && camera.ValidName(e.Name()) {
			all = append(all, e.Name())
		}
	}
	slices.Sort(all)
	return all, err
}

// Files are a camera's images, the newest first.
func (f *Folder) Files(name string) ([]File, error) {
	if !camera.ValidName(name) {
		return nil, ErrNoImage
	}
	entries, err := f.list(name)
	if err != nil {
		return nil, err
	}
	all := make([]File, 0, len(entries))
	for _, e := range entries {
		if n, ok := parseFile(name, e.Name(), false); ok && e.Type().IsRegular() {
			all = append(all, n.shown())
		}
	}
	slices.SortFunc(all, func(a, b File) int { return cmp.Or(b.Captured.Compare(a.Captured), b.ID.Compare(a.ID)) })
	return all, nil
}

func (n *name) shown() File {
	encoding := map[string]frame.Encoding{extJPEG: frame.JPEG, extPNG: frame.PNG, extBMP: frame.Raw, extRaw: frame.Raw}[n.ext]
	return File{Name: n.file(), ID: n.id, Captured: time.UnixMicro(n.captured), Encoding: encoding}
}

func (f *Folder) list(dir string) ([]fs.DirEntry, error) {
	d, err := f.root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoImage
	}
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	defer func() { _ = d.Close() }() // only read from
	entries, err := d.ReadDir(-1)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	return entries, nil
}

// Read is a stored image and what its name says.
func (f *Folder) Read(camera, file string) ([]byte, File, error) {
	n, ok := parseFile(camera, file, false)
	if !ok || n.ext == extRaw {
		return nil, File{}, ErrNoImage
	}
	r, _, err := f.open(n)
	if err != nil {
		return nil, File{}, err
	}
	defer func() { _ = r.Close() }() // only read from
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	switch {
	case err != nil:
		return nil, File{}, fmt.Errorf("read image: %w", err)
	case len(b) > maxFile:
		return nil, File{}, fmt.Errorf("read image: it has more than %d MiB", maxFile>>20)
	}
	return b, n.shown(), nil
}

// Size is how many bytes an image of a camera has; 0 if it is gone.
func (f *Folder) Size(camera, file string) int64 {
	n, ok := parseFile(camera, file, false)
	if !ok {
		return 0
	}
	info, err := f.root.Lstat(path.Join(n.camera, n.file()))
	if err != nil {
		return 0
	}
	return info.Size()
}

// open opens a regular file, and waits for nothing that is none.
func (f *Folder) open(n name) (*os.File, fs.FileInfo, error) {
	if !camera.ValidName(n.camera) {
		return nil, nil, ErrNoImage
	}
	r, err := f.root.OpenFile(path.Join(n.camera, n.file()), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, ErrNoImage
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read image: %w", err)
	}
	info, err := r.Stat()
	if err != nil || !info.Mode().IsRegular() {
		_ = r.Close() // nothing was read
		return nil, nil, ErrNoImage
	}
	return r, info, nil
}
