package agent

import (
	"testing"
	"time"

	"framekeeper/internal/testkit"
	"framekeeper/internal/testkit/redistest"
)

// A server that ends idle connections ends no session: none of the agent's that wait
// for something to do is used before it is made anew.
func TestAServerThatEndsIdleConnectionsEndsNoSession(t *testing.T) {
	testkit.NeedRedis(t)
	t.Parallel()
	for name, more := range map[string]string{"stream": "", "pubsub": "[delivery]\nmode = \"pubsub\"\n", "both": "[delivery]\nmode = \"both\"\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.WithConfig("timeout", "1"))
			_, log := startAgent(t, writeConfig(t, server.URL(), "connection_check_interval = \"4s\"\n"+more, tiny+"status_interval = \"9s\"\n"))
			awaitOwn(t, server)
			a := newAsker(t, server.URL())
			for range 3 {
				a.ask(t, nil)
				time.Sleep(200 * time.Millisecond)                                                                                     // its stream entry follows
				testkit.Eventually(t, "the agent's connections are closed", func() bool { return len(server.Clients("normal")) <= 2 }) // the asker's
				time.Sleep(time.Second)
			}
			s := current(t, server)
			testkit.Eventually(t, "the status is renewed", func() bool { now := current(t, server); defer func() { s = now }(); return now.TimeUS != s.TimeUS })
			if s.Link.Sessions != 1 || s.Link.Outages != 0 || s.Answers.Published != 3 {
				t.Errorf("%d sessions, %d outages, %d answers; want 1, none and 3: %s", s.Link.Sessions, s.Link.Outages, s.Answers.Published, log)
			}
		})
	}
}
