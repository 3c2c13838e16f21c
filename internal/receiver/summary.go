package receiver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"framekeeper/internal/text"
)

// Err is why the run was not in order, on one line, or nil. It is asked after
// Run.
func (r *Receiver) Err() error {
	if r.broken != nil {
		return fmt.Errorf("the link to Redis has ended: %w", r.broken)
	}
	if s := r.link.Status(); s.Sessions == 0 && s.Detail != "" {
		return fmt.Errorf("Redis was never reached: %s; %s", s.Detail, s.Cause.Advice()) //nolint:staticcheck // a name
	}
	var wrong []string
	for _, c := range r.cameras {
		if faults := c.faults(); len(faults) > 0 {
			wrong = append(wrong, fmt.Sprintf("camera %s: %s", c.name, strings.Join(faults, ", ")))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return errors.New(strings.Join(wrong, "; "))
}

// WriteSummary prints what came of the run: one column for each camera, and one
// for all of them when there are several.
func (r *Receiver) WriteSummary(out io.Writer) error {
	took := r.ended.Sub(r.began)
	columns, head := r.columns()
	var b strings.Builder
	line := func(label string, cells []string) {
		fmt.Fprintf(&b, "%-*s", len(unknownLabel), label)
		for i, cell := range cells {
			fmt.Fprintf(&b, "  %*s", max(12, len(head[i])), cell)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "Summary of %s\n", took.Round(100*time.Millisecond))
	line("", head)
	for _, row := range r.rows() {
		cells := make([]string, len(columns))
		for i := range columns {
			cells[i] = row.cell(&columns[i], took)
		}
		line(row.label, cells)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// WriteJSON prints the summary as one line of JSON:
// {"seconds":…,"cameras":{"greencam1":{"requests":…}},"total":{…}}; latencies in
// milliseconds, null for what is not known.
func (r *Receiver) WriteJSON(out io.Writer) error {
	took := r.ended.Sub(r.began)
	figures := func(t *totals) map[string]any {
		all := map[string]any{}
		for _, row := range r.rows() {
			all[row.key()] = row.value(t, took)
		}
		return all
	}
	cameras := map[string]any{}
	for _, c := range r.cameras {
		t := c.totals()
		cameras[c.name] = figures(&t)
	}
	sum := r.totals()
	b, err := json.Marshal(map[string]any{"seconds": took.Seconds(), "cameras": cameras, "total": figures(&sum)})
	if err != nil {
		return fmt.Errorf("encode summary: %w", err)
	}
	_, err = out.Write(append(text.EscapeJSON(b), '\n'))
	return err
}

func (r *Receiver) columns() (columns []totals, head []string) {
	for _, c := range r.cameras {
		columns = append(columns, c.totals())
		head = append(head, c.name)
	}
	if len(columns) > 1 {
		columns = append(columns, r.totals())
		head = append(head, "total")
	}
	return columns, head
}
