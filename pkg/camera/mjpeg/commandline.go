package mjpeg

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// splitWords takes a command line apart as a shell would: at spaces, with
// 'single' and "double" quotes and backslashes. Nothing is expanded. What only
// a shell could do (pipes, redirections) is refused when it stands unquoted.
func splitWords(line string) ([]string, error) {
	if strings.ContainsRune(line, 0) {
		return nil, errors.New("the command holds a zero byte")
	}
	var words []string
	for {
		line = strings.TrimLeft(line, " \t\r\n")
		if line == "" {
			break
		}
		word, rest, plain, err := cutWord(line)
		if err != nil {
			return nil, err
		}
		if plain && needsShell(word) {
			return nil, fmt.Errorf("%q is for a shell and none is run; write sh -c '…' for one, or quote it", word)
		}
		words, line = append(words, word), rest
	}
	if len(words) == 0 || words[0] == "" {
		return nil, errors.New("the command is empty")
	}
	return words, nil
}

// cutWord takes the first word off; plain: nothing in it was quoted.
func cutWord(line string) (word, rest string, plain bool, err error) {
	var b strings.Builder
	plain = true
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case ' ', '\t', '\r', '\n':
			return b.String(), line[i:], plain, nil
		case '\\':
			plain = false
			i++
			if i == len(line) {
				return "", "", false, errors.New("the command ends in a backslash")
			}
			b.WriteByte(line[i])
		case '\'', '"':
			plain = false
			inside, n, ok := cutQuoted(line[i:])
			if !ok {
				return "", "", false, fmt.Errorf("a quote %c in the command is not closed", c)
			}
			b.WriteString(inside)
			i += n - 1
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), "", plain, nil
}

// cutQuoted reads a quoted part, which s begins with, and its length. In double
// quotes a backslash takes the meaning from \ " $ and ` only.
func cutQuoted(s string) (inside string, n int, ok bool) {
	var b strings.Builder
	quote := s[0]
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == quote:
			return b.String(), i + 1, true
		case quote == '"' && s[i] == '\\' && i+1 < len(s) && strings.IndexByte("\\\"$`", s[i+1]) >= 0:
			i++
		}
		b.WriteByte(s[i])
	}
	return "", 0, false
}

func needsShell(word string) bool {
	return slices.Contains([]string{"|", "||", "&", "&&", ";"}, word) ||
		strings.HasPrefix(strings.TrimLeft(word, "012&"), ">") || strings.HasPrefix(word, "<")
}
