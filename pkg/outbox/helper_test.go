package outbox

import "framekeeper/pkg/frame"

func id(epoch, seq uint64) frame.ID { return frame.ID{Epoch: epoch, Seq: seq} }
