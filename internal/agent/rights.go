package agent

// optionalRights are the commands that an agent does without where Redis does not
// permit them, and what it then does not do.
func optionalRights() map[string]string {
	return map[string]string{
		"get":          "seeing in its status that another agent has this camera's name",
		"pttl":         "telling a status that is renewed from one that an agent left behind",
		"del":          "removing the status at the end; it expires",
		"role":         "noticing a replica before it refuses a frame",
		"xlen":         "counting what earlier starts have left in the stream for stream_max_bytes",
		"xtrim":        "making room when Redis is out of memory",
		"xinfo|stream": "finding where a stream without entries goes on, and what was trimmed",
		"xinfo|groups": "the consumer groups in the status",
		"config|get":   "warning of frames beyond this Redis's own client-output-buffer-limit; the default is assumed",
		"memory|usage": "noticing a stream that does not become smaller when it is trimmed",
	}
}
