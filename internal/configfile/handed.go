package configfile

import (
	"fmt"
	"os"
	"strconv"

	"framekeeper/internal/config"
	"framekeeper/internal/supervise"
)

// LoadHanded reads the text that a controller has handed to this process, or
// the file if there is none. The controller hands over what it has accepted: an
// agent that starts while the file is being edited, or is broken, runs like
// those that have been running. It is to be called once, first of all.
func LoadHanded(path string) (*Config, error) {
	text, handed := os.LookupEnv(supervise.ConfigVariable)
	if !handed {
		return Load(path)
	}
	// Neither the variable nor the descriptor is for what we start ourselves.
	if err := os.Unsetenv(supervise.ConfigVariable); err != nil {
		return nil, fmt.Errorf("read handed configuration: %w", err)
	}
	fd, err := strconv.ParseUint(text, 10, 16)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s=%.20q: expected the number of a descriptor; it is set by the controller and by nobody else", supervise.ConfigVariable, text)
	}
	f := os.NewFile(uintptr(fd), path)
	defer func() { _ = f.Close() }() // nothing was written
	data, err := config.ReadText(f)
	if err != nil {
		return nil, fmt.Errorf("read handed configuration: %w", err)
	}
	return load(path, data)
}
