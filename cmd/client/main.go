// Command client is the operator's side of Framekeeper: it requests frames,
// receives and stores them (client run), makes single requests (client
// request), shows what arrives (client watch) and which agents are there
// (client status), and commands a box's controller (client control). Run it
// with --help.
package main

import (
	"os"

	"framekeeper/internal/cli"
	"framekeeper/internal/client"
)

func main() { os.Exit(cli.Main(client.Program())) }
