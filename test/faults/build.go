package main

import (
	"context"
	"path/filepath"

	"framekeeper/internal/testkit/proctest"
)

// binaries are the programs under test.
type binaries struct{ dir, agent, stock string }

// build makes them from this module's source.
func build(ctx context.Context, dir string) (binaries, error) {
	b := binaries{dir: dir, agent: filepath.Join(dir, "cam-agent"), stock: filepath.Join(dir, "stock")}
	for out, pkg := range map[string]string{b.agent: "framekeeper/cmd/cam-agent", b.stock: "framekeeper/test/faults/stock"} {
		if err := proctest.Build(ctx, out, pkg); err != nil {
			return b, err
		}
	}
	return b, nil
}
