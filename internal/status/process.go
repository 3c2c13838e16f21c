package status

import "time"

// ProcessState is the state of a process that the controller runs: an agent, or
// the box's own redis-server.
type ProcessState string

// The states of a process.
const (
	ProcessStarting  ProcessState = "starting"
	ProcessRunning   ProcessState = "running"    // a redis-server: it answers
	ProcessBackoff   ProcessState = "backoff"    // an agent that ended, and starts again after a pause
	ProcessCrashLoop ProcessState = "crash-loop" // an agent that ended quickly too often in a row, and is tried slowly
	ProcessHanging   ProcessState = "hanging"    // gave no sign of life and is being killed
	ProcessRecovery  ProcessState = "recovery"   // an agent that ended; recovery_command runs before the next start
	ProcessFailed    ProcessState = "failed"     // an agent that cannot run until somebody changes something, tried rarely
	ProcessWaiting   ProcessState = "waiting"    // a redis-server that ended or cannot be started, tried again after a pause
	ProcessStopping  ProcessState = "stopping"
	ProcessStopped   ProcessState = "stopped" // by command, or because the controller ends
)

// AgentStates are those an agent's process can have.
func AgentStates() []ProcessState {
	return []ProcessState{
		ProcessStarting, ProcessRunning, ProcessBackoff, ProcessCrashLoop, ProcessHanging,
		ProcessRecovery, ProcessFailed, ProcessStopping, ProcessStopped,
	}
}

// Process is an agent's process at one moment.
type Process struct {
	Name     string       `json:"name"` // the camera's
	State    ProcessState `json:"state"`
	PID      int          `json:"pid"` // 0 while no process runs
	Since    time.Time    `json:"since"`
	Restarts int          `json:"restarts"`
	Ends     int          `json:"unexpected_ends"` // of processes, without a command
	LastExit string       `json:"last_exit"`       // why the last process ended; "" if none has
	Ready    bool         `json:"ready"`           // it has reported that it is up
	Says     string       `json:"says"`            // what the running process reports of itself
	Hangs    int          `json:"hangs"`           // processes that were killed for their silence
	Failures int          `json:"failures"`        // of the camera in a row, without a new frame between them

	NextStart time.Time `json:"next_start,omitzero"` // while none runs and the next one has to wait

	Frames   uint64    `json:"-"` // new ones of the process's camera, when it last reported them
	FramesAt time.Time `json:"-"`
	Socket   string    `json:"-"` // where it can be asked; "": at the socket in state_dir only
	Silent   time.Time `json:"-"` // its last sign of life, if another is overdue; zero if not

	Recoveries   int    `json:"recoveries"`    // times recovery_command was run
	LastRecovery string `json:"last_recovery"` // how it ended; "" if it never ran
}

// RedisServer is the box's own redis-server at one moment.
type RedisServer struct {
	State    ProcessState `json:"state"`
	PID      int          `json:"pid"` // 0 while no process runs
	Since    time.Time    `json:"since"`
	Restarts int          `json:"restarts"`
	Hangs    int          `json:"hangs"`       // processes that were killed because they did not answer
	LastExit string       `json:"last_exit"`   // why the last process ended or could not be started; "" if none did
	Memory   int64        `json:"maxmemory"`   // bytes
	Used     int64        `json:"used_memory"` // bytes of Memory in use, 0 while no process answers
}
