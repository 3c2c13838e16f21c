package main

import (
	"net"
	"strings"
	"testing"

	"framekeeper/internal/supervise"
)

// A controller that hangs is not one that must be started.
func TestStatusOfAHangingController(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	_, err = askHealth(t.Context(), supervise.Config{HTTP: silent.Addr().String()})
	if err == nil || !strings.Contains(err.Error(), "does not answer within 3s") || !strings.Contains(err.Error(), "scripts/stop.sh") {
		t.Errorf("got %v, want that it hangs and must be ended", err)
	}
}
