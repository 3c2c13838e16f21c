package v4l2

import (
	"bytes"
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel's structures, from include/uapi/linux/videodev2.h. Their sizes are
// part of the ioctl numbers; a test compares them with what a C compiler gives for
// 64 and for 32 bits. Where the two differ, a field of the pointer's size or
// alignment makes the difference. On 32 bits buffers carry 32-bit seconds, which
// every kernel that runs 32-bit programs understands; they count from the boot.
type (
	capability struct {
		driver     [16]byte
		card       [32]byte
		busInfo    [32]byte
		version    uint32
		allCaps    uint32 // of all nodes of the device together
		deviceCaps uint32 // of this node
		_          [3]uint32
	}

	formatDesc struct {
		index, kind, flags uint32
		description        [32]byte
		pixelFormat        fourCC
		mediaBus           uint32
		_                  [3]uint32
	}

	// sizeEnum is a range, or a single size in the first two fields.
	sizeEnum struct{ minWidth, maxWidth, stepWidth, minHeight, maxHeight, stepHeight uint32 }

	frameSizeEnum struct {
		index       uint32
		pixelFormat fourCC
		kind        uint32
		sizes       sizeEnum
		_           [2]uint32
	}

	frameIntervalEnum struct {
		index         uint32
		pixelFormat   fourCC
		width, height uint32
		kind          uint32
		shortest      fraction // the only one if discrete
		longest       fraction
		step          fraction
		_             [2]uint32
	}

	pixFormat struct {
		width, height uint32
		pixelFormat   fourCC
		field         uint32
		bytesPerLine  uint32
		sizeImage     uint32
		colorSpace    uint32
		_             uint32 // priv
		flags         uint32
		encoding      uint32
		quantization  uint32
		transfer      uint32
	}

	format struct {
		kind uint32
		_    [0]uintptr // the kernel's union holds pointers
		pix  pixFormat
		_    [200 - unsafe.Sizeof(pixFormat{})]byte
	}

	captureParm struct {
		capability   uint32
		mode         uint32
		timePerFrame fraction
		extended     uint32
		readBuffers  uint32
		_            [4]uint32
	}

	streamParm struct {
		kind    uint32
		capture captureParm
		_       [200 - unsafe.Sizeof(captureParm{})]byte
	}

	requestBuffers struct {
		count, kind, memory, capabilities uint32
		flags                             uint8
		_                                 [3]uint8
	}

	buffer struct {
		index, kind, bytesUsed, flags, field uint32
		timestamp                            unix.Timeval
		_                                    [16]byte // timecode
		sequence                             uint32
		memory                               uint32
		_                                    [0]uintptr // a union with pointers
		offset                               uint32
		_                                    [unsafe.Sizeof(uintptr(0)) - 4]byte
		length                               uint32
		_                                    uint32
		_                                    int32 // request
	}

	queryExtCtrl struct {
		id, kind         uint32
		name             [32]byte
		minimum, maximum int64
		step             uint64
		def              int64
		flags            uint32
		elemSize         uint32
		elems            uint32
		numDims          uint32
		_                [4]uint32
		_                [32]uint32
	}

	queryMenu struct {
		id, index uint32
		item      [32]byte // a name, or the first 8 bytes a number
		_         uint32
	}

	// extControl is packed in C, so its value stands on no boundary of 8.
	extControl struct {
		id    uint32
		_     [2]uint32 // size, of texts only
		value [8]byte   // 32 bits in the first four, or 64 bits
	}

	extControls struct {
		which, count, errorIndex uint32
		_                        int32
		_                        uint32
		controls                 *extControl
	}
)

// The direction bits of ioctl numbers differ between architectures. Package
// unix has two numbers of the same make on each of them: what is left of
// them without size, type and number are those bits.
const (
	iocRead  = unix.RTC_RD_TIME &^ (36<<16 | 'p'<<8 | 9)
	iocWrite = unix.RTC_SET_TIME &^ (36<<16 | 'p'<<8 | 10)
	iocType  = 'V' << 8
)

const (
	vidiocQueryCap           = iocRead | iocType | unsafe.Sizeof(capability{})<<16
	vidiocEnumFmt            = iocRead | iocWrite | iocType | 2 | unsafe.Sizeof(formatDesc{})<<16
	vidiocSetFmt             = iocRead | iocWrite | iocType | 5 | unsafe.Sizeof(format{})<<16
	vidiocRequestBuffers     = iocRead | iocWrite | iocType | 8 | unsafe.Sizeof(requestBuffers{})<<16
	vidiocQueryBuf           = iocRead | iocWrite | iocType | 9 | unsafe.Sizeof(buffer{})<<16
	vidiocQueueBuf           = iocRead | iocWrite | iocType | 15 | unsafe.Sizeof(buffer{})<<16
	vidiocDequeueBuf         = iocRead | iocWrite | iocType | 17 | unsafe.Sizeof(buffer{})<<16
	vidiocStreamOn           = iocWrite | iocType | 18 | unsafe.Sizeof(uint32(0))<<16
	vidiocStreamOff          = iocWrite | iocType | 19 | unsafe.Sizeof(uint32(0))<<16
	vidiocGetParm            = iocRead | iocWrite | iocType | 21 | unsafe.Sizeof(streamParm{})<<16
	vidiocSetParm            = iocRead | iocWrite | iocType | 22 | unsafe.Sizeof(streamParm{})<<16
	vidiocQueryMenu          = iocRead | iocWrite | iocType | 37 | unsafe.Sizeof(queryMenu{})<<16
	vidiocGetExtCtrls        = iocRead | iocWrite | iocType | 71 | unsafe.Sizeof(extControls{})<<16
	vidiocSetExtCtrls        = iocRead | iocWrite | iocType | 72 | unsafe.Sizeof(extControls{})<<16
	vidiocEnumFrameSizes     = iocRead | iocWrite | iocType | 74 | unsafe.Sizeof(frameSizeEnum{})<<16
	vidiocEnumFrameIntervals = iocRead | iocWrite | iocType | 75 | unsafe.Sizeof(frameIntervalEnum{})<<16
	vidiocQueryExtCtrl       = iocRead | iocWrite | iocType | 103 | unsafe.Sizeof(queryExtCtrl{})<<16
)

const (
	bufTypeCapture = 1
	memoryMmap     = 1
	fieldNone      = 1
	fieldInterlace = 4

	rangeDiscrete = 1 // of sizes and intervals; others are ranges

	capCapture       = 0x1
	capOutput        = 0x2
	capCaptureMPlane = 0x1000
	capOutputMPlane  = 0x2000
	capM2MMPlane     = 0x4000
	capM2M           = 0x8000
	capMetaCapture   = 0x800000
	capMetaOutput    = 0x8000000
	capStreaming     = 0x4000000
	capMediaControl  = 0x20000000
	capDeviceCaps    = 0x80000000

	capTimePerFrame = 0x1000 // of captureParm.capability

	bufFlagError         = 0x40
	bufFlagTimestampMask = 0xe000
	bufFlagMonotonic     = 0x2000
)

// ioctl calls the driver, again if a signal interrupted it: Go's own preemption
// sends some. arg points to the structure whose size is in req.
func ioctl(fd int, req uintptr, arg unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(arg))
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return errno
		}
		return nil
	}
}

// gone reports whether the error means that the device is not there any more.
func gone(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ESHUTDOWN)
}

// cString is the string in a C array.
func cString(b []byte) string {
	if end := bytes.IndexByte(b, 0); end >= 0 {
		b = b[:end]
	}
	return printable(b)
}
