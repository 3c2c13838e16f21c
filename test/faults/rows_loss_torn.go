package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// tornRows damage what the spool holds between two starts.
func tornRows() []*lossRow {
	return []*lossRow{{name: "torn spool", run: tornSpool}}
}

// tornSpool cuts one file, flips a byte in another and removes a third, after
// an orderly end or after a kill. Exactly those are declared; the damaged two
// are set aside.
func tornSpool(s *scene) {
	s.behindProxy()
	s.begin()
	rounds := pick(s, 6, 1)
	for n := range rounds {
		s.drain(startLimit)
		s.away()
		s.wait(1500 * time.Millisecond)
		if n%2 == 1 {
			s.killNine("torn", 300*time.Millisecond)
		} else {
			s.stop()
		}
		files := s.spooled()
		if len(files) < 20 {
			s.Fatalf("the spool holds %d files, want 20 at least", len(files))
		}
		s.tear(files[3], files[len(files)/2], files[len(files)-3])
		s.relaunch()
		s.wait(300 * time.Millisecond)
		s.back()
		s.drain(startLimit)
	}
	s.fill()
	want := uint64(3 * rounds)
	s.atEnd = func() {
		if got := s.watcher.consumer.Stats().Declared; got != want {
			s.problem("%d frames were declared lost, want %d", got, want)
		}
		aside, _ := filepath.Glob(filepath.Join(s.spoolDir, cameraName, "quarantine", "*"))
		if len(aside) != 2*rounds {
			s.problem("%d files were set aside, want %d", len(aside), 2*rounds)
		}
	}
}

// spooled lists the spool's files in the order of their IDs. Nobody may be
// writing there.
func (s *scene) spooled() (files []string) {
	err := filepath.WalkDir(filepath.Join(s.spoolDir, cameraName), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".frame") && !strings.Contains(path, "quarantine") {
			files = append(files, path)
		}
		return nil // gone meanwhile
	})
	if err != nil {
		s.Fatalf("read spool: %v", err)
	}
	slices.SortFunc(files, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return files
}

func (s *scene) tear(cut, flip, gone string) {
	check := func(err error) {
		if err != nil {
			s.Fatalf("damage spool: %v", err)
		}
	}
	info, err := os.Stat(cut)
	check(err)
	check(os.Truncate(cut, info.Size()/2))
	data, err := os.ReadFile(flip)
	check(err)
	data[len(data)/2] ^= 1
	check(os.WriteFile(flip, data, 0o600))
	check(os.Remove(gone))
}
