package pickle

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"framekeeper/pkg/frame"
)

func TestParseRequestRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ pickle, says string }{
		"empty":              {"", "cut short after 0 bytes"},
		"text":               {"hello", "not a pickle"},
		"number":             {"K\x05.", "a pickled number, boolean or None; expected a dict"},
		"list":               {"].", "a pickled list; expected a dict"},
		"cut short":          {"\x80\x03}(X\x05\x00\x00\x00an", "cut short"},
		"no end":             {"}", "cut short"},
		"trailing":           {"}.x", "1 bytes after its end"},
		"two values":         {"}}.", "2 values, expected 1"},
		"open mark":          {"}(.", "ends with"},
		"newer protocol":     {"\x80\x06}.", "protocol 6, at most 5"},
		"global":             {"cos\nsystem\n(S'id'\ntR.", `a class or call ("os.system")`},
		"stack global":       {"\x80\x04\x8c\x02os\x8c\x06system\x93.", `a class or call ("os.system")`},
		"inst":               {"(ios\nsystem\n.", "a class or call"},
		"obj":                {"(}o.", "a class or call"},
		"newobj":             {"})\x81.", "a class or call"},
		"newobj_ex":          {"})}\x92.", "a class or call"},
		"build":              {"}}b.", "a class or call"},
		"extension":          {"\x82\x01.", "a class or call"},
		"persistent id":      {"Pfile\n.", "a class or call"},
		"binary persid":      {"}Q.", "a class or call"},
		"call of a dict":     {"})R.", "a call"},
		"encode to others":   {"}X\x01\x00\x00\x00ac_codecs\nencode\n(X\x01\x00\x00\x00bX\x05\x00\x00\x00rot13tRs.", "a call of _codecs.encode"},
		"encode beyond":      {"}X\x01\x00\x00\x00ac_codecs\nencode\n(V\\u2603\nX\x06\x00\x00\x00latin1tRs.", "not a pickle: bytes with"},
		"bytes of something": {"}X\x01\x00\x00\x00ac__builtin__\nbytes\n(K\x05tRs.", "a call of __builtin__.bytes"},
		"function value":     {"}X\x01\x00\x00\x00ac_codecs\nencode\ns.", "a class or function as a value"},
		"set":                {"\x8f.", "a set"},
		"bytearray":          {"\x96\x00\x00\x00\x00\x00\x00\x00\x00.", "a bytearray"},
		"int key":            {"}K\x01K\x02s.", "a dict key is a number, boolean or None, expected a str"},
		"bytes key":          {"}C\x01aK\x02s.", "a dict key is a bytes, expected a str"},
		"tuple key":          {"})K\x02s.", "a dict key is a tuple"},
		"nan":                {"}X\x01\x00\x00\x00aFnan\ns.", "a float that is NaN"},
		"infinity":           {"}X\x01\x00\x00\x00aG\x7f\xf0\x00\x00\x00\x00\x00\x00s.", "a float that is +Inf"},
		"float overflow":     {"}X\x01\x00\x00\x00aF1e999\ns.", "a float that is +Inf"},
		"lone surrogate":     {"}X\x01\x00\x00\x00aX\x03\x00\x00\x00\xed\xa0\x80s.", "lone surrogate"},
		"lone surrogate V":   {"}X\x01\x00\x00\x00aV\\ud800\ns.", "lone surrogate"},
		"huge length":        {"}X\xff\xff\xff\xff", "cut short"},
		"huge length 8":      {"}\x8d\xff\xff\xff\xff\xff\xff\xff\xff", "cut short"},
		"odd items":          {"}(K\x01u.", "a dict key without a value"},
		"odd dict":           {"(K\x01d.", "a dict key without a value"},
		"append to a dict":   {"}K\x01a.", "append to a dict"},
		"append to a tuple":  {")K\x01a.", "append to a tuple"},
		"set on a list":      {"]X\x01\x00\x00\x00aK\x01s.", "item assignment to a list"},
		"pop beyond a mark":  {"}(0.", "a value is missing"},
		"no mark":            {"}e.", "a mark is missing"},
		"dup of nothing":     {"2.", "a value is missing"},
		"memo":               {"h\x05.", "nothing in memo slot 5"},
		"memo text":          {"gx\n.", "memo slot \"x\""},
		"number text":        {"Ix\n.", "the number \"x\""},
		"float text":         {"Fx\n.", "the float \"x\""},
		"unquoted":           {"Sabc\n.", "a str without quotes"},
		"bad escape":         {"S'\\x1'\n.", "a bad escape"},
		"contains itself":    {"}q\x00X\x01\x00\x00\x00ah\x00s.", "nested deeper than 32, or containing itself"},
		"list with itself":   {"}X\x01\x00\x00\x00a]q\x00h\x00as.", "nested deeper than 32"},
		"reserved key":       {"}X\x02\x00\x00\x00idK\x05s.", "id is a number, expected a string"},
		"too large":          {"}" + strings.Repeat("N0", frame.MaxRequestBytes/2) + ".", "at most 65536 are allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseRequest([]byte(tt.pickle))
			if !errors.Is(err, frame.ErrRequest) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got error %v, want frame.ErrRequest saying %q", err, tt.says)
			}
		})
	}
}

// A few bytes can name a value that is 2^n large; the work must stay small.
func TestParseRequestIsBounded(t *testing.T) {
	laughs := "}X\x01\x00\x00\x00a](K\x01K\x01eq\x00"
	for i := range byte(25) {
		laughs += "0](" + strings.Repeat("h"+string(i), 10) + "eq" + string(i+1)
	}
	empties := "}X\x01\x00\x00\x00a]q\x00"
	for i := range byte(25) {
		empties += "0](" + strings.Repeat("h"+string(i), 100) + "eq" + string(i+1)
	}
	digits := strings.Repeat("9", 60000)
	for name, data := range map[string]string{
		"billion laughs": laughs + "s.",
		"empty lists":    empties + "s.",
		"shared text":    "}X\x01\x00\x00\x00a](X\x00\x80\x00\x00" + strings.Repeat("x", 1<<15) + "q\x00h\x00h\x00es.",
		"large number":   "}X\x01\x00\x00\x00a](L" + digits + "\nq\x00h\x00es.",
		"control bytes":  "}X\x01\x00\x00\x00aX\x00\xf0\x00\x00" + strings.Repeat("\x00", 0xf000) + "s.",
		"deep":           strings.Repeat("]", 65000) + strings.Repeat("a", 64999) + ".",
		"deep marks":     strings.Repeat("(", 65000) + strings.Repeat("l", 65000) + ".",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := ParseRequest([]byte(data))
		runtime.ReadMemStats(&after)
		if !errors.Is(err, frame.ErrRequest) {
			t.Errorf("%s: got error %v, want a refusal", name, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
			t.Errorf("%s: allocated %d bytes, want at most 64 MiB", name, used)
		}
	}
}
