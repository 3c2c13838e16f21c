package agent

import (
	"framekeeper/pkg/camera"
	"framekeeper/pkg/frame"
	"framekeeper/pkg/frame/pickle"
)

// wire is how a camera's requests and replies are written on pub/sub.
type wire struct {
	parse func([]byte) (frame.Request, error)
	// reply writes a reply, with an image of raw pixels if its status is ok;
	// nil: a reply is the message that the stream has.
	reply func(h frame.Header, bgr []byte) ([]byte, error)
}

// wires by the setting "wire". The line of the old system's is all that joins its
// package to Framekeeper.
var wires = map[camera.Wire]wire{
	camera.WireJSON:   {parse: frame.ParseRequest},
	camera.WirePickle: {parse: pickle.ParseRequest, reply: pickle.EncodeReply},
}
