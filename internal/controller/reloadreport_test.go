package controller

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hangUp has the configuration read again.
func hangUp(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// What came of a reload by signal, whose sender gets no answer, stands wherever
// somebody looks, until one is taken over.
func TestRefusalIsTold(t *testing.T) {
	s := newScene(t)
	const says = "is refused; the old one stays in force"
	figures := func() (ok bool, at time.Time) {
		f := s.scrape(t)
		if f["framekeeper_config_last_reload_successful"] == nil {
			t.Fatal("no figure says whether the last reload was good")
		}
		return f.value("config_last_reload_successful") == 1, time.Unix(int64(f.value("config_last_reload_success_timestamp_seconds")), 0)
	}
	ok, began := figures()
	if now := s.status(); now.Reload != nil || !ok || time.Since(began) > time.Minute || strings.Contains(s.page(), says) {
		t.Fatalf("before any reload: got %+v, %v, %v, want none, and the start as a good one", now.Reload, ok, began)
	}

	// The file is valid, and only this controller cannot take it: --status reads it.
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.adjust(t, s.state, s.dir+"/<b>elsewhere")
	hangUp(t)
	eventually(t, "a status that shows it", func() bool { return s.status().Reload != nil })
	now := s.status()
	if o := now.Reload; o.OK || !o.Refused || o.Problems != 1 || !strings.Contains(o.Problem, "elsewhere") || o.AgoS < 0 || o.AgoS > 20 || !now.OK {
		t.Errorf("refused: got %+v, ok %v", o, now.OK)
	}
	if code, h := s.health(t); code != http.StatusOK || h.Reload == nil || !h.Reload.Refused {
		t.Errorf("/readyz: got %d, %+v, want that the box is ready, and what came of the reload", code, h.Reload)
	}
	if page := s.page(); !strings.Contains(page, "<a href=\"#reload\">Configuration</a> "+says) || !strings.Contains(page, "&lt;b&gt;elsewhere") || strings.Contains(page, "<b>elsewhere") {
		t.Errorf("the page does not tell, or not as text:\n%s", page)
	}
	if ok, at := figures(); ok || !at.Equal(began) {
		t.Errorf("figures: got %v, %v, want a reload that failed, and the start's time %v", ok, at, began)
	}
	if text, err := s.ask("--status"); err != nil || !strings.Contains(text, says+": "+s.config+": state_dir") || !strings.Contains(text, "to do: correct it") {
		t.Errorf("--status: got %v\n%s", err, text)
	}

	if err := os.WriteFile(s.config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	hangUp(t)
	eventually(t, "all to be clear again", func() bool { o := s.status().Reload; return o.OK && o.Problem == "" })
	if ok, at := figures(); !ok || at.Before(began) || strings.Contains(s.page(), "Configuration</a> "+says) { // the events still tell of it
		t.Errorf("taken over: got %v, %v, and the page\n%s", ok, at, s.page())
	}
	if text, err := s.ask("--status"); err != nil || strings.Contains(text, "reload") {
		t.Errorf("--status: got %v\n%s", err, text)
	}
}

// An agent that does not come up with a new configuration is its camera's
// trouble: it may be well a moment later, and nobody reloads again for that.
func TestReloadIsGoodWithoutItsAgents(t *testing.T) {
	s := newScene(t)
	s.configure("", strings.Replace(twoCameras, "width = 64", "width = 80", 1))
	program := filepath.Join(s.dir, "cam-agent")
	if err := os.Rename(program, program+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	result, failure := s.reload()
	now := s.status()
	if len(result.Cameras.Restarted) != 1 || !strings.Contains(failure, "cam1") || now.OK || now.Reload == nil || !now.Reload.OK {
		t.Errorf("got %+v, %q and %+v, want that cam1 is not well, and the configuration taken over", result, failure, now)
	}
	if ok := s.scrape(t).value("config_last_reload_successful"); ok != 1 {
		t.Errorf("got %v, want a good reload", ok)
	}
}
