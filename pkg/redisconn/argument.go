package redisconn

import "fmt"

// MaxArgument is how many bytes an argument of a command may have for every Redis.
// proto-max-bulk-len and client-query-buffer-limit are a mebibyte at least, and the
// second includes the rest of the command.
const MaxArgument = 1<<20 - 16<<10

// CheckArgument refuses a text that some Redis would end the connection for.
func CheckArgument(text []byte) error {
	if len(text) > MaxArgument {
		return fmt.Errorf("%d bytes, more than the %d that every Redis accepts", len(text), MaxArgument)
	}
	return nil
}
