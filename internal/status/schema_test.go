package status

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// keys are the JSON keys of a type, dotted, in order of their names.
func keys(t reflect.Type, prefix string) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return keys(t.Elem(), prefix)
	case reflect.Struct:
	default:
		return []string{prefix}
	}
	if t == reflect.TypeFor[time.Time]() {
		return []string{prefix}
	}
	if _, text := reflect.PointerTo(t).MethodByName("MarshalText"); text {
		return []string{prefix}
	}
	var all []string
	for f := range fieldsOf(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case f.Anonymous && name == "":
			all = append(all, keys(f.Type, prefix)...)
		default:
			all = append(all, keys(f.Type, strings.TrimPrefix(prefix+"."+name, "."))...)
		}
	}
	slices.Sort(all)
	return all
}

func fieldsOf(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

// The keys are a format: programs of other versions, dashboards and scripts read
// them.
func TestKeysStay(t *testing.T) {
	for _, c := range []struct {
		schema any
		want   string
	}{
		{Agent{}, `
		answer_ms answers.dropped answers.published answers.refused answers.unheard answers.waiting boot camera capture.age_ms capture.broken
		capture.defect capture.driver capture.format capture.fps capture.frames capture.height capture.reason capture.reopens
		capture.skipped capture.stalls capture.state capture.width controls delivery encoded.failed encoded.frames encoded.mean_ms
		encoding frames.dropped frames.published frames.refused frames.unheard frames.waiting groups.consumers groups.lag groups.last
		groups.name groups.pending host instance link.last_loss.ago_s link.last_loss.cause link.last_loss.lasted_s link.losses link.rtt_us
		link.sessions link.since_s link.state link.stuck lost no_socket outbox.added outbox.dropped outbox.durable outbox.held_bytes
		outbox.newest outbox.oldest outbox.resent outbox.sent outbox.unsent outbox.unsent_bytes owner pid publish_fps quality reason
		requests.answered requests.busy requests.errors requests.malformed requests.pending requests.received requests.refused
		requests.repeated source spool.age_s spool.bytes spool.corrupt spool.dropped spool.errors spool.frames spool.hanging_s
		spool.newest spool.oldest spool.oldest_at spool.removed spool.written stream.cause stream.conflict stream.reason stream.trimmed
		stream.vanished stream.writable time_us uptime_s version writable`},
		{Ready{}, `
		agents.failures agents.hangs agents.last_exit agents.last_recovery agents.name agents.next_start agents.pid agents.ready
		agents.recoveries agents.restarts agents.says agents.since agents.state agents.unexpected_ends box cameras.advice cameras.capture
		cameras.health cameras.link cameras.note cameras.reason cameras.trouble cameras.writable controller health link.advice link.cause
		link.last_loss.ago_s link.last_loss.cause link.last_loss.lasted_s link.live link.losses link.since link.state namesakes ok order reasons redis.hangs redis.last_exit redis.maxmemory redis.pid redis.restarts
		redis.since redis.state redis.used_memory reload.ago_s reload.at reload.ok reload.problem reload.problems reload.refused
		unowned.bytes unowned.camera unowned.dir unowned.frames unowned.state unwritable.code unwritable.dir unwritable.reason unwritable.settings version`},
		{Box{}, `
		box cameras.advice cameras.capture cameras.failures cameras.for_s cameras.hangs cameras.health cameras.last_exit
		cameras.last_recovery cameras.link cameras.name cameras.next_start cameras.note cameras.pid cameras.ready cameras.recoveries
		cameras.restarts cameras.says cameras.since cameras.state cameras.trouble cameras.unexpected_ends config link_s loaded_s ok
		reload.ago_s reload.at reload.ok reload.problem reload.problems reload.refused unowned.bytes unowned.camera unowned.dir
		unowned.frames unowned.state unwritable.code unwritable.dir unwritable.reason unwritable.settings uptime_s version`},
	} {
		if got, want := keys(reflect.TypeOf(c.schema), ""), strings.Fields(c.want); !slices.Equal(got, want) {
			t.Errorf("%T: got the keys\n%s\nwant\n%s", c.schema, strings.Join(got, " "), strings.Join(want, " "))
		}
	}
}
