package telemetry

import (
	"cmp"
	"context"
	"slices"

	"github.com/shirou/gopsutil/v4/net"
)

// maxInterfaces bounds a sample on a box full of virtual interfaces: those
// through which most has passed are reported.
const maxInterfaces = 16

// network reads the interfaces' counters; nil when they cannot be read.
func network(ctx context.Context) map[string]Interface {
	all, err := net.IOCountersWithContext(ctx, true)
	if err != nil {
		return nil
	}
	return interfaces(all)
}

func interfaces(all []net.IOCountersStat) map[string]Interface {
	all = slices.DeleteFunc(all, func(c net.IOCountersStat) bool { return c.Name == "lo" })
	slices.SortFunc(all, func(a, b net.IOCountersStat) int {
		return cmp.Or(cmp.Compare(b.BytesRecv+b.BytesSent, a.BytesRecv+a.BytesSent), cmp.Compare(a.Name, b.Name))
	})
	out := map[string]Interface{}
	for _, c := range all[:min(len(all), maxInterfaces)] {
		out[c.Name] = Interface{
			RXBytes: c.BytesRecv, TXBytes: c.BytesSent, RXErrors: c.Errin, TXErrors: c.Errout, RXDropped: c.Dropin, TXDropped: c.Dropout,
		}
	}
	return out
}
