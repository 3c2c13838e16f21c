package redisconn

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// However it comes in, the answer to a question is left out, everything else is passed
// on, and what is wrong is found out.
func TestAnswersToQuestions(t *testing.T) {
	const answer = "$3\r\nabc\r\n"
	for _, c := range []struct {
		name, in, want, fault string
		followed              bool
	}{
		{"behind another command's", ":1\r\n" + answer, ":1\r\n", "no answer to a command", false}, // whoever reads on waits for more
		{"before the next command's", answer + "$3\r\nabd\r\n", "$3\r\nabd\r\n", "", true},
		{"amid what looks like it", "$3\r\nab\r\r\n$3\r\nab$\r\n" + answer + "$3\r\nabc\r\n", "$3\r\nab\r\r\n$3\r\nab$\r\n$3\r\nabc\r\n", "", true},
		{"in the place of a command's", answer, "", "no answer to a command", false},
		{"in a line", ":1" + answer, "", "less than a whole answer", true},
		{"in a value", "$20\r\nxyz" + answer + "+OK\r\n", "$20\r\nxyz", "less than a whole answer", true},
		{"in a value that is left out", "$2000\r\nxyz" + answer, "$0\r\n\r\n", "less than a whole answer", true},
		{"in an array", "*2\r\n:1\r\n" + answer, "*2\r\n:1\r\n", "less than a whole answer", true},
	} {
		for _, pieces := range [][]byte{nil, {0}, {0, 1, 2}, {4}, {6, 2}} {
			q := &questioned{Conn: &piecewise{left: []byte(c.in), pieces: pieces}, answer: []byte(answer), followed: c.followed}
			g := &guard{Conn: q, longest: 1000, tooLarge: func(int64, int64) {}, latest: func(*guard) {}}
			out, err := io.ReadAll(g)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if string(out) != c.want || !strings.Contains(got, c.fault) || (c.fault == "") != (err == nil) {
				t.Errorf("%s, in pieces of %v: got %q and %v, want %q and %q", c.name, pieces, out, err, c.want, c.fault)
			}
			if c.fault != "" && CauseOf(err) != CauseProtocol {
				t.Errorf("%s: cause %q of %v", c.name, CauseOf(err), err)
			}
		}
	}
}

// Nothing is lost and nothing added, whatever the bytes look like.
func FuzzQuestioned(f *testing.F) {
	f.Add("$3\r\nab", "$3\r\nabd\r\n", []byte{2})
	f.Add("", "$", []byte{0})
	f.Add("$3\r\n$3\r\nab", "c\r\n", []byte{1, 3})
	f.Fuzz(func(t *testing.T, before, after string, pieces []byte) {
		const answer = "$3\r\nabc\r\n"
		if strings.Contains(before+answer, answer) && strings.Index(before+answer, answer) != len(before) {
			t.Skip("the word is a random one: nobody can guess it")
		}
		q := &questioned{Conn: &piecewise{left: []byte(before + answer + after), pieces: pieces}, answer: []byte(answer), followed: true}
		var out strings.Builder
		for met := 0; ; {
			_, err := io.Copy(&out, q)
			switch {
			case err == nil && met == 1 && out.String() == before+after:
				return
			case errors.Is(err, errAnswer) && met == 0 && out.String() == before:
				met++
			default:
				t.Fatalf("got %q, %v after %d answers, of %q and %q", out.String(), err, met, before, after)
			}
		}
	})
}
