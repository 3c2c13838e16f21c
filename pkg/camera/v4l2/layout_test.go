package v4l2

import (
	"bytes"
	"fmt"
	"testing"

	"framekeeper/pkg/camera"
)

func TestCopyRows(t *testing.T) {
	for _, c := range []struct {
		code      string
		w, stride int
		src, want []byte
	}{
		{"YUYV", 2, 4, []byte{1, 2, 3, 4, 5, 6, 7, 8}, []byte{1, 2, 3, 4, 5, 6, 7, 8}},
		{"YUYV", 2, 6, []byte{1, 2, 3, 4, 0, 0, 5, 6, 7, 8}, []byte{1, 2, 3, 4, 5, 6, 7, 8}},
		{"UYVY", 2, 5, []byte{2, 1, 4, 3, 0, 6, 5, 8, 7, 0}, []byte{1, 2, 3, 4, 5, 6, 7, 8}},
		{"UYVY", 6, 12, []byte{2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15, 18, 17, 20, 19, 22, 21, 24, 23},
			[]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24}},
		{"YVYU", 2, 4, []byte{1, 4, 3, 2, 5, 8, 7, 6}, []byte{1, 2, 3, 4, 5, 6, 7, 8}},
		{"VYUY", 2, 4, []byte{4, 1, 2, 3, 8, 5, 6, 7}, []byte{1, 2, 3, 4, 5, 6, 7, 8}},
		{"BGR3", 1, 4, []byte{1, 2, 3, 0, 4, 5, 6}, []byte{1, 2, 3, 4, 5, 6}},
		{"RGB3", 1, 4, []byte{3, 2, 1, 0, 6, 5, 4, 0}, []byte{1, 2, 3, 4, 5, 6}},
		{"GREY", 2, 3, []byte{1, 2, 0, 3, 4}, []byte{1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4}},
	} {
		t.Run(fmt.Sprint(c.code, c.stride), func(t *testing.T) {
			l, ok := layoutOf(makeFourCC(c.code))
			if !ok {
				t.Fatal("unknown")
			}
			if need := l.need(c.w, 2, c.stride); need > len(c.src) {
				t.Fatalf("needs %d bytes of %d", need, len(c.src))
			}
			dst := make([]byte, 3, 64)
			got := l.copyRows(dst, c.src, c.w, 2, c.stride)
			if !bytes.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if &got[0] != &dst[0] {
				t.Error("the buffer is not reused")
			}
		})
	}
}

func TestCheckPicture(t *testing.T) {
	yuyv, _ := layoutOf(makeFourCC("YUYV"))
	mjpg, _ := layoutOf(makeFourCC("MJPG"))
	for _, c := range []struct {
		l            layout
		w, h, stride int
		ok           bool
	}{
		{yuyv, 640, 480, 1280, true}, {yuyv, 640, 480, 1300, true}, {yuyv, 640, 480, 1279, false}, {yuyv, 641, 480, 1282, false},
		{yuyv, 0, 480, 0, false}, {yuyv, 640, 1 << 20, 1280, false}, {yuyv, 640, 480, 1 << 21, false}, {mjpg, 641, 481, 0, true},
	} {
		if err := c.l.checkImage(c.w, c.h, c.stride); (err == nil) != c.ok {
			t.Errorf("%s %dx%d stride %d: %v", c.l.code, c.w, c.h, c.stride, err)
		}
	}
}

func BenchmarkCopyRows1280x720(b *testing.B) {
	for _, c := range []struct {
		code    string
		padding int
	}{{"YUYV", 0}, {"YUYV", 64}, {"UYVY", 0}, {"BGR3", 0}, {"RGB3", 0}, {"GREY", 0}} {
		b.Run(fmt.Sprint(c.code, "+", c.padding), func(b *testing.B) {
			l, _ := layoutOf(makeFourCC(c.code))
			stride := l.rowBytes(1280) + c.padding
			src := make([]byte, stride*720)
			var f camera.Frame
			b.ReportAllocs()
			for b.Loop() {
				f.Data = l.copyRows(f.Data, src, 1280, 720, stride)
			}
		})
	}
}
