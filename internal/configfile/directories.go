package configfile

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"framekeeper/internal/async"
	"framekeeper/internal/config"
	"framekeeper/pkg/camera"
)

// resolveTime limits the look for symbolic links: the disk may hang.
const resolveTime = time.Second

// checkDirectories reports a spool_dir that would mix frames with what state_dir has
// of a camera: a spool moves as a whole, and would take a lock and a state along.
func (c *Config) checkDirectories(r *config.Report) {
	spool, state := c.Delivery.SpoolDir, c.StateDir
	if spool == "" || state == "" {
		return // reported already
	}
	names, paths := []string{""}, []string{spool, state} // two paths for each name
	for i := range c.Cameras {
		if name := c.Cameras[i].Name; camera.ValidName(name) {
			names, paths = append(names, name), append(paths, filepath.Join(spool, name), filepath.Join(state, name))
		}
	}
	paths = resolved(paths)
	const expected = "expected a directory of its own; "
	if paths[0] == paths[1] {
		r.AddText("delivery.spool_dir", spool, expected+"this is state_dir, "+paths[1])
		return
	}
	for i := 2; i < len(paths); i += 2 {
		for j := 3; j < len(paths); j += 2 {
			if within(paths[i], paths[j]) || within(paths[j], paths[i]) {
				r.AddText("delivery.spool_dir", spool, expected+"the spool of "+names[i/2]+", "+paths[i]+
					", would be mixed with the state of "+names[j/2]+", "+paths[j])
				return
			}
		}
	}
}

// within reports whether path is dir, or inside it.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// resolved are the paths as absolute ones, without symbolic links unless the disk
// does not answer in time.
func resolved(paths []string) []string {
	absolute := make([]string, len(paths))
	for i, path := range paths {
		absolute[i] = path
		if a, err := filepath.Abs(path); err == nil {
			absolute[i] = a
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTime)
	defer cancel()
	real, err := async.Abandon(ctx, func() ([]string, error) {
		real := make([]string, len(absolute))
		for i, path := range absolute {
			real[i] = withoutLinks(path)
		}
		return real, nil
	})
	if err != nil {
		return absolute
	}
	return real
}

// withoutLinks replaces the symbolic links in what there is of an absolute path.
func withoutLinks(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil || path == "/" {
		return filepath.Join("/", real)
	}
	return filepath.Join(withoutLinks(filepath.Dir(path)), filepath.Base(path))
}
