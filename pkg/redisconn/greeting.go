package redisconn

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// oldest is the version of Redis that has all commands that are needed: NOMKSTREAM
// and XAUTOCLAIM came with it.
const oldest = "6.2"

// unsupported reports what in a server's answer to HELLO means that it cannot be
// worked with. Any other answer means nothing.
func unsupported(reply []byte) error {
	said := map[string]string{}
	fields := bytes.Split(reply, []byte("\r\n"))
	for i := 2; i+2 < len(fields); i++ { // *14, $6, server, $5, redis, $7, version, …
		switch key := string(fields[i]); key {
		case "server", "version", "mode":
			if len(fields[i-1]) > 0 && fields[i-1][0] == '$' {
				said[key] = string(fields[i+2])
			}
		}
	}
	if said["server"] == "" {
		return nil
	}
	if said["mode"] == "cluster" {
		return &CauseError{CauseCluster, fmt.Errorf("Redis %.20q is a node of a Redis Cluster", said["version"])} //nolint:staticcheck // a name begins it
	}
	major, rest, _ := strings.Cut(said["version"], ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(minor)
	if said["server"] == "redis" && errA == nil && errB == nil && (a < 6 || a == 6 && b < 2) {
		return &CauseError{CauseOld, fmt.Errorf("Redis %.20s is too old: %s or a newer one is needed", said["version"], oldest)} //nolint:staticcheck // a name begins it
	}
	return nil
}
