package logging

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

// Standard error is a pipe to the controller. When that is stopped, the pipe
// fills up, and nobody who logs may be held up by it.
func TestAPipeNobodyReadsHoldsUpNobody(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cfg := Default()
	cfg.Format = "json"
	logger, closer, err := New(cfg, "p", write)
	if err != nil {
		t.Fatal(err)
	}
	const lines = 20000 // of about 100 bytes: 2 MB into a pipe of 64 KiB
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		for n := range lines {
			logger.Info().Int("n", n).Msg("a line")
		}
	}()
	select {
	case <-logged:
	case <-time.After(20 * time.Second):
		t.Fatal("whoever logs waits for a pipe that nobody reads")
	}
	got := make(chan int)
	lost := make(chan int, 1)
	go func() {
		n := 0
		for in := bufio.NewScanner(read); in.Scan(); {
			var l struct {
				Lines   int
				Message string
			}
			if err := json.Unmarshal(in.Bytes(), &l); err != nil {
				t.Errorf("broken line %q", in.Bytes())
			}
			if strings.Contains(l.Message, "Log lines are lost") {
				lost <- l.Lines
				continue
			}
			n++
		}
		got <- n
	}()
	var missing int
	select {
	case missing = <-lost: // it is read again
	case <-time.After(20 * time.Second):
		t.Fatal("no message reports the lost lines")
	}
	logger.Info().Msg("after")
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := write.Close(); err != nil {
		t.Fatal(err)
	}
	if n := <-got; n+missing != lines+1 {
		t.Errorf("%d lines came and %d are reported lost, want %d together", n, missing, lines+1)
	}
	_ = read.Close()
}

// A process has to end though nobody reads what it says.
func TestTheEndDoesNotWaitForAPipe(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	logger, closer, err := New(Default(), "p", write)
	if err != nil {
		t.Fatal(err)
	}
	for range 1500 {
		logger.Info().Msg(strings.Repeat("x", 100))
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = closer.Close()
		Say(write, "the end")
	}()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("the end waits for a pipe that nobody reads")
	}
	_ = read.Close() // frees who still writes
	_ = write.Close()
}
