package main

import (
	"fmt"
	"framekeeper/internal/testkit/redistest"
	"syscall"
	"time"
)

// outageFigures are what -mode outage reports of one run.
type outageFigures struct {
	Spool     string        `json:"spool_max_bytes"`
	Books     books         `json:"books"`
	Drained   time.Duration `json:"drained"`  // after the heal
	PeakKiB   int           `json:"peak_kib"` // of the agent's memory
	BeforeKiB int           `json:"before_kib"`
	Disk      int64         `json:"disk"` // bytes in the spool at the heal
	Problems  []string      `json:"problems,omitempty"`
}

// outageMode takes Redis away from an agent that makes 30 frames of 173 kB a
// second, for -outage: once with room on disk, once with too little.
func (o *options) outageMode() error {
	var all []outageFigures
	var wrong []string
	fmt.Fprintf(o.out, "Redis away for %s at 30 fps of 320x180 raw (172,800 bytes), default stream_max_bytes and retain_bytes\n", o.observe)
	g := newGrid(o.out, "spool_max_bytes", "captured", "delivered", "declared", "trimmed", "undeclared", "duplicates", "drained, ms", "agent before, MiB", "agent peak, MiB", "disk, MiB")
	for _, size := range []string{"1GiB", "64MiB"} {
		b := &bench{name: "outage", out: o.notes}
		s := o.newScene(b, 0)
		f := outageFigures{Spool: size}
		if err := b.run(func() { o.outage(s, &f, size != "1GiB") }); err != nil {
			s.problem("%v", err)
		}
		f.Problems = s.problems
		all = append(all, f)
		for _, p := range s.problems {
			wrong = append(wrong, "spool of "+size+": "+p)
		}
		g.row(size, fmt.Sprint(f.Books.Captured), fmt.Sprint(f.Books.Delivered), fmt.Sprint(f.Books.Declared), fmt.Sprint(f.Books.Trimmed),
			fmt.Sprint(f.Books.Undeclared), fmt.Sprint(f.Books.Duplicates), ms(f.Drained),
			fmt.Sprint(f.BeforeKiB>>10), fmt.Sprint(f.PeakKiB>>10), fmt.Sprint(f.Disk>>20))
	}
	g.end()
	return o.finish(all, wrong)
}

func (o *options) outage(s *scene, f *outageFigures, small bool) {
	s.fps, s.width, s.height = 30, 320, 180
	s.target = 0
	s.set("spool_max_bytes", f.Spool)
	s.behindProxy(redistest.WithConfig("maxmemory", "0"))
	s.begin()
	s.wait(10 * time.Second) // until what is retained has filled
	f.BeforeKiB = s.agent.Footprint().RSSKiB
	s.away()
	s.wait(o.observe)
	f.Disk = s.diskUsed()
	healed := s.back()
	s.drain(2 * time.Minute)
	f.Drained = time.Since(healed)
	s.wait(2 * time.Second)
	f.PeakKiB = s.agent.Peak()
	if small {
		s.declares(1)
	}
	var res lossResult
	s.close(&res)
	f.Books = res.Books
	if !small && res.Books.Declared > 0 {
		s.problem("%d frames are lost although the disk had room", res.Books.Declared)
	}
}

// diskUsed is what the spool's files hold.
func (s *scene) diskUsed() (bytes int64) {
	for _, file := range s.spooled() {
		var st syscall.Stat_t
		if syscall.Stat(file, &st) == nil {
			bytes += st.Blocks * 512
		}
	}
	return bytes
}
