package camera

import (
	"strings"
	"testing"
)

func TestParseSource(t *testing.T) {
	for _, c := range []struct {
		in   string
		want SourceName // zero: refused
	}{
		{"test:", SourceName{SchemeTest, ""}},
		{"/dev/video0", SourceName{SchemeV4L2, "/dev/video0"}},
		{"v4l2:/dev/video2", SourceName{SchemeV4L2, "/dev/video2"}},
		{"opencv:0", SourceName{SchemeOpenCV, "0"}},
		{"file:a b?.mp4?loop=0", SourceName{SchemeFile, "a b?.mp4?loop=0"}},
		{"rtsp://h/x", SourceName{SchemeRTSP, "rtsp://h/x"}},
		{"RTSPS://h/x", SourceName{SchemeRTSP, "RTSPS://h/x"}},
		{"https://h/x", SourceName{SchemeHTTP, "https://h/x"}},
		{"gst:videotestsrc ! appsink", SourceName{SchemeGst, "videotestsrc ! appsink"}},
		{"exec:cat x", SourceName{SchemeExec, "cat x"}},
		{"", SourceName{}},
		{"0", SourceName{}},
		{"/dev/", SourceName{}},
		{"file:", SourceName{}},
		{"exec:  ", SourceName{}},
		{"rtsp://", SourceName{}},
		{"ftp://h/x", SourceName{}},
	} {
		got, err := ParseSource(c.in)
		if got != c.want || (err != nil) != (c.want == SourceName{}) {
			t.Errorf("ParseSource(%q) = %v, %v; want %v", c.in, got, err, c.want)
		}
	}
}

func TestRedactSource(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"test:", "test:"},
		{"/dev/video0", "/dev/video0"},
		{"/dev/v4l/by-path/pci-0000:00:14.0-usb-0:1:1.0-video-index0", "/dev/v4l/by-path/pci-0000:00:14.0-usb-0:1:1.0-video-index0"},
		{"v4l2:/dev/video2", "v4l2:/dev/video2"},
		{"opencv:0", "opencv:0"},
		{"file:/data/a b@c.mp4?loop=0", "file:/data/a b@c.mp4?loop=0"},
		{"file:///data/x.mp4", "file:///data/x.mp4"},
		{"file:rtsp://u:secret@h/v", "file:…"},
		{"file:RTSP:/u:secret@h/v", "file:…"},
		{"file://rtsp:u:secret@h/v", "file:…"},
		{"rtsp://10.0.0.5:554/live/1", "rtsp://10.0.0.5:554/live/1"},
		{"rtsp://secret:secret@10.0.0.5:554/live/1", "rtsp://10.0.0.5:554/live/1"},
		{"rtsp://u:secret@secret@10.0.0.5/live", "rtsp://10.0.0.5/live"},
		{"rtsp://u:p/secret@10.0.0.5/live", "rtsp://…"},
		{"rtsp://u:12?secret@10.0.0.5/live", "rtsp://…"},
		{"http://h/video?token=secret", "http://h/video?…"},
		{"http://h/video#secret", "http://h/video#…"},
		{"http://h?token=secret", "http://h?…"},
		{"http://h/video?mail=a@b&token=secret", "http://…"},
		{"HTTP://u:secret@h/v", "HTTP://h/v"},
		{"htp://u:secret@h/v", "htp://h/v"},
		{"rtsp:u:secret@h/v", "rtsp:…"},
		{"opencv:rtsp://u:secret@h/v", "opencv:…"},
		{"exec:curl -u user:secret http://h/", "exec:curl …"},
		{"exec:curl", "exec:curl"},
		{"exec:TOKEN=secret curl", "exec:…"},
		{"exec:http://u:secret@h/", "exec:…"},
		{"EXEC:curl -u user:secret", "EXEC:curl …"},
		{"gst:rtspsrc location=rtsp://u:secret@h ! appsink", "gst:rtspsrc …"},
		{"curl -u secret", "curl …"},
	} {
		got := RedactSource(c.in)
		if got != c.want {
			t.Errorf("RedactSource(%q) = %q, want %q", c.in, got, c.want)
		}
		if strings.Contains(got, "secret") {
			t.Errorf("RedactSource(%q) = %q shows a secret", c.in, got)
		}
	}
}

// FuzzRedactSource puts a password into every place where one is written, with
// whatever a user may use as one.
func FuzzRedactSource(f *testing.F) {
	f.Add("admin", "x", "10.0.0.5", "live")
	f.Add("a/b", "?", "h", "@")
	f.Add("", "#:", "h:554", "p?q")
	f.Add("u", "//", "[::1]", "a b")
	f.Fuzz(func(t *testing.T, user, salt, host, path string) {
		if strings.Contains(user+salt+host+path, "hunter") {
			t.Skip()
		}
		for _, s := range []string{
			"rtsp://" + user + ":" + salt + "hunter2" + salt + "@" + host + "/" + path,
			"http://" + host + "/" + path + "?key=" + salt + "hunter2",
			"exec:curl -u " + user + ":" + salt + "hunter2 " + host,
			"gst:rtspsrc location=rtsp://" + user + ":hunter2" + salt + "@" + host + "/" + path + " ! appsink",
			"file:rtsp://" + user + ":hunter2" + salt + "@" + host + "/" + path,
			"opencv:rtsp://" + user + ":hunter2@" + host,
		} {
			if shown := RedactSource(s); strings.Contains(shown, "hunter") {
				t.Errorf("RedactSource(%q) = %q shows the password", s, shown)
			}
			if _, err := ParseSource(s); err != nil && strings.Contains(err.Error(), "hunter") {
				t.Errorf("ParseSource(%q): %v shows the password", s, err)
			}
		}
	})
}

func FuzzParseSource(f *testing.F) {
	for _, s := range []string{"test:", "/dev/video0", "rtsp://h", "exec:a b", "file:x?loop=0", "://", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := ParseSource(s)
		if err == nil && name.Scheme == "" || err != nil && name != (SourceName{}) {
			t.Errorf("ParseSource(%q) = %v, %v", s, name, err)
		}
		if err == nil && !strings.HasSuffix(s, name.Rest) {
			t.Errorf("ParseSource(%q).Rest = %q is not its end", s, name.Rest)
		}
		_ = RedactSource(s)
	})
}
