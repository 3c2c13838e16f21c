package hostile

import (
	"strconv"
	"strings"
)

// Attack is what a server that is broken, or no Redis, answers to some command.
type Attack struct{ Kind, Bytes string }

// The kinds of attacks.
const (
	Empty   = "empty and nil replies"
	Numbers = "lengths and counts that cannot be"
	Depth   = "depth"
	Types   = "types of RESP3"
	Shapes  = "replies of another shape"
	Lines   = "long lines and errors"
	Foreign = "no Redis"
	Large   = "a large value"
)

// Attacks are a few bytes each, but for two of a megabyte; with go-redis 9.23 alone most
// of them end the process or fill its memory.
func Attacks() []Attack {
	return []Attack{
		{Empty, "*0\r\n"}, {Empty, "*1\r\n*0\r\n"}, {Empty, "*1\r\n$-1\r\n"}, {Empty, "*2\r\n:1\r\n*0\r\n"}, {Empty, "*3\r\n*0\r\n*0\r\n*0\r\n"},
		{Shapes, ":5\r\n"}, {Empty, "$-1\r\n"}, {Empty, "*-1\r\n"}, {Shapes, "+OK\r\n"},
		{Numbers, "$9223372036854775807\r\n"}, {Numbers, "*9223372036854775807\r\n"}, {Numbers, "*100000000\r\n"}, {Numbers, "$-9\r\n"}, {Numbers, "*-9\r\n"},
		{Types, "%1\r\n*0\r\n:1\r\n"}, {Types, "%2147483647\r\n"}, {Types, ">0\r\n"}, {Types, "~2147483647\r\n"}, {Types, "=2\r\nab\r\n"},
		{Types, "!2147483647\r\n"}, {Types, "|1\r\n+a\r\n"}, {Types, "_\r\n"}, {Types, "(1\r\n"},
		{Foreign, "\r\n"}, {Foreign, "HTTP/1.1 400 Bad Request\r\n\r\n"},
		{Shapes, "*1\r\n*2\r\n$1\r\na\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*0\r\n"}, {Shapes, "*1\r\n*2\r\n$1\r\na\r\n*1\r\n*0\r\n"}, {Empty, "*1\r\n*0\r\n"},
		{Shapes, "*4\r\n$1\r\na\r\n:1\r\n*0\r\n$-1\r\n"},
		{Depth, strings.Repeat("*1\r\n", 1<<16)}, {Lines, "-ERR " + strings.Repeat("x", 1<<20) + "\r\n"}, {Lines, "-ERR \x1b[2J" + strings.Repeat("x", 60000) + "\r\n"},
	}
}

// Pushes are such that come by themselves, to a subscriber.
func Pushes() []Attack {
	return append([]Attack{
		{Shapes, "*3\r\n$9\r\nsubscribe\r\n:5\r\n$-1\r\n"}, {Shapes, "*1\r\n$9\r\nsubscribe\r\n"}, {Shapes, "*4\r\n$8\r\npmessage\r\n:1\r\n:2\r\n:3\r\n"},
		{Shapes, "*2\r\n$7\r\nmessage\r\n:1\r\n"}, {Empty, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$-1\r\n"}, {Shapes, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n*1\r\n$-1\r\n"},
		{Shapes, "*3\r\n$7\r\nmessage\r\n:5\r\n:5\r\n"}, {Shapes, "*2\r\n$4\r\npong\r\n:1\r\n"},
	}, Attacks()...)
}

// LargeValue is a value of size bytes.
func LargeValue(size int) Attack {
	return Attack{Large, "$" + strconv.Itoa(size) + "\r\n" + strings.Repeat("x", size) + "\r\n"}
}

// LargeMessage is a message of size bytes on a channel.
func LargeMessage(channel string, size int) Attack {
	return Attack{Large, "*3\r\n$7\r\nmessage\r\n" + bulk(channel) + LargeValue(size).Bytes}
}
