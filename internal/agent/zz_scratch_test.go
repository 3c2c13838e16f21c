package agent

import (
	"fmt"
	"testing"
	"time"
	"runtime"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
)

func TestScratchSteady(t *testing.T) {
	_ = testkit.Patience
	more := map[string]func(s *redistest.Server){}
	for k, v := range refusals {
		more[k] = v
	}
	more["publish in between"] = func(s *redistest.Server) {
		s.Do("ACL", "SETUSER", "default", "-xadd")
		go func() {
			time.Sleep(20*time.Second)
			s.TryDo("ACL", "SETUSER", "default", "-publish")
			time.Sleep(3*time.Second)
			s.TryDo("ACL", "SETUSER", "default", "+publish")
		}()
	}
	for _, mode := range []string{"stream", "both"} {
		for name, refuse := range more {
			t.Run(mode+", "+name, func(t *testing.T) {
				server := redistest.Start(t)
				extra := ""
				if mode == "both" { extra = "publish_fps = 5\n" }
				startAgent(t, writeConfig(t, server.URL(), fmt.Sprintf("[delivery]\nmode = %q\n", mode), "source = \"test:\"\nwidth=1280\nheight=720\nencoding=\"raw\"\n"+extra))
				a := newAsker(t, server.URL())
				a.ask(t, nil)
				refuse(server)
				stop := make(chan struct{})
				go func() {
					for {
						select { case <-stop: return; case <-time.After(500*time.Millisecond): }
						a.mu.Lock(); a.seen = nil; a.mu.Unlock()
					}
				}()
				a.askSteadily(t, 600, 100*time.Millisecond, map[string]any{"timeout_ms": 5_000})
				close(stop)
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				t.Logf("held %d unsent %d; heap %d MiB sys %d", current(t, server).Outbox.MemorySize, current(t, server).Outbox.UnsentSize, m.HeapInuse>>20, m.Sys>>20)
			})
		}
	}
}
