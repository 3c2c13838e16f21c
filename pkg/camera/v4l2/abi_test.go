package v4l2

import (
	"testing"
	"unsafe"
)

// What C compilers for x86-64 and for 32-bit ARM say of Linux's own header.
func TestABI(t *testing.T) {
	type pair struct {
		name       string
		got        uintptr
		on64, on32 uintptr
	}
	for _, c := range []pair{
		{"capability", unsafe.Sizeof(capability{}), 104, 104},
		{"formatDesc", unsafe.Sizeof(formatDesc{}), 64, 64},
		{"frameSizeEnum", unsafe.Sizeof(frameSizeEnum{}), 44, 44},
		{"frameIntervalEnum", unsafe.Sizeof(frameIntervalEnum{}), 52, 52},
		{"format", unsafe.Sizeof(format{}), 208, 204},
		{"format.pix", unsafe.Offsetof(format{}.pix), 8, 4},
		{"pixFormat", unsafe.Sizeof(pixFormat{}), 48, 48},
		{"streamParm", unsafe.Sizeof(streamParm{}), 204, 204},
		{"captureParm", unsafe.Sizeof(captureParm{}), 40, 40},
		{"requestBuffers", unsafe.Sizeof(requestBuffers{}), 20, 20},
		{"buffer", unsafe.Sizeof(buffer{}), 88, 68},
		{"buffer.timestamp", unsafe.Offsetof(buffer{}.timestamp), 24, 20},
		{"buffer.sequence", unsafe.Offsetof(buffer{}.sequence), 56, 44},
		{"buffer.m", unsafe.Offsetof(buffer{}.offset), 64, 52},
		{"buffer.length", unsafe.Offsetof(buffer{}.length), 72, 56},
		{"queryExtCtrl", unsafe.Sizeof(queryExtCtrl{}), 232, 232},
		{"queryMenu", unsafe.Sizeof(queryMenu{}), 44, 44},
		{"extControl", unsafe.Sizeof(extControl{}), 20, 20},
		{"extControls", unsafe.Sizeof(extControls{}), 32, 24},
		{"extControls.controls", unsafe.Offsetof(extControls{}.controls), 24, 20},
	} {
		want := c.on64
		if unsafe.Sizeof(uintptr(0)) == 4 {
			want = c.on32
		}
		if c.got != want {
			t.Errorf("%s: got %d, want %d", c.name, c.got, want)
		}
	}
	if iocRead != 0x80000000 {
		t.Skip("this architecture numbers ioctls differently")
	}
	for _, c := range []pair{
		{"QUERYCAP", vidiocQueryCap, 0x80685600, 0x80685600},
		{"ENUM_FMT", vidiocEnumFmt, 0xc0405602, 0xc0405602},
		{"S_FMT", vidiocSetFmt, 0xc0d05605, 0xc0cc5605},
		{"REQBUFS", vidiocRequestBuffers, 0xc0145608, 0xc0145608},
		{"QUERYBUF", vidiocQueryBuf, 0xc0585609, 0xc0445609},
		{"QBUF", vidiocQueueBuf, 0xc058560f, 0xc044560f},
		{"DQBUF", vidiocDequeueBuf, 0xc0585611, 0xc0445611},
		{"STREAMON", vidiocStreamOn, 0x40045612, 0x40045612},
		{"STREAMOFF", vidiocStreamOff, 0x40045613, 0x40045613},
		{"G_PARM", vidiocGetParm, 0xc0cc5615, 0xc0cc5615},
		{"S_PARM", vidiocSetParm, 0xc0cc5616, 0xc0cc5616},
		{"QUERY_EXT_CTRL", vidiocQueryExtCtrl, 0xc0e85667, 0xc0e85667},
		{"QUERYMENU", vidiocQueryMenu, 0xc02c5625, 0xc02c5625},
		{"G_EXT_CTRLS", vidiocGetExtCtrls, 0xc0205647, 0xc0185647},
		{"S_EXT_CTRLS", vidiocSetExtCtrls, 0xc0205648, 0xc0185648},
		{"ENUM_FRAMESIZES", vidiocEnumFrameSizes, 0xc02c564a, 0xc02c564a},
		{"ENUM_FRAMEINTERVALS", vidiocEnumFrameIntervals, 0xc034564b, 0xc034564b},
	} {
		want := c.on64
		if unsafe.Sizeof(uintptr(0)) == 4 {
			want = c.on32
		}
		if c.got != want {
			t.Errorf("%s: got %#x, want %#x", c.name, c.got, want)
		}
	}
}
