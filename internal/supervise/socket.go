package supervise

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
)

// SocketVariable names the descriptor on which an agent finds a listening socket, so
// that its box can ask it whatever becomes of the directories. The name of the socket
// is in the abstract namespace, where anybody on the machine may connect: the agent
// checks who does.
const SocketVariable = "FRAMEKEEPER_SOCKET_FD"

// newSocket makes such a socket. The file is for the agent: once it alone has it, the
// socket ends with it.
func newSocket() (address string, file *os.File, err error) {
	address = fmt.Sprintf("@framekeeper/agent/%d/%s", os.Getpid(), rand.Text())
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "unix", address)
	if err != nil {
		return "", nil, fmt.Errorf("make the agent's socket: %w", err)
	}
	defer func() { _ = l.Close() }() // the file is another descriptor of it
	if file, err = l.(*net.UnixListener).File(); err != nil {
		return "", nil, fmt.Errorf("make the agent's socket: %w", err)
	}
	return address, file, nil
}
