// Package turbojpeg makes JPEGs with libjpeg-turbo, the fastest way there is on
// a box without special hardware. It promises JPEGs that go straight from the
// frame's bytes into the caller's buffer, YUYV without a detour through BGR, and
// an error for every frame whose bytes are not what it says. A build without cgo
// or with the tag noopencv has only a stub here. The agent uses it.
package turbojpeg

// Encoder encodes frames. The zero value is ready; it keeps a scratch buffer
// and is for one goroutine at a time.
type Encoder struct {
	planes []byte // a YUYV frame taken apart
}
