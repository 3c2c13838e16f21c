package redistest

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// netnsPrefix begins the names of our namespaces. The rest is the maker's
// process ID, that process's start time (a process ID alone may be in use
// again), and N of the address range.
const netnsPrefix = "redistest-"

func netnsName(pid, n int) string {
	return fmt.Sprintf("%s%d-%s-%d", netnsPrefix, pid, startTime(pid), n)
}

// devName is the name of our end of a pair.
func devName(n int) string { return fmt.Sprintf("rtv%d", n) }

// startTime is when a process began, in the kernel's ticks; "" if it has ended.
func startTime(pid int) string {
	const afterState = 19 // starttime is field 22 of /proc/PID/stat, the state field 3
	if fields := procStat(pid); len(fields) > afterState && fields[0] != "Z" {
		return fields[afterState]
	}
	return ""
}

// sweep removes the namespaces that dead processes have left behind. Their
// servers are gone: they died with the process.
func sweep() error {
	entries, err := os.ReadDir(netnsDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list network namespaces: %w", err)
	}
	var errs []error
	for _, e := range entries {
		pid, started, n, ok := parseNetNSName(e.Name())
		if !ok || startTime(pid) == started {
			continue
		}
		lock, err := reserve("net", n)
		if err != nil {
			continue // another process sweeps it, or has the interface's name by now
		}
		errs = append(errs, removeNet(e.Name(), devName(n)))
		lock.release()
	}
	return errors.Join(errs...)
}

// parseNetNSName takes a name of netnsName apart; ok is false for others.
func parseNetNSName(name string) (pid int, started string, n int, ok bool) {
	rest, ours := strings.CutPrefix(name, netnsPrefix)
	parts := strings.Split(rest, "-")
	if !ours || len(parts) != 3 {
		return 0, "", 0, false
	}
	pid, err1 := strconv.Atoi(parts[0])
	n, err2 := strconv.Atoi(parts[2])
	return pid, parts[1], n, err1 == nil && err2 == nil
}
