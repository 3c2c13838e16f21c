package redistest

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Shape makes a slow line of the pair: every packet is that much later in each
// direction, and each direction carries so many bytes a second; a 0 leaves that
// out, and Shape(0, 0) makes it fast again. A delay needs netem, a rate netem or
// tbf: ask NetemAvailable and TBFAvailable first, and where there is none use a
// Proxy with Delay and Limit.
func (h *NetHost) Shape(delay time.Duration, bytesPerSecond int) {
	h.tb.Helper()
	if err := h.shape(delay, bytesPerSecond); err != nil {
		h.tb.Fatalf("redistest: shape %s: %v", h.hostIP, err)
	}
}

// NetemAvailable says whether the kernel can delay packets, and if not, why.
func (h *NetHost) NetemAvailable() error { return h.tryQdisc("netem delay 1ms") }

// TBFAvailable says whether the kernel can limit a rate, and if not, why.
func (h *NetHost) TBFAvailable() error { return h.tryQdisc(tbfArgs(1 << 20)) }

// tryQdisc puts a queueing discipline on the namespace's loopback and takes it
// off again.
func (h *NetHost) tryQdisc(args string) error {
	if _, err := exec.LookPath("tc"); err != nil {
		return fmt.Errorf("tc is not installed; run: sudo apt-get install -y iproute2")
	}
	if err := tc(h.name, "qdisc replace dev lo root "+args); err != nil {
		return fmt.Errorf("the kernel has no %s: %w", strings.Fields(args)[0], err)
	}
	return tc(h.name, "qdisc del dev lo root")
}

func (h *NetHost) shape(delay time.Duration, bytesPerSecond int) error {
	args := ""
	switch {
	case delay > 0:
		args = "netem limit 10000 delay " + tcTime(delay)
		if bytesPerSecond > 0 {
			args += " rate " + tcRate(bytesPerSecond)
		}
	case bytesPerSecond > 0:
		args = tbfArgs(bytesPerSecond)
	}
	for _, end := range []struct{ ns, dev string }{{"", h.dev}, {h.name, innerDev}} {
		// The default discipline of a veth is noqueue; setting that is the way
		// back which also works when nothing was set.
		command := "qdisc replace dev " + end.dev + " root " + args
		if args == "" {
			command += "noqueue"
		}
		if err := tc(end.ns, command); err != nil {
			return err
		}
	}
	return nil
}

// tbfArgs is a token bucket that lets one large segment through at a time and
// drops, as a router would, what waits longer than 400 ms.
func tbfArgs(bytesPerSecond int) string {
	return "tbf rate " + tcRate(bytesPerSecond) + " burst 32kb latency 400ms"
}

func tcRate(bytesPerSecond int) string { return strconv.Itoa(bytesPerSecond*8) + "bit" }

func tcTime(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) + "us" }

// tc runs one tc command in a namespace, or in ours if ns is empty.
func tc(ns, command string) error {
	args := strings.Fields(command)
	if ns != "" {
		args = append([]string{"-n", ns}, args...)
	}
	return run("", "tc", args...)
}
