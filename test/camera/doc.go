// Package camera hurts a real camera driver under a real cam-agent, and
// measures what the agent makes of it.
//
// The camera is vivid, the kernel's virtual V4L2 device with faults to inject,
// and v4l2loopback, which ffmpeg feeds. They need a kernel that loads modules:
// scripts/camera-vm.sh boots one. The test runs twice: outside, TestCamera
// builds the agent and boots the machine with this same test binary; inside,
// where FRAMEKEEPER_VIDEO_DEVICE names the camera, it runs the rows. So
//
//	go test -v -run TestCamera ./test/camera
//
// prints the table. The same machine then runs the device tests of
// pkg/camera/v4l2.
//
// The agent is judged by its status and its messages on Redis alone.
package camera
