// Command controller runs one cam-agent for every camera of the configuration,
// publishes how the box is, and serves the box's own web page.
package main

import (
	"os"

	"framekeeper/internal/cli"
	"framekeeper/internal/controller"
)

func main() { os.Exit(cli.Main(controller.Program())) }
