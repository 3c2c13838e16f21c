// Command stock is the agent that most would write with go-redis: requests come
// out of PubSub.Channel(), answers go out through the same client. It promises
// nothing; test/faults runs it beside cam-agent to show what that costs.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/redis/go-redis/v9"

	"framekeeper/pkg/frame"
)

// lines writes what go-redis logs, and what we log, as log lines.
type lines struct{}

func (lines) Printf(_ context.Context, format string, args ...any) {
	line, _ := json.Marshal(map[string]string{"message": fmt.Sprintf(format, args...)})
	fmt.Fprintln(os.Stderr, string(line))
}

func main() {
	url := flag.String("url", "redis://127.0.0.1:6379/0", "Redis")
	username := flag.String("username", "", "ACL user")
	passwordFile := flag.String("password-file", "", "file with its password")
	camera := flag.String("camera", "stock", "the camera's name")
	flag.Parse()
	redis.SetLogger(lines{})
	opt, err := redis.ParseURL(*url)
	if err != nil {
		fmt.Fprintln(os.Stderr, "stock:", err)
		os.Exit(1)
	}
	secret, _ := os.ReadFile(*passwordFile)
	opt.Username, opt.Password = *username, strings.TrimSpace(string(secret))

	ctx := context.Background()
	client := redis.NewClient(opt)
	requests := client.Subscribe(ctx, "request/"+*camera)
	lines{}.Printf(ctx, "started")
	for request := range requests.Channel() {
		answer, err := frame.NewMessage(frame.Header{
			Camera: *camera, Status: frame.StatusOK, Request: json.RawMessage(request.Payload),
		}, make([]byte, 20<<10))
		if err != nil {
			continue
		}
		if err := client.Publish(ctx, "stream/"+*camera, answer.Wire()).Err(); err != nil {
			lines{}.Printf(ctx, "publish: %v", err)
		}
	}
}
