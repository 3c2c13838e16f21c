package status

// Exit codes of the three programs. Only cam-agent ends with ExitCamera and
// ExitClaimed; the controller decides by them how to start the next process.
const (
	ExitOK      = 0
	ExitError   = 1
	ExitUsage   = 2 // the command line or the configuration is wrong: starting again does not help; also Go's own for a crash
	ExitCamera  = 3 // the camera was given up or hangs: a fresh process may help
	ExitClaimed = 4 // another cam-agent serves the camera
)

// ExitNoLoader is the dynamic loader's exit code when a library is missing.
const ExitNoLoader = 127
