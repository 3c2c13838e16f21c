package cli

import (
	"os"
	"path/filepath"
	"strings"

	"framekeeper/internal/status"
)

// packaged is where the package has the programs; it puts framekeeper-client into
// PATH, which knows the configuration.
const packaged = "/usr/lib/framekeeper"

// ClientCommand is how an operator of this machine calls the client, so that what page
// and status advise can be pasted as it is.
func ClientCommand(config string) status.Client {
	self, err := os.Executable()
	if err != nil {
		return status.Client{}
	}
	return clientBeside(self, config)
}

func clientBeside(controller, config string) status.Client {
	dir := filepath.Dir(controller)
	if dir == packaged {
		return status.Client{Program: "framekeeper-client"}
	}
	program := filepath.Join(dir, "client")
	if info, err := os.Stat(program); err != nil || !info.Mode().IsRegular() {
		program = "client" // in PATH, if anywhere
	}
	if config == "" {
		return status.Client{Program: quoted(program)}
	}
	if path, err := filepath.Abs(config); err == nil {
		config = path
	}
	return status.Client{Program: quoted(program), Options: "--config " + quoted(config)}
}

// quoted is a word as a shell takes it.
func quoted(word string) string {
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@%:,", r)
	}) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
