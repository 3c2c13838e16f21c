package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"framekeeper/internal/cli"
	"framekeeper/internal/status"
	"framekeeper/internal/text"
	"framekeeper/internal/web"
	"framekeeper/pkg/frame"
)

// answerTime is how long a controller may take to say how it is.
const answerTime = 3 * time.Second

var errUnhealthy = errors.New("not everything is healthy, see above")

// printStatus asks the running controller how it is. The error says that there
// is none, or that something does not work; client is what it advises to type.
func printStatus(ctx context.Context, w io.Writer, cfg web.Settings, client status.Client, asJSON bool) error {
	if cfg.HTTP == "" {
		return errors.New(`[controller] http is "": the controller cannot be asked`)
	}
	h, err := askHealth(ctx, cfg, client)
	if err != nil {
		return err
	}
	if asJSON {
		if err := cli.WriteJSON(w, h); err != nil {
			return err
		}
		return healthError(h)
	}
	now := time.Now()
	lines := []string{fmt.Sprintf("controller  up, box %s, version %s", h.Box, h.Version)}
	for _, item := range h.Items() {
		lines = append(lines, itemLines(indent, item)...)
	}
	lines = append(lines, redisLines(h)...)
	for _, name := range order(h) {
		lines = append(lines, cameraLines(h.Agents[name], h.Cameras[name].Reported, now)...)
	}
	for _, s := range h.Orphaned {
		lines = append(lines, itemLines("spool       ", s.Item())...)
	}
	if _, err := fmt.Fprintln(w, strings.Join(lines, "\n")); err != nil {
		return err
	}
	return healthError(h)
}

func healthError(h *status.Ready) error {
	if !h.OK {
		return errUnhealthy
	}
	return nil
}

const indent = "            "

// itemLines are about something that is not healthy.
func itemLines(label string, item status.Item) []string {
	lines := []string{label + string(item.Health) + ": " + item.Line(), indent + "to do: " + item.ToDo()}
	for _, note := range item.Notes {
		lines = append(lines, indent+note)
	}
	return lines
}

// order is the configuration's, or by name if the controller is still one that
// does not show it.
func order(h *status.Ready) []string {
	if len(h.Order) == len(h.Agents) {
		return h.Order
	}
	return slices.Sorted(maps.Keys(h.Agents))
}

// redisLines are about the controller's link and the box's own redis-server.
func redisLines(h *status.Ready) []string {
	line := "redis       " + h.Link.State
	if h.Link.Live { // how long an attempt to get there has lasted interests nobody
		line += " for " + age(h.Link.Since)
	}
	lines := []string{line + prefixed(": ", h.Link.Cause)}
	if h.Link.Advice != "" {
		lines = append(lines, indent+"to do: "+h.Link.Advice)
	}
	if r := h.Redis; r != nil {
		doing := r.State.Summary()
		if r.PID > 0 {
			doing += fmt.Sprintf(", pid %d", r.PID)
		}
		lines = append(lines, fmt.Sprintf("%sredis-server of this box %s, for %s, %s%s", indent,
			doing, age(r.Since), text.Count(r.Restarts, "restart"), prefixed(", last end: ", r.LastExit)))
	}
	return lines
}

// cameraLines are about one camera: its process, and its health.
func cameraLines(p status.Process, c status.Reported, now time.Time) []string {
	doing := p.State.Summary() + ","
	if p.State == status.ProcessRunning {
		doing = fmt.Sprintf("running, pid %d,", p.PID)
	}
	how := cmp.Or(c.Trouble, c.Note)
	if c.Health == status.Healthy {
		how = fmt.Sprintf("link %s, capture %s, writable", c.Link, c.Capture)
	}
	lines := []string{
		fmt.Sprintf("camera      %s: %s for %s, %s", p.Name, doing, text.Lasting(now.Sub(p.Since)), text.Count(p.Restarts, "restart")),
		fmt.Sprintf("%s%s: %s", indent, c.Health, how),
	}
	if c.Advice != "" {
		lines = append(lines, indent+"to do: "+c.Advice)
	}
	for _, note := range p.Notes(c.Health.OK(), now) {
		lines = append(lines, indent+note)
	}
	return lines
}

func askHealth(ctx context.Context, cfg web.Settings, operator status.Client) (*status.Ready, error) {
	addr := reachable(cfg.HTTP)
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	encryption, err := web.ClientTLS(&cfg)
	if err != nil {
		return nil, err
	}
	scheme := "http://"
	if encryption != nil {
		scheme = "https://"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+addr+"/readyz", nil)
	if err != nil {
		return nil, fmt.Errorf("ask controller: %w", err)
	}
	if cfg.HTTPUser != "" {
		password, err := web.ReadPassword(cfg.HTTPPasswordFile)
		if err != nil {
			return nil, err
		}
		req.SetBasicAuth(cfg.HTTPUser, password)
	}
	// No proxy: the controller is on this machine.
	client := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true, TLSClientConfig: encryption}}
	resp, err := client.Do(req)
	var dial *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("the controller at %s does not answer within %s, it hangs or was stopped: systemctl restart framekeeper-controller, or scripts/stop.sh and start.sh", addr, answerTime)
	case err != nil && (!errors.As(err, &dial) || dial.Op != "dial"):
		return nil, fmt.Errorf("what answers at %s hangs up: a controller that has as many connections as it takes (ss -tnp shows them) or is just ending, or another program", addr)
	case err != nil:
		return nil, fmt.Errorf("no controller answers at %s: systemctl start framekeeper-controller, or scripts/start.sh", addr)
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	if resp.StatusCode == http.StatusUnauthorized {
		return nil, fmt.Errorf("what answers at %s wants another user or password: the controller takes over changed ones at its start or a reload, %s", addr, operator.Line("control", "reload"))
	}
	var h status.Ready
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || frame.Decode(body, &h) != nil || h.Controller == "" {
		return nil, fmt.Errorf("what answers at %s (%s) is not this configuration's controller", addr, resp.Status)
	}
	return &h, nil
}

// reachable turns an address to listen on into one to connect to.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}

func age(t time.Time) string { return text.Lasting(time.Since(t)) }

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}
