package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"framekeeper/internal/testkit/redistest"
	"framekeeper/pkg/redisconn"
)

// accessRows end connections and take permissions away. The agent is a user of
// its own there; the watcher is the default user, whom nobody touches.
func accessRows() []*fault {
	forbidden := []redisconn.Cause{redisconn.CausePermission}
	return []*fault{
		clientRow("pubsub"),
		clientRow("normal"),
		{
			name: "ACL: channels revoked", hold: 2 * time.Second, short: time.Second,
			budget: soonBudget, world: ownUser, causes: forbidden, calm: true,
			hurt: acl("resetchannels"), heal: acl("allchannels"),
		}, {
			name: "ACL: PUBLISH revoked", hold: 2 * time.Second, short: time.Second,
			budget: soonBudget, world: ownUser, causes: forbidden, calm: true,
			hurt: acl("-publish"), heal: acl("+publish"),
		}, {
			name: "ACL: XADD revoked", hold: 2 * time.Second, short: time.Second,
			budget: soonBudget, world: ownUser, causes: forbidden, lost: msgRefused, back: msgAccepted,
			hurt: acl("-xadd"), heal: acl("+xadd"),
		}, {
			name: "password changed", hold: 2 * time.Second, short: time.Second,
			budget: soonBudget, world: ownUser, causes: []redisconn.Cause{redisconn.CausePassword},
			hurt: changePassword, heal: writePassword,
		},
	}
}

// clientRow lets Redis itself end the connections of one type.
func clientRow(kind string) *fault {
	return &fault{
		name: "CLIENT KILL TYPE " + kind, budget: cutBudget, world: plain,
		hurt: func(r *rig) time.Time {
			at := time.Now()
			r.server.KillClients(kind)
			return at
		},
		causes: []redisconn.Cause{redisconn.CauseClosed},
	}
}

const agentUser = "agent"

func ownUser(r *rig) {
	r.serve(redistest.Start(r, withAgentUser()))
	r.logIn()
}

func withAgentUser() redistest.Option {
	return redistest.WithACL("user " + agentUser + " on >first ~* &* +@all")
}

// logIn gives the agent its user's password.
func (r *rig) logIn() {
	r.file = filepath.Join(r.TempDir(), "password")
	if err := os.WriteFile(r.file, []byte("first\n"), 0o600); err != nil {
		r.Fatalf("write password file: %v", err)
	}
	r.settings = append(r.settings, setting("username", agentUser), setting("password_file", r.file))
}

func acl(rule string) func(*rig) time.Time {
	return func(r *rig) time.Time {
		at := time.Now()
		r.server.Do("ACL", "SETUSER", agentUser, rule)
		r.server.Do("ACL", "SAVE") // it outlives a restart
		return at
	}
}

// changePassword also ends the user's connections: they stay authenticated
// otherwise, and nothing would be wrong yet.
func changePassword(r *rig) time.Time {
	r.count++
	r.server.Do("ACL", "SETUSER", agentUser, "resetpass", ">"+r.password())
	r.server.Do("ACL", "SAVE")
	at := time.Now()
	r.server.Do("CLIENT", "KILL", "USER", agentUser)
	return at
}

func writePassword(r *rig) time.Time {
	at := time.Now()
	if err := os.WriteFile(r.file, []byte(r.password()+"\n"), 0o600); err != nil {
		r.Fatalf("write password file: %v", err)
	}
	return at
}

func (r *rig) password() string { return fmt.Sprintf("password-%d", r.count) }

// replyRows lose the reply to a write that Redis has carried out: sent again
// blindly, it would be there twice.
func replyRows() []*fault {
	var all []*fault
	for _, write := range []struct{ name, match string }{
		{"XADD", "nomkstream"},
		{"PUBLISH of an answer", "stream/" + cameraName + "\r\n"},
		{"PUBLISH of a probe", "probe/" + cameraName + "/"},
	} {
		all = append(all, &fault{
			name: "reply lost: " + write.name, budget: budget{Detect: 50 * time.Millisecond, Live: 250 * time.Millisecond},
			world: behindProxy, causes: []redisconn.Cause{redisconn.CauseClosed},
			hurt: func(r *rig) time.Time {
				select {
				case <-r.proxy.LoseReplyAfter([]byte(write.match)):
				case <-time.After(5 * time.Second):
					r.Fatalf("no request with %q came by", write.match)
				}
				return time.Now()
			},
		})
	}
	return all
}

// behindProxy puts a proxy before the agent's Redis; the watcher goes past it.
func behindProxy(r *rig) {
	r.serve(redistest.Start(r))
	r.proxy = redistest.NewProxy(r, r.server.Addr())
	r.settings = []string{setting("url", r.proxy.URL())}
}
