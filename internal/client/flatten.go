package client

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// flatten turns nested JSON into dotted keys and their values. What is empty
// is left out.
func flatten(prefix string, v map[string]any, into map[string]string) {
	for key, value := range v {
		switch value := value.(type) {
		case nil:
		case map[string]any:
			flatten(prefix+key+".", value, into)
		case string:
			if value != "" {
				into[prefix+key] = value
			}
		case []any:
			if b, err := json.Marshal(value); err == nil && len(value) > 0 {
				into[prefix+key] = string(b)
			}
		case json.Number:
			into[prefix+key] = short(value)
		default:
			into[prefix+key] = fmt.Sprint(value)
		}
	}
}

// short is a number without digits nobody reads.
func short(n json.Number) string {
	if f, err := n.Float64(); err == nil && strings.ContainsAny(n.String(), ".eE") {
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return n.String()
}

// headlines are the keys of an agent's status an operator needs first:
// whether it has its link and its camera, and how far it has come.
func headlines() []string {
	return []string{
		"link.state", "link.last_loss.cause", "capture.state", "capture.reason", "capture.fps", "capture.age_ms", "capture.stalls", "capture.reopens",
		"capture.skipped", "capture.broken", "source",
		"writable", "reason", "outbox.newest", "outbox.unsent", "requests.received", "requests.answered", "requests.errors",
		"host", "pid", "version", "uptime_s",
	}
}

// shownKeys are the keys to print, in their order: the headlines that are
// there, or with all (or when there are none) every key.
func shownKeys(fields map[string]string, all bool) []string {
	var keys []string
	for _, key := range headlines() {
		if _, ok := fields[key]; ok {
			keys = append(keys, key)
		}
	}
	if all || len(keys) == 0 {
		return slices.Sorted(maps.Keys(fields))
	}
	return keys
}
