package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"framekeeper/internal/testkit/proctest"
)

// launch starts the agent (again) on its state.
func (s *scene) launch() {
	agent, err := proctest.Spawn(s.dir, s.log, s.bin.agent, "--config", filepath.Join(s.dir, "config.toml"))
	if err != nil {
		s.Fatalf("%v", err)
	}
	s.Cleanup(func() { _ = agent.End(syscall.SIGKILL) })
	s.agent = agent
}

// relaunch starts the agent again, and waits until it has begun its epoch.
func (s *scene) relaunch() {
	before := s.epoch()
	s.launch()
	s.until("a new epoch", func() bool { return s.epoch() > before })
}

// epoch is the one the agent has saved last.
func (s *scene) epoch() uint64 {
	var state struct {
		Epoch uint64 `json:"epoch"`
	}
	if b, err := os.ReadFile(filepath.Join(s.stateDir, cameraName, "state.json")); err == nil {
		_ = json.Unmarshal(b, &state) // 0 then: not saved yet
	}
	return state.Epoch
}

// killNine ends the agent without a word. window is how much of what was
// exposed before it may be gone.
func (s *scene) killNine(state string, window time.Duration) {
	k := kill{epoch: s.epoch(), at: time.Now(), window: window, state: state}
	if err := s.agent.End(syscall.SIGKILL); err == nil {
		s.problem("the agent had ended before it was killed; its log:\n%s", s.agent.Tail(20))
	}
	s.kills = append(s.kills, k)
	s.expected.UncleanStart++
}

// stop ends the agent in order.
func (s *scene) stop() {
	if err := s.agent.End(syscall.SIGTERM); err != nil {
		s.problem("the agent ended with %v; its log:\n%s", err, s.agent.Tail(20))
		return
	}
	state, err := readLeft(s.stateDir, cameraName)
	if err != nil {
		s.problem("%v", err)
		return
	}
	if !state.Clean {
		s.problem("the agent ended without having kept all frames; its log:\n%s", s.agent.Tail(20))
	}
	s.ends[s.epoch()] = state.Last
}
