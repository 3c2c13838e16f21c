package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	// netnsDir is where iproute2 keeps network namespaces by name.
	netnsDir = "/run/netns"
	// innerDev is the interface inside the namespace.
	innerDev = "eth0"
	// lowestNet to highestNet are the third bytes of 10.231.N.0/30 to choose from.
	lowestNet  = 1
	highestNet = 254
	// commandLimit bounds one run of ip, nft or tc.
	commandLimit = 10 * time.Second
)

// NetHost is a host of its own on this machine: a network namespace, joined to
// ours by a veth pair. Packets to and from it can be dropped in either
// direction, which no process at either end notices.
//
//	ours: rtvN 10.231.N.1/30 ◄──── veth pair ────► eth0 10.231.N.2/30 :namespace
type NetHost struct {
	tb      TB
	name    string // of the namespace
	dev     string // our end of the pair
	ourIP   string
	hostIP  string
	dropper dropper
}

// NetHostAvailable says whether this process can make a NetHost, and if not,
// what is missing. It tries it out.
func NetHostAvailable() error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces need root; run the tests with sudo")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return errors.New("ip is not installed; run: sudo apt-get install -y iproute2")
	}
	h, lock, err := makeNetHost()
	if err != nil {
		return err
	}
	defer lock.release()
	return h.remove()
}

// NewNetHost makes a host that is removed when the test ends. It also removes
// the hosts of processes that died before they could. The test fails if
// NetHostAvailable would say why; ask it first to skip instead.
func NewNetHost(tb TB, opts ...NetHostOption) *NetHost {
	tb.Helper()
	if err := sweep(); err != nil {
		tb.Logf("redistest: sweep stale namespaces: %v", err)
	}
	h, lock, err := makeNetHost()
	if err != nil {
		tb.Fatalf("redistest: make network host: %v", err)
	}
	h.tb = tb
	tb.Cleanup(func() {
		defer lock.release()
		if err := h.remove(); err != nil {
			tb.Logf("redistest: %v", err)
		}
	})
	h.dropper = h.bestDropper()
	for _, opt := range opts {
		opt(h)
	}
	return h
}

// NetHostOption changes how a NetHost works.
type NetHostOption func(*NetHost)

// WithNeighbourDrop makes Block use wrong neighbour entries where it would use
// nft: packets then go to a hardware address that nobody has.
func WithNeighbourDrop() NetHostOption {
	return func(h *NetHost) { h.dropper = neighbourDropper{h} }
}

// makeNetHost makes a namespace in a free address range. The range stays
// claimed until the reservation is released.
func makeNetHost() (*NetHost, *reservation, error) {
	var last error
	for n := lowestNet; n <= highestNet; n++ {
		lock, err := reserve("net", n)
		if err != nil {
			last = err
			continue
		}
		h := &NetHost{
			name:   netnsName(os.Getpid(), n),
			dev:    devName(n),
			ourIP:  fmt.Sprintf("10.231.%d.1", n),
			hostIP: fmt.Sprintf("10.231.%d.2", n),
		}
		if last = h.rangeFree(); last != nil {
			lock.release()
			continue
		}
		if err := h.build(); err != nil {
			err = errors.Join(err, h.remove())
			lock.release()
			return nil, nil, err
		}
		return h, lock, nil
	}
	return nil, nil, fmt.Errorf("find a free address range in 10.231.0.0/16: %w", last)
}

// rangeFree says why the host's addresses or its interface cannot be used.
func (h *NetHost) rangeFree() error {
	if _, err := net.InterfaceByName(h.dev); err == nil {
		return fmt.Errorf("interface %s exists", h.dev)
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, addr := range addrs {
		if ours, ok := addr.(*net.IPNet); ok && ours.Contains(net.ParseIP(h.hostIP)) {
			return fmt.Errorf("%s is within %s of this machine", h.hostIP, ours)
		}
	}
	return nil
}

func (h *NetHost) build() error {
	for _, args := range []string{
		"netns add " + h.name,
		"link add " + h.dev + " type veth peer name " + innerDev + " netns " + h.name,
		"addr add " + h.ourIP + "/30 dev " + h.dev,
		"link set " + h.dev + " up",
		"-n " + h.name + " addr add " + h.hostIP + "/30 dev " + innerDev,
		"-n " + h.name + " link set lo up",
		"-n " + h.name + " link set " + innerDev + " up",
	} {
		if err := run("", "ip", strings.Fields(args)...); err != nil {
			return err
		}
	}
	return nil
}

// remove takes the interface and the namespace away, as far as they exist.
func (h *NetHost) remove() error { return removeNet(h.name, h.dev) }

func removeNet(name, dev string) error {
	var errs []error
	// The link first: the kernel takes its time with a namespace's own devices.
	if _, err := net.InterfaceByName(dev); err == nil {
		errs = append(errs, run("", "ip", "link", "del", dev))
	}
	if _, err := os.Stat(netnsDir + "/" + name); err == nil {
		errs = append(errs, run("", "ip", "netns", "del", name))
	}
	return errors.Join(errs...)
}

// Start runs a redis-server inside the host, on its address. Admin commands
// (Do and what uses it) reach it also through a black hole.
func (h *NetHost) Start(opts ...Option) *Server {
	h.tb.Helper()
	return StartIn(h.tb, h, opts...)
}

// StartIn is Start inside a NetHost.
func StartIn(tb TB, h *NetHost, opts ...Option) *Server {
	tb.Helper()
	return Start(tb, append([]Option{func(s *settings) { s.bind, s.host = h.hostIP, h }}, opts...)...)
}

// IP is the host's address.
func (h *NetHost) IP() string { return h.hostIP }

// run runs a program to its end. Its error holds what the program said.
func run(stdin, program string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run %s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
