package redistest

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// dropper makes packets vanish in the directions given, and in no other; 0
// lets all through again.
type dropper interface {
	drop(d Direction) error
}

// Block drops all packets in one direction or both, in place of what was
// blocked before. It returns when the rule holds. No connection is closed and
// no error comes back to a sender on our side.
func (h *NetHost) Block(d Direction) {
	h.tb.Helper()
	if err := h.dropper.drop(d); err != nil {
		h.tb.Fatalf("redistest: block %s: %v", h.hostIP, err)
	}
}

// Heal lets all packets through again.
func (h *NetHost) Heal() {
	h.tb.Helper()
	if err := h.dropper.drop(0); err != nil {
		h.tb.Fatalf("redistest: heal %s: %v", h.hostIP, err)
	}
}

// Method is how Block works here: "nft" or "neighbour".
func (h *NetHost) Method() string {
	if _, ok := h.dropper.(nftDropper); ok {
		return "nft"
	}
	return "neighbour"
}

// NFTAvailable says whether Block can use nft, and if not, why.
func (h *NetHost) NFTAvailable() error {
	if _, err := exec.LookPath("nft"); err != nil {
		return errors.New("nft is not installed; run: sudo apt-get install -y nftables")
	}
	return nftDropper{h}.drop(0)
}

func (h *NetHost) bestDropper() dropper {
	if h.NFTAvailable() == nil {
		return nftDropper{h}
	}
	return neighbourDropper{h}
}

// nftDropper drops with packet filter rules inside the namespace.
type nftDropper struct{ h *NetHost }

// drop replaces the whole table in one transaction, so that there is never a
// moment with half of the rules.
func (n nftDropper) drop(d Direction) error {
	chain := func(hook, match string, drops bool) string {
		rule := ""
		if drops {
			rule = fmt.Sprintf("%s %q counter drop;", match, innerDev)
		}
		return fmt.Sprintf("chain %s { type filter hook %s priority 0; policy accept; %s }\n", hook, hook, rule)
	}
	script := "table inet redistest\ndelete table inet redistest\ntable inet redistest {\n" +
		chain("input", "iifname", d&ToServer != 0) +
		chain("output", "oifname", d&ToClient != 0) + "}\n"
	return run(script, "ip", "netns", "exec", n.h.name, "nft", "-f", "-")
}

// neighbourDropper sends packets to a hardware address that nobody has: the
// receiving interface then discards them.
type neighbourDropper struct{ h *NetHost }

// nobody is a locally administered address that no veth is given.
const nobody = "02:00:00:00:00:fe"

func (n neighbourDropper) drop(d Direction) error {
	h := n.h
	return errors.Join(
		setNeighbour(d&ToServer != 0, "", h.hostIP, h.dev),
		setNeighbour(d&ToClient != 0, "-n "+h.name, h.ourIP, innerDev))
}

// setNeighbour makes the entry of ip wrong for good, or has it learnt again.
func setNeighbour(wrong bool, where, ip, dev string) error {
	how := "lladdr " + nobody + " nud permanent"
	if !wrong {
		// Not deleted, since it need not exist: an entry that has failed is
		// looked up again by the next packet.
		how = "nud failed"
	}
	return run("", "ip", strings.Fields(fmt.Sprintf("%s neigh replace %s dev %s %s", where, ip, dev, how))...)
}
