package controller

import (
	"context"
	"encoding/json"
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
	"framekeeper/internal/supervise"
	"framekeeper/internal/text"
	"framekeeper/internal/web"
)

// answerTime is how long a controller may take to say how it is.
const answerTime = 3 * time.Second

var errUnwell = errors.New("not all is well, see above")

// printStatus asks the running controller how it is. The error says that there
// is none, or that something is wrong.
func printStatus(ctx context.Context, w io.Writer, cfg supervise.Config, asJSON bool) error {
	if cfg.HTTP == "" {
		return errors.New(`[controller] http is "": the controller cannot be asked`)
	}
	h, err := askHealth(ctx, cfg)
	if err != nil {
		return err
	}
	if asJSON {
		if err := cli.WriteJSON(w, h); err != nil {
			return err
		}
		return healthError(h)
	}
	lines := append([]string{fmt.Sprintf("controller  up, box %s, version %s", h.Box, h.Version)}, reloadLines(h.Reload, time.Now())...)
	lines = append(lines, redisLines(h)...)
	for _, name := range order(h) {
		lines = append(lines, cameraLines(h.Agents[name], h.Cameras[name])...)
	}
	for _, w := range h.Unwritable {
		lines = append(lines, "disk        "+w.String(), indent+"to do: "+w.Advice())
	}
	for _, s := range h.Unowned {
		lines = append(lines, fmt.Sprintf("spool       %s on disk for %s, which is not configured:\n            %s", s.Waiting(), s.Camera, s.Advice()))
	}
	if _, err := fmt.Fprintln(w, strings.Join(lines, "\n")); err != nil {
		return err
	}
	return healthError(h)
}

func healthError(h *web.Health) error {
	if !h.OK {
		return errUnwell
	}
	return nil
}

// order is the configuration's, or by name if the controller is still one that
// does not tell it.
func order(h *web.Health) []string {
	if len(h.Order) == len(h.Agents) {
		return h.Order
	}
	return slices.Sorted(maps.Keys(h.Agents))
}

const indent = "            "

// reloadLines are about a configuration that is not, or not wholly, taken over.
func reloadLines(o *status.Reload, now time.Time) []string {
	says := o.Says()
	if says == "" {
		return nil
	}
	return []string{fmt.Sprintf("%sreload at %s: %s: %s", indent, o.Clock(now), says, o.Reason()), indent + "to do: " + o.Advice()}
}

// redisLines are about the controller's link and the box's own redis-server.
func redisLines(h *web.Health) []string {
	lines := []string{"redis       " + h.Link.State + lived(h.Link) + prefixed(": ", h.Link.Cause)}
	if h.Link.Advice != "" {
		lines = append(lines, indent+"to do: "+h.Link.Advice)
	}
	for _, other := range h.Namesakes {
		lines = append(lines, indent+"name shared with controller "+other+": give each box a [controller] box of its own")
	}
	if r := h.Redis; r != nil {
		doing := web.PlainRedis(r.State)
		if r.PID > 0 {
			doing += fmt.Sprintf(", pid %d", r.PID)
		}
		lines = append(lines, fmt.Sprintf("%sredis-server of this box %s, for %s, %s%s", indent,
			doing, age(r.Since), text.Count(r.Restarts, "restart"), prefixed(", last end: ", r.LastExit)))
	}
	return lines
}

// cameraLines are about one camera: its process, and how well it is. A reason
// stands there once.
func cameraLines(a status.Process, c web.Camera) []string {
	doing := web.Plainly(a.State) + ","
	if a.State == status.ProcessRunning {
		doing = fmt.Sprintf("running, pid %d,", a.PID)
	}
	lines := []string{fmt.Sprintf("camera      %s: %s for %s, %s", a.Name, doing, age(a.Since), text.Count(a.Restarts, "restart"))}
	reason := web.Reason(a, c)
	if a.State == status.ProcessRunning && c.Well() {
		lines = append(lines, fmt.Sprintf("%swell: link %s, capture %s, writable", indent, c.Link, c.Capture))
	} else {
		lines = append(lines, indent+"not well"+prefixed(": ", reason))
	}
	for _, more := range []string{c.Note, web.Wait(a, time.Now()), web.LastEnd(a, reason)} {
		if more != "" {
			lines = append(lines, indent+more)
		}
	}
	if a.Recoveries > 0 {
		lines = append(lines, fmt.Sprintf("%srecovery_command was run %s, the last time: %s", indent, text.Count(a.Recoveries, "time"), a.LastRecovery))
	}
	return lines
}

func askHealth(ctx context.Context, cfg supervise.Config) (*web.Health, error) {
	addr := reachable(cfg.HTTP)
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
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
	client := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
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
		return nil, fmt.Errorf("what answers at %s wants another user or password: the controller takes over changed ones at its start or a reload, client control reload", addr)
	}
	var h web.Health
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&h); err != nil || h.Controller == "" {
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

// lived says how long the link has been LIVE. How long an attempt to get there
// has lasted interests nobody.
func lived(l web.Link) string {
	if !l.Live {
		return ""
	}
	return fmt.Sprintf(" for %s", age(l.Since))
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}
